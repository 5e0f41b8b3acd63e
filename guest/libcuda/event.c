// SPDX-License-Identifier: Apache-2.0
// Events. One watch record asks the executor to store a number in the event's slot
// when its last record is complete, or the stream's own fence already tells. Runs in the guest program.
#include <stddef.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"

#define EVENT_FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS)

static struct vc_event *event_find(CUevent event)
{
	return vc_object_find(VC_EVENT, (uint64_t)(uintptr_t)event);
}

// An event knows its context: the calling thread needs none (PyTorch's pinning thread has none).
CUresult vc_event_enter(CUevent event, struct vc_event **ret)
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

CUresult vc_event_new(struct vc_context *ctx, unsigned int flags, struct vc_event **ret)
{
	struct vc_event *e = vc_object_new_fenced(VC_EVENT, offsetof(struct vc_event, fence));
	CUresult result = e ? vc_fence_init(&e->fence) : CUDA_ERROR_OUT_OF_MEMORY;

	if (result) {
		if (e)
			vc_object_free(VC_EVENT, e);
		return result;
	}
	e->ctx = ctx;
	e->flags = flags;
	e->captured = NULL;
	atomic_store(&e->recorded, 0);
	atomic_store(&e->watched, 0);
	atomic_store(&e->asked, 0);
	*ret = e;
	return CUDA_SUCCESS;
}

CUevent vc_event_publish(struct vc_event *e)
{
	vc_object_publish(VC_EVENT, e);
	return (CUevent)(uintptr_t)vc_object_handle(VC_EVENT, e);
}

CUresult vc_event_make(struct vc_context *ctx, uint32_t flags, struct vc_event **ret)
{
	struct record_event_create record = { .flags = flags };
	struct vc_event *e;
	CUresult result = vc_event_new(ctx, flags, &e);

	if (result)
		return result;
	record.event = vc_object_handle(VC_EVENT, e);
	result = (CUresult)vgpu_push_event_create(vc_client, &record);
	if (result) {
		vc_object_free(VC_EVENT, e);
		return result;
	}
	vc_event_publish(e);
	*ret = e;
	return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *ret, unsigned int flags)
{
	struct vc_context *ctx;
	struct vc_event *e;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!ret || (flags & ~EVENT_FLAGS))
		return CUDA_ERROR_INVALID_VALUE;
	if ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_event_make(ctx, flags, &e);
	if (!result)
		*ret = (CUevent)(uintptr_t)vc_object_handle(VC_EVENT, e);
	return result;
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
	CUresult result = vc_event_enter(event, &e);

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

// Another process may wait for this record as soon as this one says that it was made: it must be there then.
static CUresult record_arrives(void)
{
	const struct record_ping record = { 0 };
	struct reply_ping reply;

	return (CUresult)vgpu_call_ping(vc_client, &record, &reply);
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
	if (result)
		return result;
	recorded(e, s, vc_stream_submitted(s));
	return e->flags & CU_EVENT_INTERPROCESS ? record_arrives() : CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
	return cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_DEFAULT);
}

// Another process may have recorded it last: only the executor knows, so each wait asks.
static CUresult watch_shared(struct vc_event *e, uint64_t *value)
{
	struct record_event_watch record = { .event = vc_object_handle(VC_EVENT, e), .slot = e->fence.slot };
	CUresult result;

	pthread_mutex_lock(&e->lock);
	record.value = atomic_load_explicit(&e->fence.value, memory_order_relaxed) + 1;
	result = (CUresult)vgpu_push_event_watch(vc_client, &record);
	if (!result)
		atomic_store_explicit(&e->fence.value, record.value, memory_order_release);
	pthread_mutex_unlock(&e->lock);
	*value = record.value;
	return result;
}

