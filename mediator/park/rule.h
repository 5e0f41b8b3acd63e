// SPDX-License-Identifier: Apache-2.0
// Who gives its device memory up when somebody lacks it: pure, time is a parameter. One park_seat an
// executor. Used by mediator/park/park.c and by tests/unit/mediator/test_park_rule.c.
//
// Requests are of two kinds. An allocation that found no memory waits for a bounded time, and not at all when
// nobody has anything that could go. An executor that is parked and has work waits until it can come back;
// the longer it waits, the less it takes to make others go: first those that have been idle for long, then
// any that has been there for a while, at work or not.
#ifndef VGPU_MEDIATOR_PARK_RULE_H
#define VGPU_MEDIATOR_PARK_RULE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define PARK_NEVER UINT64_MAX

struct park_seat {
	LIST_ENTRY(park_seat) link;
	// As the executor shows it; all of it is what a tenant may lie about.
	uint64_t held, parked; // bytes; parked is a part of held
	uint64_t active_ns;    // when it had a record last
	bool demand;
	bool ends; // it has been told to, or killed: all that it has will be free

	uint64_t here_ns;	     // since when it has all its memory on the device
	bool asked;		     // to park, not answered
	uint64_t asked_ns, asked_of; // when, and bytes that it had then
	uint64_t deaf_until_ns;	     // it parked nothing when it was asked

	bool wants; // room, since:
	uint64_t wants_bytes, wants_ns;
	bool back;	  // to come back
	uint64_t free;	  // bytes that the device had free then
	uint64_t freed;	  // bytes that others gave up since
	uint64_t granted; // bytes that it was told to take and has not yet
};

LIST_HEAD(park_seats, park_seat);

struct park_config {
	uint64_t device;       // bytes that all may have on the device; 0: the device says so itself
	uint64_t host;	       // bytes that may be parked in all; 0: nothing is parked
	uint64_t idle_ns;      // idle for so long is idle
	uint64_t residence_ns; // nobody is asked before it was there for so long
	uint64_t patience_ns;  // one that comes back waits so long before those at work are asked
	uint64_t wait_ns;      // how long an allocation waits for somebody to become idle
	uint64_t answer_ns;    // how long an answer may take
};

struct park_rule {
	struct park_config config;
	struct park_seats seats;
};

enum park_kind {
	PARK_NOTHING,
	PARK_ASK,	 // seat is to park
	PARK_ASK_URGENT, // ... at work or not
	PARK_ANSWER,	 // seat's request is dealt with; lease is what it may have on the device, 0: no end
};

struct park_action {
	enum park_kind kind;
	struct park_seat *seat;
	uint64_t lease;
};

void park_rule_init(struct park_rule *r, const struct park_config *config);
void park_seat_add(struct park_rule *r, struct park_seat *s, uint64_t now_ns);
// Its executor is gone: what it had is free.
void park_seat_remove(struct park_rule *r, struct park_seat *s);

// What the executor shows now.
void park_seat_show(struct park_seat *s, uint64_t held, uint64_t parked, uint64_t active_ns, bool demand,
		    uint64_t now_ns);
// It wants so many bytes of room, of 0: nothing any more; the device had so many free.
void park_seat_want(struct park_seat *s, uint64_t bytes, uint64_t free, bool back, uint64_t now_ns);
// It dealt with what it was asked; park_seat_show came before.
void park_seat_answered(struct park_rule *r, struct park_seat *s, uint64_t now_ns);

// A mediator that is replaced (docs/decisions/0022): what the next one must know of a seat beside what its
// executor shows.
struct park_notes {
	uint64_t here_ns;
	uint64_t asked_of; // bytes that it had when it was asked to park; 0: it has answered
	uint64_t wants_ns, freed;
};
void park_seat_note(const struct park_seat *s, struct park_notes *ret);
// After park_seat_show. The times of its request are those of before, if it is the same one.
void park_seat_remember(struct park_seat *s, const struct park_notes *n, bool same_request, uint64_t now_ns);
// It was told to take so many bytes of room for its request, and has not yet.
void park_seat_promise(struct park_seat *s, uint64_t bytes);

// The next thing to do, until there is none: then *ret_wake_ns says when to ask again at the latest.
// host_room: bytes of host memory that may be used now.
struct park_action park_next(struct park_rule *r, uint64_t host_room, uint64_t now_ns, uint64_t *ret_wake_ns);

// What the seat may have on the device, as it is now; 0: no end.
uint64_t park_lease(const struct park_rule *r, const struct park_seat *s);

// Whether anybody wants room.
bool park_is_wanted(const struct park_rule *r);
// Bytes that are parked in all.
uint64_t park_total(const struct park_rule *r);

#endif
