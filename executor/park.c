// SPDX-License-Identifier: Apache-2.0
// When device memory goes and comes back; see the header. Called by the loop and by the handlers that
// allocate.
#include "executor/park.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"
#include "executor/executor.h"
#include "protocol/cuda/cuda_abi.h"

static void ask_room(struct executor *x, uint64_t bytes, bool back, uint64_t now_ns)
{
	struct park *p = &x->park;

	p->asking = true;
	p->ask_until = now_ns + PARK_ROOM_NS;
	atomic_store_explicit(&x->turn->room_bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&x->turn->room_free, memory_free_now(&x->memory), memory_order_relaxed);
	atomic_store_explicit(&x->turn->room_back, back, memory_order_relaxed);
	atomic_store_explicit(&x->turn->room_ask, ++p->asked, memory_order_release);
	x->gate.kick = true;
}

static void end_asking(struct executor *x)
{
	x->park.asking = false;
	atomic_store_explicit(&x->turn->room_bytes, 0, memory_order_release);
	x->gate.kick = true;
}

void park_asked(struct executor *x)
{
	if (!x->park.retry)
		return;
	x->park.retry = false;
	end_asking(x);
}

static bool is_answered(const struct executor *x)
{
	return atomic_load_explicit(&x->turn->room_answer, memory_order_acquire) == x->park.asked;
}

int32_t park_room(struct executor *x, int32_t result)
{
	struct park *p = &x->park;
	uint64_t bytes = x->memory.refused;
	bool again = result == CUDA_ERROR_OUT_OF_MEMORY && bytes && !p->retry && !x->sticky;

	x->memory.refused = 0;
	if (!again)
		return result;
	ask_room(x, bytes, false, x->now_ns);
	return RESULT_AGAIN;
}

// ---- out

static bool record_came(void *opaque)
{
	struct executor *x = opaque;

	return !x->park.drain_until && ring_has_more(&x->ring);
}

static void answer_park(struct executor *x, uint64_t ask)
{
	x->park.answered = ask;
	x->park.drain_until = 0;
	atomic_store_explicit(&x->turn->park_answer, ask, memory_order_release);
	x->gate.kick = true;
}

static void park_now(struct executor *x, uint64_t ask)
{
	uint64_t since = clock_now_ns();

	memory_park(&x->memory, record_came, x);
	log_debug("parked: %" PRIu64 " of %" PRIu64 " bytes in %" PRIu64 " us", x->memory.parked,
		  x->memory.held, (uint64_t)((clock_now_ns() - since) / NSEC_PER_USEC));
	answer_park(x, ask);
}

// True: work in flight is waited for.
static bool obey(struct executor *x, uint64_t ask, uint64_t now_ns)
{
	struct park *p = &x->park;
	bool urgent = atomic_load_explicit(&x->turn->park_urgent, memory_order_relaxed);

	if (!x->active || x->sticky || x->guest.waits || (!urgent && ring_has_more(&x->ring))) {
		answer_park(x, ask);
		return false;
	}
	if (p->asking && !x->memory.parked) // the allocation that waits is tried again when all is back
		end_asking(x);
	if (urgent && !p->drain_until)
		p->drain_until = now_ns + PARK_DRAIN_NS;
	if (track_idle(&x->track)) {
		park_now(x, ask);
		return false;
	}
	if (urgent && now_ns < p->drain_until)
		return true;
	answer_park(x, ask); // it works, or waits for something of its own
	return false;
}

// ---- back

// The mediator has said that there is room. Somebody else may have been faster: then it is asked again.
static void come_back(struct executor *x)
{
	uint64_t since = clock_now_ns(), bytes = x->memory.parked;
	int32_t r = memory_unpark(&x->memory);

	if (!r) {
		log_debug("came back: %" PRIu64 " of %" PRIu64 " bytes in %" PRIu64 " us", bytes,
			  x->memory.held, (uint64_t)((clock_now_ns() - since) / NSEC_PER_USEC));
		x->gone++; // graphs of the device below may know more of their memory than its address
		end_asking(x);
	} else if (r != CUDA_ERROR_OUT_OF_MEMORY) {
		executor_fail(x, r); // what it had is lost
	}
}

bool park_is_quiet(const struct executor *x)
{
	return !x->park.asking && !x->memory.parked &&
	       atomic_load_explicit(&x->turn->park_ask, memory_order_relaxed) == x->park.answered;
}

enum park_state park_round(struct executor *x, uint64_t now_ns)
{
	uint64_t ask = atomic_load_explicit(&x->turn->park_ask, memory_order_acquire);
	struct park *p = &x->park;

	if (ask != p->answered && obey(x, ask, now_ns))
		return PARK_DRAIN;
	if (p->asking) {
		if (!is_answered(x) && now_ns < p->ask_until)
			return PARK_WAIT;
		p->asking = false;
		if (x->memory.parked)
			come_back(x);
		else // the allocation that asked is the record at hand
			p->retry = true;
	}
	if (!x->memory.parked || x->sticky || !ring_has_more(&x->ring))
		return PARK_SERVE;
	// Never without being told: it may have gone for somebody who has not taken the room yet.
	ask_room(x, x->memory.parked, true, now_ns);
	return PARK_WAIT;
}
