// SPDX-License-Identifier: Apache-2.0
// What is in flight on the device. Each stream has a lane; the GPU records submitted to it are collected in
// batches, and a batch ends with a stream-ordered store of its number to the lane's private word, so
// completion is seen by reading memory. Batch numbers are one sequence for all lanes and only grow.
//
// A stream that waits for the guest (stream_wait_value), or for an event that another process records, waits
// on a second private word of its lane, and the loop passes the word on when that has come and the turn is
// ours. So nothing behind such a wait begins to run outside of a turn, and until then it counts as blocked:
// not in flight, not busy, no reason to keep a turn. A wait for a word in memory (words.c,
// docs/decisions/0013) is one of these, but there the device itself says on a third word that the wait is
// over. A guard is the set of such waits that work stands behind, carried along by events and the legacy
// stream.
//
// Called by the executor's loop thread only, but for what passer.h does while that thread is held up.
#ifndef VGPU_EXECUTOR_TRACK_H
#define VGPU_EXECUTOR_TRACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/limits.h"

struct executor;
struct backend_event;
struct backend_stream;

// Streams that were destroyed while they had work keep their lane until it is done.
#define TRACK_LANES	    (VGPU_MAX_STREAMS + 256u)
#define TRACK_LEGACY	    0u	       // the legacy default stream's lane
#define TRACK_NOWHERE	    UINT32_MAX // work that is collected, not submitted (graph.c): nothing is tracked
#define TRACK_MAX_RECORDS   512u // in flight at once: below the depth at which the driver itself would block us
#define TRACK_BATCH_RECORDS 32u
#define TRACK_BATCH_NS	    500000ull
#define TRACK_BATCH_KEYS    4u
#define TRACK_GUARDS	    4u
#define TRACK_SMALL_NS	    1000ull // predicted for records that are neither kernels nor copies

struct guard {
	uint32_t n;
	bool overflow; // more waits than places: the work counts as in flight
	struct guard_place {
		uint32_t lane;
		uint64_t wait; // passed when the lane's passed_wait is this or later
	} places[TRACK_GUARDS];
};

struct batch {
	STAILQ_ENTRY(batch) next;
	uint64_t number, begun_ns, predicted_ns;
	uint32_t records, n_keys;
	bool blocked; // behind a host wait that was not passed on
	struct batch_key {
		uint64_t key, each_ns;
		uint32_t count;
	} keys[TRACK_BATCH_KEYS];
	struct guard guard;
};

#define TRACK_WORD UINT32_MAX // in place of a slot: the wait is over when the device says so

// A fence slot that the device will store to, or (host wait) that the guest will; or an event instead.
struct track_slot {
	STAILQ_ENTRY(track_slot) next;
	uint32_t slot;
	uint64_t value, batch, wait;
	uint32_t lane;			 // of a wait
	TAILQ_ENTRY(track_slot) pending; // of a wait (passer.h)
	uint64_t since_ns;		 // of a fence: when it was seen in the ring
	struct backend_event *event;	 // of a wait; ours; NULL: the slot tells
};

struct lane {
	struct backend_stream *stream;
	bool used, closing, blocking, active;
	uint64_t passed_wait;
	uint64_t last_batch;	      // number of the batch begun last
	struct batch *open;	      // collecting
	STAILQ_HEAD(, batch) batches; // submitted, oldest first
	STAILQ_HEAD(, track_slot) fences, waits;
	struct guard guard; // of work submitted from here on
};

struct lane_words {
	_Atomic uint64_t done; // stored by the device
	_Atomic uint64_t pass; // waited for by the device
	_Atomic uint64_t over; // stored by the device: the last wait for a word in memory that is over
};

