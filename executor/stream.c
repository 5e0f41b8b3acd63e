// SPDX-License-Identifier: Apache-2.0
// Streams and fences: handlers of stream_*, fence. Called by the generated dispatch in the executor's loop.
#include <stdlib.h>

#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

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

int32_t on_stream_wait_event(struct executor *x, const struct record_stream_wait_event *r,
			     struct stream *stream, struct event *event)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);

	if (result)
		return result;
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
