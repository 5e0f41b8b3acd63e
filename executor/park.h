// SPDX-License-Identifier: Apache-2.0
// Parking (docs/decisions/0021): the device memory of an idle executor goes to the host's memory when the
// mediator asks, and comes back before the next record is served; and an allocation that finds no memory asks
// the mediator to make room. All of it is words of the turn page, a kick and a doorbell; nobody waits in a
// call.
#ifndef VGPU_EXECUTOR_PARK_H
#define VGPU_EXECUTOR_PARK_H

#include <stdbool.h>
#include <stdint.h>

struct executor;

// How long an allocation waits for room, and how long one that is in demand is given to come to rest.
#define PARK_ROOM_NS  (30ull * 1000000000)
#define PARK_DRAIN_NS (2ull * 1000000000)

struct park {
	uint64_t answered;    // the park_ask that was dealt with last
	uint64_t drain_until; // ns; 0: no urgent ask is being carried out
	bool asking;	      // room_ask is ours and not answered
	bool retry;	      // it is: the record is tried once more
	uint64_t asked;	      // the last room_ask
	uint64_t ask_until;   // ns
};

enum park_state {
	PARK_SERVE, // the ring may be served
	PARK_DRAIN, // not before what is in flight is done
	PARK_WAIT,  // not before the mediator rings
};

// In each round, before records are taken.
enum park_state park_round(struct executor *x, uint64_t now_ns);

// The result of a record that allocates device memory: RESULT_AGAIN when the device had none (memory.refused)
// and the mediator was asked for room.
int32_t park_room(struct executor *x, int32_t result);

// A record is done: if it had asked for room, it does not want any now.
void park_asked(struct executor *x);

// Whether a round has nothing to look at here.
bool park_is_quiet(const struct executor *x);

#endif
