// SPDX-License-Identifier: Apache-2.0
// What goes back to the guest: replies, and waking its sleepers.
#ifndef VGPU_EXECUTOR_REPLY_H
#define VGPU_EXECUTOR_REPLY_H

#include <stdint.h>

struct executor;

// Room that a reply's payload has in its slot.
#define REPLY_ROOM ((uint32_t)(VGPU_REPLY_SLOT_BYTES - sizeof(struct reply_slot)))

// Where the payload of the reply in that slot goes. slot is below the geometry's reply_slots.
uint8_t *reply_payload(struct executor *x, uint16_t slot);

// Stores result and length, then the cookie.
void reply_send(struct executor *x, uint16_t slot, uint64_t cookie, int32_t result, uint32_t length);

// If something was stored and guest threads sleep, wakes them.
void reply_wake(struct executor *x);

#endif