// Makes sure that the executor watches the event's last record. *value: what the slot will hold then; 0 when
// it is complete already.
// again: asks anew if it was watched already, so that the executor looks now.
static CUresult watch(struct vc_event *e, int again, uint64_t *value)
{
	uint64_t recorded = atomic_load_explicit(&e->recorded, memory_order_acquire);
	CUresult result = CUDA_SUCCESS;

	*value = 0;
	if (e->flags & CU_EVENT_INTERPROCESS)
		return watch_shared(e, value);
	if (!recorded)
		return CUDA_SUCCESS;
	if (again || atomic_load_explicit(&e->watched, memory_order_acquire) != recorded) {
		if (vc_stream_passed(atomic_load_explicit(&e->stream, memory_order_relaxed),
				     atomic_load_explicit(&e->stream_handle, memory_order_relaxed),
				     atomic_load_explicit(&e->position, memory_order_relaxed)))
			return CUDA_SUCCESS;
		pthread_mutex_lock(&e->lock);
		recorded = atomic_load_explicit(&e->recorded, memory_order_acquire);
		int first = atomic_load_explicit(&e->watched, memory_order_relaxed) != recorded;

		if (again || first) {
			uint64_t next =
			    atomic_load_explicit(&e->fence.value, memory_order_relaxed) + (first != 0);
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
	CUresult result = vc_event_enter(event, &e);
	uint64_t value;
	int old;

	if (!result && e->captured)
		result = vc_capture_forbids_event(e);
	if (!result && (e->flags & CU_EVENT_INTERPROCESS)) {
		struct record_event_query record = { .event = vc_object_handle(VC_EVENT, e) };

		return (CUresult)vgpu_call_event_query(vc_client, &record);
	}
	if (result)
		return result;
	old = atomic_load_explicit(&e->watched, memory_order_relaxed) ==
	      atomic_load_explicit(&e->recorded, memory_order_relaxed);
	result = watch(e, 0, &value);
	if (result || vgpu_slot_read(vc_client, e->fence.slot) >= value)
		return result;
	if (vc_ask_again(&e->asked)) {
		if (old)
			result = watch(e, 1, &value);
		if (!result)
			vgpu_client_caught_up(vc_client, VC_LOOK_NS);
		if (result || vgpu_slot_read(vc_client, e->fence.slot) >= value)
			return result;
	}
	result = (CUresult)vgpu_client_look(vc_client);
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
	CUresult result = vc_event_enter(event, &e);
	uint64_t value;

	if (!result && e->captured)
		result = vc_capture_forbids_event(e);
	if (!result)
		result = watch(e, 0, &value);
	if (result)
		return result;
	result = vc_fence_wait(&e->fence, value);
	if (result) // the watch itself may have been refused: the next wait asks for another
		atomic_store_explicit(&e->watched, 0, memory_order_release);
	vc_printed();
	if (!result)
		result = (CUresult)vgpu_client_deferred(vc_client);
	if (!result)
		vc_pools_waited();
	return result;
}

CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end)
{
	struct record_event_elapsed record = { .start = (uint64_t)(uintptr_t)start,
					       .end = (uint64_t)(uintptr_t)end };
	struct vc_event *first, *last;
	struct reply_event_elapsed reply;
	CUresult result = vc_event_enter(start, &first);

	if (!result)
		result = vc_event_enter(end, &last);
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
	uint64_t handle, position;
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
	if (!atomic_load_explicit(&e->recorded, memory_order_acquire) && !(e->flags & CU_EVENT_INTERPROCESS))
		return CUDA_SUCCESS; // nothing to wait for
	handle = atomic_load_explicit(&e->stream_handle, memory_order_relaxed);
	position = atomic_load_explicit(&e->position, memory_order_relaxed);
	record.stream = s->handle;
	result = (CUresult)vgpu_push_stream_wait_event(vc_client, &record);
	if (result)
		return result;
	vc_stream_submitted(s);
	// Of an event that several processes record, the last record may not be the one made here.
	if (atomic_load_explicit(&vc_pools_used, memory_order_relaxed) && !(e->flags & CU_EVENT_INTERPROCESS))
		vc_pools_stream_waits(s, handle, position);
	return CUDA_SUCCESS;
}