struct track {
	struct lane *lanes; // TRACK_LANES
	struct lane_words
	    *words; // as many; page-aligned, registered with the backend while a context is active
	size_t words_bytes;
	struct batch batch_pool[TRACK_MAX_RECORDS];
	struct track_slot slot_pool[TRACK_MAX_RECORDS];
	STAILQ_HEAD(, batch) free_batches;
	STAILQ_HEAD(, track_slot) free_slots;
	uint32_t active[TRACK_MAX_RECORDS]; // lanes with work
	uint32_t n_active;
	uint32_t next_lane; // where the search for a free lane begins
	uint64_t last_batch, last_wait;
	uint32_t records, blocked_records; // all; those of blocked batches
	uint32_t n_waits;		   // host waits not passed on
	// Of those, the ones for words in memory and for events of other processes: nobody rings when they
	// come.
	uint32_t n_word_waits, n_event_waits;
	uint64_t predicted_ns;	  // of work in flight and not blocked
	uint64_t busy_since;	  // 0: idle
	uint64_t last_seen_ns;	  // when a completion was seen last
	bool pass_waits_for_turn; // a host wait's value has come, the gate keeps it
};

// 0 or -ENOMEM.
int track_init(struct track *t);
void track_done(struct track *t);

// A lane for a new stream; TRACK_LANES: none is free.
uint32_t track_lane_get(struct track *t, struct backend_stream *stream, bool blocking);
// The stream is about to be destroyed; the lane goes when its work is done.
void track_lane_put(struct executor *x, uint32_t lane);

// A GPU record is about to go to the backend (before: orders it behind host waits), and went there (after).
// key 0: nothing to learn of it. Room is the admission's business: track_has_room.
void track_before(struct executor *x, uint32_t lane);
void track_after(struct executor *x, uint32_t lane, uint64_t key, uint64_t predicted_ns);

// The record was a fence: the slot gets value when its batch is done or earlier.
void track_fence(struct executor *x, uint32_t lane, uint32_t slot, uint64_t value);
// Makes the lane's stream wait until the guest stored value or more in the slot. CUresult.
int32_t track_host_wait(struct executor *x, uint32_t lane, uint32_t slot, uint64_t value);
// The same until the event, which another process records, is complete. The event is taken over.
int32_t track_event_wait(struct executor *x, uint32_t lane, struct backend_event *event);

// Around memory operations with a wait among them, given to the lane's stream in between: they count as
// blocked, as does what comes behind them, until the device says that they are over. records: what they count
// as in flight. CUresult; an error of word_waited is the context's end.
int32_t track_word_waits(struct executor *x, uint32_t lane);
int32_t track_word_waited(struct executor *x, uint32_t lane, uint32_t records);

// The guard that work submitted to lane now stands behind, and making lane's later work stand behind one too.
void track_guard_of(struct track *t, uint32_t lane, struct guard *ret);
void track_guard_add(struct executor *x, uint32_t lane, const struct guard *g);
// The number of the batch that the lane's last record is in, or 0 if all its work is done.
uint64_t track_batch_of(const struct track *t, uint32_t lane);
bool track_batch_done(const struct track *t, uint32_t lane, uint64_t batch);

// Ends all open batches, so that their completion will be seen.
void track_flush(struct executor *x);
// Looks what is complete. True: something is.
bool track_poll(struct executor *x, uint64_t now_ns);
// Whether what the wait is for has come. Of one without an event also for the passer's thread.
bool track_wait_is_over(const struct executor *x, const struct track_slot *wait);
// Passes host waits on whose value has come, if may_pass.
void track_pass(struct executor *x, uint64_t now_ns, bool may_pass);
// Whether a fence that the device stores is there already: then guest threads must be woken.
bool track_fences_came(struct executor *x);
// Forgets all work: the context is gone or has failed.
void track_reset(struct executor *x);

static inline bool track_idle(const struct track *t)
{
	return !t->records;
}

static inline bool track_has_room(const struct track *t)
{
	return t->records < TRACK_MAX_RECORDS;
}

static inline uint32_t track_in_flight(const struct track *t)
{
	return t->records - t->blocked_records;
}

#endif
