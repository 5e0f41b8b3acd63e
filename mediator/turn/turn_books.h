// SPDX-License-Identifier: Apache-2.0
// A tenant's books: what the next mediator must know about turns to go on as if nothing had happened (tags,
// charges, meters, who was told to park), in a page that outlives this one. Written whenever a turn changes
// hands, so at most one turn is missing in it. The mediator's own: no executor has it. Of turn/ only; mapped
// by tenants.
#ifndef VGPU_MEDIATOR_TURN_TURN_BOOKS_H
#define VGPU_MEDIATOR_TURN_TURN_BOOKS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/limits.h"
#include "protocol/host/turn_page.h"

// As in struct wfq_node.
struct turn_books_node {
	uint64_t tag, tag_rest, charged_ns, contended_charged_ns, turns, contended_ns;
};

// As struct turn_meters.
struct turn_books_meters {
	uint64_t launches, copy_bytes, faults, held_ns[VGPU_HELD_BY];
};

// As struct park_notes.
struct turn_books_room {
	uint64_t here_ns, asked_of, wants_ns, freed;
	uint64_t room_ask; // the request that the last two are about
};

struct turn_books_seat {
	uint64_t channel; // 0: free
	struct turn_books_node node;
	struct turn_books_meters meters;
	// When this was written, and what the executor's count of busy nanoseconds was; UINT64_MAX: it held
	// no turn, so nothing is to be billed for the time since then.
	uint64_t noted_ns, busy_ns;
	uint64_t deadline_ns; // of its turn then
	struct turn_books_room room;
};

struct turn_books {
	// Virtual time among the pools, among the tenants of its pool, and among its executors.
	uint64_t root_v, pool_v, v;
	struct turn_books_node pool; // as it was when this was written
	struct turn_books_node node;
	struct turn_books_meters ended; // of seats that are gone
	struct turn_books_seat seats[VGPU_MAX_CHANNELS_PER_TENANT];
};

struct turn_account;
struct turn_seat;

// The account's books from here on; what stands in them is taken over (restore) or
// overwritten. Before it has seats.
void turn_books_open(struct turn_account *a, struct turn_books *b, bool restore);

// The seat's place in its account's books: a free one, or the one where the channel stood (restore). 0, or
// -ENOSPC, -ENOENT.
int turn_books_take_place(struct turn_seat *s, uint64_t channel);
int turn_books_restore_place(struct turn_seat *s, uint64_t channel, uint32_t place);
// Bills what the seat used between the books' last note and now_ns, when no mediator may have looked.
void turn_books_bill_gap(struct turn_seat *s, bool holds, uint64_t now_ns);
void turn_books_give_place(struct turn_seat *s);

// Brings seat and account up to date in the books.
void turn_books_note(struct turn_seat *s, uint64_t now_ns);
void turn_books_note_account(struct turn_account *a);

#endif
