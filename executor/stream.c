// SPDX-License-Identifier: Apache-2.0
// Streams and fences: handlers of stream_*, fence. Called by the generated dispatch in the executor's loop.
#include <stdlib.h>

#include "common/clock.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/guest/launch_attributes.h"

int32_t on_stream_create(struct executor *x, const struct record_stream_create *r, struct stream **ret_stream)
{
	int32_t result = executor_ready(x);
	struct stream *s;

	if (result)
		return result;
	s = calloc(1, sizeof(*s));
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->stream_create(x->backend, r->flags, r->priority, &s->backend);
	if (result) {
		free(s);
		return result;
	}
	s->lane = track_lane_get(&x->track, s->backend, !(r->flags & CU_STREAM_NON_BLOCKING));
	if (s->lane == TRACK_LANES) {
		x->ops->stream_destroy(x->backend, s->backend);
		free(s);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ret_stream = s;
	return CUDA_SUCCESS;
}

void stream_free(struct executor *x, void *object)
{
	struct stream *s = object;

	track_lane_put(x, s->lane);
	x->ops->stream_destroy(x->backend, s->backend);
	handle_remove(x, s->object.handle);
	free(s);
}

int32_t on_stream_destroy(struct executor *x, const struct record_stream_destroy *r, struct stream *stream)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (!result)
		stream_free(x, stream);
	return result;
}

int32_t on_stream_set(struct executor *x, const struct record_stream_set *r, struct stream *stream)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!stream_attribute_travels(r->attribute))
		return CUDA_ERROR_NOT_SUPPORTED;
	return x->ops->stream_set(x->backend, work_stream(stream), r->attribute, r->value);
}

// The executor's own writes, by which it knows what is in flight, end microseconds after the work that they
// stand behind: a stream with nothing but those is done, so they are waited for.
#define STREAM_SETTLE_NS 10000u

int32_t on_stream_look(struct executor *x, const struct record_stream_look *r, struct stream *stream)
{
	int32_t result = executor_ready(x);
	uint64_t until = clock_now_ns() + STREAM_SETTLE_NS;

	if (result)
		return result;
	if (r->slot >= x->assign.geometry.fence_slots)
		return CUDA_ERROR_INVALID_VALUE;
	do {
		result = x->ops->stream_query(x->backend, work_stream(stream));
	} while (result == CUDA_ERROR_NOT_READY && clock_now_ns() < until);
	if (!result)
		fence_store(x, r->slot, r->value);
	return result == CUDA_ERROR_NOT_READY ? CUDA_SUCCESS : result;
}

// What another process records is not waited for on the device: its turn may have to come first. The stream
// stands still as for a host function, and does not count as work until the event is complete.
static int32_t wait_for_others(struct executor *x, uint32_t lane, struct event *event)
{
	struct backend_event *last;
	int32_t result = x->ops->event_query(x->backend, event->backend);

	if (result != CUDA_ERROR_NOT_READY)
		return result;
	result = x->ops->event_follow(x->backend, event->backend, &last);
	if (result)
		return result;
	track_before(x, lane);
	return track_event_wait(x, lane, last);
}

int32_t on_stream_wait_event(struct executor *x, const struct record_stream_wait_event *r,
			     struct stream *stream, struct event *event)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (event->shared && lane != TRACK_NOWHERE)
		return wait_for_others(x, lane, event);
	track_before(x, lane);
	if (lane != TRACK_NOWHERE)
		track_guard_add(x, lane, &event->guard);
	result = x->ops->stream_wait_event(x->backend, work_stream(stream), event->backend, r->flags);
	if (!result)
		track_after(x, lane, 0, TRACK_SMALL_NS);
	return result;
}

int32_t on_stream_wait_value(struct executor *x, const struct record_stream_wait_value *r,
			     struct stream *stream)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (r->slot >= x->assign.geometry.fence_slots)
		return CUDA_ERROR_INVALID_VALUE;
	track_before(x, work_lane(stream));
	return track_host_wait(x, work_lane(stream), r->slot, r->value);
}

int32_t on_fence(struct executor *x, const struct record_fence *r, struct stream *stream)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (r->slot >= x->assign.geometry.fence_slots)
		return CUDA_ERROR_INVALID_VALUE;
	track_before(x, lane);
	result = x->ops->stream_write(x->backend, work_stream(stream), &x->fences[r->slot], r->value);
	if (result)
		return result;
	track_after(x, lane, 0, TRACK_SMALL_NS);
	track_fence(x, lane, r->slot, r->value);
	return CUDA_SUCCESS;
}
