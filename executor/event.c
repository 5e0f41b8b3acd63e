// SPDX-License-Identifier: Apache-2.0
// Events and watches: handlers of event_*. A watch stores a fence value when an event's record is complete;
// the loop polls the watches, a few of them at the device each time.
#include <stdlib.h>

#include "common/limits.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

#define WATCH_QUERIES 16u // events asked of the backend in one poll

struct watch {
	struct event *event; // holds a reference
	uint64_t value, batch, since_ns;
	uint32_t slot, lane;
};

int32_t on_event_create(struct executor *x, const struct record_event_create *r, struct event **ret_event)
{
	int32_t result = executor_ready(x);
	struct event *e;

	if (result)
		return result;
	if ((r->flags & CU_EVENT_INTERPROCESS) && !(r->flags & CU_EVENT_DISABLE_TIMING))
		return CUDA_ERROR_INVALID_VALUE;
	e = calloc(1, sizeof(*e));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->event_create(x->backend, r->flags, &e->backend);
	if (result) {
		free(e);
		return result;
	}
	e->references = 1;
	e->shared = r->flags & CU_EVENT_INTERPROCESS;
	*ret_event = e;
	return CUDA_SUCCESS;
}

int32_t event_follow(struct executor *x, const struct event *e, struct event **ret)
{
	struct event *own = calloc(1, sizeof(*own));
	int32_t result;

	if (!own)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->event_follow(x->backend, e->backend, &own->backend);
	if (result) {
		free(own);
		return result;
	}
	own->references = 1;
	*ret = own;
	return CUDA_SUCCESS;
}

void event_release(struct executor *x, struct event *e)
{
	if (--e->references)
		return;
	share_event_gone(x, e);
	x->ops->event_destroy(x->backend, e->backend);
	free(e);
}

void event_free(struct executor *x, void *object)
{
	struct event *e = object;

	handle_remove(x, e->object.handle);
	x->events_gone++;
	event_release(x, e);
}

int32_t on_event_destroy(struct executor *x, const struct record_event_destroy *r, struct event *event)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (!result)
		event_free(x, event);
	return result;
}

void event_recorded(struct executor *x, struct event *event, uint32_t lane)
{
	if (event->shared)
		return;
	event->lane = lane;
	event->batch = track_batch_of(&x->track, lane);
	track_guard_of(&x->track, lane, &event->guard);
}

int32_t on_event_record(struct executor *x, const struct record_event_record *r, struct stream *stream,
			struct event *event)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);

	if (result)
		return result;
	track_before(x, lane);
	result = x->ops->event_record(x->backend, event->backend, work_stream(stream), r->flags);
	if (result)
		return result;
	track_after(x, lane, 0, TRACK_SMALL_NS);
	if (lane != TRACK_NOWHERE)
		event_recorded(x, event, lane);
	return CUDA_SUCCESS;
}

int32_t on_event_elapsed(struct executor *x, const struct record_event_elapsed *r, struct event *start,
			 struct event *end, struct reply_event_elapsed *ret)
{
	int32_t result = executor_ready(x);

	(void)r;
	return result ? result
		      : x->ops->event_elapsed(x->backend, start->backend, end->backend, &ret->milliseconds);
}

// ---- watches ----

void fence_store(struct executor *x, uint32_t slot, uint64_t value)
{
	if (slot >= x->assign.geometry.fence_slots ||
	    atomic_load_explicit(&x->fences[slot], memory_order_relaxed) >= value)
		return;
	atomic_store_explicit(&x->fences[slot], value, memory_order_release);
	x->stored = true;
}

static bool watches_grow(struct executor *x)
{
	uint32_t room = x->watches_room ? 2 * x->watches_room : 64;
	struct watch *list;

	if (x->n_watches < x->watches_room)
		return true;
	if (x->n_watches >= VGPU_MAX_WATCHES)
		return false;
	list = reallocarray(x->watches, room, sizeof(*list));
	if (!list)
		return false;
	x->watches = list;
	x->watches_room = room;
	return true;
}

// Whether somebody who asks again has a watch of this very record already.
static bool is_watched(const struct executor *x, const struct record_event_watch *r,
		       const struct event *event)
{
	for (uint32_t i = 0; event->references > 1 && i < x->n_watches; i++) {
		const struct watch *w = &x->watches[i];

		if (w->event == event && w->slot == r->slot && w->value == r->value &&
		    w->batch == event->batch && w->lane == event->lane)
			return true;
	}
	return false;
}

int32_t on_event_watch(struct executor *x, const struct record_event_watch *r, struct event *event)
{
	int32_t result = executor_ready(x);
	uint64_t since;

	if (result)
		return result;
	if (r->slot >= x->assign.geometry.fence_slots)
		return CUDA_ERROR_INVALID_VALUE;
	since = delay_since(&x->delay, x->ring.head, x->now_ns);
	result = x->ops->event_query(x->backend, event->backend);
	if (!result) {
		fence_store(x, r->slot, r->value);
		delay_waited(&x->delay, since, x->now_ns);
		return CUDA_SUCCESS;
	}
	if (result != CUDA_ERROR_NOT_READY)
		return result;
	if (is_watched(x, r, event))
		return CUDA_SUCCESS;
	result = CUDA_SUCCESS;
	if (!watches_grow(x))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (event->shared) // its next record, perhaps another process's, is not what is waited for
		result = event_follow(x, event, &event);
	else
		event->references++;
	if (result)
		return result;
	x->watches[x->n_watches++] = (struct watch){
		.event = event,
		.value = r->value,
		.batch = event->batch,
		.since_ns = since,
		.slot = r->slot,
		.lane = event->lane,
	};
	return CUDA_SUCCESS;
}

int32_t on_event_query(struct executor *x, const struct record_event_query *r, struct event *event)
{
	int32_t result = executor_ready(x);

	(void)r;
	return result ? result : x->ops->event_query(x->backend, event->backend);
}

static void watch_remove(struct executor *x, uint32_t i)
{
	event_release(x, x->watches[i].event);
	x->watches[i] = x->watches[--x->n_watches];
}

// The lane's batch tells late but surely (also when the event was recorded again since); the backend tells at
// once, but asking costs, so only some are asked each time, round about.
bool watches_poll(struct executor *x)
{
	uint32_t asked = 0, before = x->n_watches;

	for (uint32_t i = 0; i < x->n_watches;) {
		const struct watch *w = &x->watches[i];
		bool done = w->batch && track_batch_done(&x->track, w->lane, w->batch);

		if (!done && i >= x->watch_next && asked < WATCH_QUERIES) {
			done = x->ops->event_query(x->backend, w->event->backend) == CUDA_SUCCESS;
			asked++;
			x->watch_next = i + 1;
		}
		if (!done) {
			i++;
			continue;
		}
		fence_store(x, w->slot, w->value);
		delay_waited(&x->delay, w->since_ns, x->now_ns);
		watch_remove(x, i);
	}
	if (asked < WATCH_QUERIES)
		x->watch_next = 0;
	return x->n_watches < before;
}

void watches_drop(struct executor *x)
{
	while (x->n_watches)
		watch_remove(x, x->n_watches - 1);
}
