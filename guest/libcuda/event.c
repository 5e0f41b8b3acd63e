// SPDX-License-Identifier: Apache-2.0
// Events. A query costs no call: one watch record asks the executor to store a number in the event's slot
// when its last record is complete, or the stream's own fence already tells. Runs in the guest program.
#include <stddef.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"

#define EVENT_FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS)

static struct vc_event *event_find(CUevent event)
{
	return vc_object_find(VC_EVENT, (uint64_t)(uintptr_t)event);
}

// An event knows its context: the calling thread needs none (PyTorch's pinning thread has none).
static CUresult enter_event(CUevent event, struct vc_event **ret)
{
	CUresult result = vc_ready();

	if (!result && vc_thread.in_callback)
		result = CUDA_ERROR_NOT_PERMITTED;
	if (!result)
		result = (CUresult)vgpu_client_sticky(vc_client);
	if (result)
		return result;
	*ret = event_find(event);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventCreate(CUevent *ret, unsigned int flags)
{
	struct record_event_create record = { .flags = flags };
	struct vc_context *ctx;
	struct vc_event *e;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!ret || (flags & ~EVENT_FLAGS))
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CU_EVENT_INTERPROCESS)
		return flags & CU_EVENT_DISABLE_TIMING ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
	e = vc_object_new_fenced(VC_EVENT, offsetof(struct vc_event, fence));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = vc_fence_init(&e->fence);
	record.event = vc_object_handle(VC_EVENT, e);
	if (!result)
		result = (CUresult)vgpu_push_event_create(vc_client, &record);
	if (result) {
		vc_object_free(VC_EVENT, e);
		return result;
	}
	e->ctx = ctx;
	e->flags = flags;
	e->captured = NULL;
	atomic_store(&e->recorded, 0);
	atomic_store(&e->watched, 0);
	vc_object_publish(VC_EVENT, e);
	*ret = (CUevent)(uintptr_t)record.event;
	return CUDA_SUCCESS;
}

void vc_event_destroy(struct vc_event *e)
{
	struct record_event_destroy record = { .event = vc_object_handle(VC_EVENT, e) };

	if (!vc_object_claim(e, record.event))
		return;
	if (e->captured) {
		pthread_mutex_lock(&vc_graph_lock);
		vc_capture_event_gone(e);
		pthread_mutex_unlock(&vc_graph_lock);
	}
	vgpu_push_event_destroy(vc_client, &record);
	vc_object_free(VC_EVENT, e);
}

static void release_one(void *object, void *arg)
{
	struct vc_event *e = object;

	if (e->ctx == arg)
		vc_event_destroy(e);
}

void vc_events_release(struct vc_context *ctx)
{
	vc_object_each(VC_EVENT, release_one, ctx);
}

CUresult cuEventDestroy_v2(CUevent event)
{
	struct vc_event *e;
	CUresult result = enter_event(event, &e);

	if (!result)
		vc_event_destroy(e);
	return result;
}

static void recorded(struct vc_event *e, struct vc_stream *s, uint64_t position)
{
	if (!VC_LIKELY(!e->captured)) {
		pthread_mutex_lock(&vc_graph_lock);
		vc_capture_event_gone(e);
		pthread_mutex_unlock(&vc_graph_lock);
	}
	atomic_store_explicit(&e->stream, s, memory_order_relaxed);
	atomic_store_explicit(&e->stream_handle, s->handle, memory_order_relaxed);
	atomic_store_explicit(&e->position, position, memory_order_relaxed);
	atomic_fetch_add_explicit(&e->recorded, 1, memory_order_release);
}

void vc_event_recorded(uint64_t event, struct vc_stream *s, uint64_t position)
{
	struct vc_event *e = vc_object_find(VC_EVENT, event);

	if (e)
		recorded(e, s, position);
}

// A node that records or waits for the event at each launch of the graph.
static CUresult capture_node(struct vc_stream *s, CUgraphNodeType type, CUevent event)
{
	struct vc_what what = { 0 };
	CUresult result = vc_what_event(type, event, &what);

	return result ? result : vc_capture_add(s, &what);
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned int flags)
{
	struct record_event_record record = { .event = (uint64_t)(uintptr_t)event };
	struct vc_context *ctx;
	struct vc_stream *s;
	struct vc_event *e;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	e = event_find(event);
	if (!e || e->ctx != (s->ctx ? s->ctx : ctx))
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags & ~CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	if (!VC_LIKELY(!vc_stream_captures(s)))
		return flags & CU_EVENT_RECORD_EXTERNAL
			   ? capture_node(s, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event)
			   : vc_capture_event_record(s, e);
	record.stream = s->handle;
	result = (CUresult)vgpu_push_event_record(vc_client, &record);
	if (!result)
		recorded(e, s, vc_stream_submitted(s));
	return result;
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
	return cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_DEFAULT);
}

