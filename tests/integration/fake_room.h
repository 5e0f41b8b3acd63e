// SPDX-License-Identifier: Apache-2.0
// How the fake executor (fake_executor.c) has device memory: holds it, parks it when its mediator asks, and
// asks for room. What there is of it can be read by the test in the channel: struct fake_room, ROOM_OFFSET
// behind the beginning of the ring. Its lines:
//
//   allocate BYTES FREE   wants room for so many bytes when the device has FREE (turn page, room_free)
//   back FREE             wants all that is parked back
//   slow                  neither parks nor takes what it is given until
//   go                    does both at once again
#ifndef VGPU_TESTS_FAKE_ROOM_H
#define VGPU_TESTS_FAKE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

struct vgpu_turn_page;
struct vgpu_tenant_page;

#define ROOM_OFFSET 1536

struct fake_room {
	uint64_t held, parked; // bytes
	uint64_t asked;	       // times that it was told to park
	uint64_t answered;     // times that its own request was
	uint64_t refused;      // ... and did not fit into the lease
	uint64_t lease;	       // at the last answer
};

void fake_room_init(struct vgpu_turn_page *page, struct vgpu_tenant_page *tenant, struct fake_room *shown,
		    void (*kick)(void));
void fake_room_hold(uint64_t bytes);
// True: the line was one of these.
bool fake_room_obey(const char *word, uint64_t a, uint64_t b);
// Looks at the page; whenever the doorbell was rung.
void fake_room_look(void);

#endif
