// SPDX-License-Identifier: Apache-2.0
// A channel of the VM: a link to the mediator of its own, and the memory link to its executor.
//
//   FREE ──OPEN──> OPENING ──CHANNEL_OK──> OPEN ──CLOSE, lost, reset──> ENDING ──executor gone──> FREE, or
//                     └──────ERROR, CLOSE, reset────────────────────────>┘                        DEAD until
//                     CLOSE
//
// Until an executor is known to be gone it may use the channel's memory: the mediator says so (ERROR,
// CHANNEL_GONE), or when that is gone too, the executor's pidfd.
#ifndef VGPU_STUB_CHANNEL_H
#define VGPU_STUB_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/guest/vgpu_pci.h"

struct stub;

enum channel_state { CHANNEL_FREE, CHANNEL_OPENING, CHANNEL_OPEN, CHANNEL_ENDING, CHANNEL_DEAD };

struct channel {
	struct stub *stub;
	unsigned number;
	enum channel_state state;
	bool forgotten; // the guest does not know of it any more
	bool told;	// the guest was told that it ended
	bool asked;	// the mediator was asked to end it
	bool killed;	// at once

	uint64_t id; // the mediator's
	uint64_t arena_bytes;
	uint32_t bell;	 // the bell word as stored last
	uint32_t reason; // of the end: enum link_error_code; 0: none known

	int link, memory_link, bell_fd, doorbell_fd, pidfd;
	sd_event_source *link_source, *memory_source, *bell_source, *exit_source;
	bool link_lost, memory_lost, exited;
};

void channel_init(struct channel *c, struct stub *s, unsigned number);

// The commands, checked. VGPU_RESULT_OK: under way or answered, the reply is written when it is over; else
// what to reply now.
enum vgpu_command_result channel_open(struct channel *c, const struct vgpu_command_open *o);
enum vgpu_command_result channel_close(struct channel *c, unsigned slot);
enum vgpu_command_result channel_map(struct channel *c, unsigned slot, const struct vgpu_command_map *m);
enum vgpu_command_result channel_unmap(struct channel *c, unsigned slot, const struct vgpu_command_unmap *u);

void channel_doorbell(const struct channel *c);

// It has an executor, or may have.
bool channel_is_busy(const struct channel *c);

// Ended at once. The guest is told (end), or does not know of it any more (forget). Any state.
void channel_end(struct channel *c, uint32_t reason);
void channel_forget(struct channel *c);

#endif