// Makes sure that the executor watches the event's last record. *value: what the slot will hold then; 0 when
// it is complete already.
static CUresult watch(struct vc_event *e, uint64_t *value)
{
	uint64_t recorded = atomic_load_explicit(&e->recorded, memory_order_acquire);
	CUresult result = CUDA_SUCCESS;

	*value = 0;
	if (!recorded)
		return CUDA_SUCCESS;
	if (atomic_load_explicit(&e->watched, memory_order_acquire) != recorded) {
		if (vc_stream_passed(atomic_load_explicit(&e->stream, memory_order_relaxed),
				     atomic_load_explicit(&e->stream_handle, memory_order_relaxed),
				     atomic_load_explicit(&e->position, memory_order_relaxed)))
			return CUDA_SUCCESS;
		pthread_mutex_lock(&e->lock);
		recorded = atomic_load_explicit(&e->recorded, memory_order_acquire);
		if (atomic_load_explicit(&e->watched, memory_order_relaxed) != recorded) {
			uint64_t next = atomic_load_explicit(&e->fence.value, memory_order_relaxed) + 1;
			struct record_event_watch record = { .event = vc_object_handle(VC_EVENT, e),
							     .value = next,
							     .slot = e->fence.slot };

			result = (CUresult)vgpu_push_event_watch(vc_client, &record);
			if (!result) {
				atomic_store_explicit(&e->fence.value, next, memory_order_release);
				atomic_store_explicit(&e->watched, recorded, memory_order_release);
			}
		}
		pthread_mutex_unlock(&e->lock);
	}
	*value = atomic_load_explicit(&e->fence.value, memory_order_acquire);
	return result;
}

CUresult cuEventQuery(CUevent event)
{
	struct vc_event *e;
	CUresult result = enter_event(event, &e);
	uint64_t value;

	if (!result && e->captured)
		result = vc_capture_forbids_event(e);
	if (!result)
		result = watch(e, &value);
	if (result || vgpu_fence_read(vc_client, e->fence.slot) >= value)
		return result;
	result = (CUresult)vgpu_client_lost(vc_client);
	if (!result)
		result = (CUresult)vgpu_client_deferred(vc_client);
	if (!result)
		return CUDA_ERROR_NOT_READY;
	atomic_store_explicit(&e->watched, 0, memory_order_release);
	return result;
}

CUresult cuEventSynchronize(CUevent event)
{
	struct vc_event *e;
	CUresult result = enter_event(event, &e);
	uint64_t value;

	if (!result && e->captured)
		result = vc_capture_forbids_event(e);
	if (!result)
		result = watch(e, &value);
	if (result)
		return result;
	result = vc_fence_wait(&e->fence, value);
	if (result) // the watch itself may have been refused: the next wait asks for another
		atomic_store_explicit(&e->watched, 0, memory_order_release);
	vc_printed();
	return result ? result : (CUresult)vgpu_client_deferred(vc_client);
}

CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end)
{
	struct record_event_elapsed record = { .start = (uint64_t)(uintptr_t)start,
					       .end = (uint64_t)(uintptr_t)end };
	struct vc_event *first, *last;
	struct reply_event_elapsed reply;
	CUresult result = enter_event(start, &first);

	if (!result)
		result = enter_event(end, &last);
	if (result)
		return result;
	if (!ms)
		return CUDA_ERROR_INVALID_VALUE;
	if (((first->flags | last->flags) & CU_EVENT_DISABLE_TIMING) || !atomic_load(&first->recorded) ||
	    !atomic_load(&last->recorded) || first->ctx != last->ctx)
		return CUDA_ERROR_INVALID_HANDLE;
	result = (CUresult)vgpu_call_event_elapsed(vc_client, &record, &reply);
	if (!result)
		*ms = reply.milliseconds;
	return result;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags)
{
	struct record_stream_wait_event record = { .event = (uint64_t)(uintptr_t)event };
	struct vc_context *ctx;
	struct vc_stream *s;
	struct vc_event *e;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	e = event_find(event);
	if (!e)
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags & ~CU_EVENT_WAIT_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	if (!VC_LIKELY(!vc_stream_captures(s) && !e->captured))
		return vc_stream_captures(s) && (flags & CU_EVENT_WAIT_EXTERNAL)
			   ? capture_node(s, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event)
			   : vc_capture_event_wait(s, e);
	if (!atomic_load_explicit(&e->recorded, memory_order_acquire))
		return CUDA_SUCCESS; // nothing to wait for
	record.stream = s->handle;
	result = (CUresult)vgpu_push_stream_wait_event(vc_client, &record);
	if (!result)
		vc_stream_submitted(s);
	return result;
}
