// SPDX-License-Identifier: Apache-2.0
// Streams and their completion. Each counts the records pushed to it; a fence record asks the executor to
// store a number in the stream's slot when all before it is done, so queries and waits need no call. Runs in
// the guest program; pushing work takes no lock but the ring's.
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"

#define LOOK_NS 100000000ull // a wait looks for errors of calls without reply this often

struct vc_stream vc_legacy_stream = { .handle = STREAM_LEGACY };

static _Atomic uint64_t next_id = 16;
// Records pushed to the legacy stream and all blocking ones: what the legacy stream's fence covers.
static _Atomic uint64_t blocking_submitted;

CUresult vc_fence_init(struct vc_fence *fence)
{
	uint32_t slot;

	if (atomic_load(&fence->value))
		return CUDA_SUCCESS; // has one since the place was last used
	slot = vgpu_slot_get(vc_client);
	if (slot == UINT32_MAX)
		return CUDA_ERROR_OUT_OF_MEMORY;
	fence->slot = slot;
	vgpu_slot_store(vc_client, slot, 1);
	atomic_store(&fence->value, 1);
	return CUDA_SUCCESS;
}

// A place whose slot still waits for a value of its last user rests: that value, coming late, would fall
// below the new user's.
static bool is_done(const void *object, const void *offset)
{
	const struct vc_fence *fence =
	    (const struct vc_fence *)(const void *)((const char *)object + *(const size_t *)offset);
	uint64_t value = atomic_load(&fence->value);

	return !value || vgpu_slot_read(vc_client, fence->slot) >= value;
}

void *vc_object_new_fenced(enum vc_kind kind, size_t fence_offset)
{
	return vgpu_object_new_if(&vc_tables[kind], is_done, &fence_offset);
}

CUresult vc_streams_init(void)
{
	atomic_store(&vc_legacy_stream.fence.value, 0);
	return vc_fence_init(&vc_legacy_stream.fence);
}

CUresult vc_stream_new(struct vc_context *ctx, uint32_t flags, int32_t priority, struct vc_stream **ret)
{
	struct vc_stream *s = vc_object_new_fenced(VC_STREAM, offsetof(struct vc_stream, fence));
	struct record_stream_create record;
	CUresult result;

	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = vc_fence_init(&s->fence);
	if (!result) {
		s->handle = vc_object_handle(VC_STREAM, s);
		s->ctx = ctx;
		s->flags = flags;
		s->priority = priority;
		s->id = atomic_fetch_add(&next_id, 1);
		s->internal = 0;
		s->attributes.set = 0;
		atomic_store(&s->capture, NULL);
		atomic_store(&s->submitted, 0);
		atomic_store(&s->covered, 0);
		atomic_store(&s->asked, 0);
		memset(s->behind, 0, sizeof(s->behind));
		record = (struct record_stream_create){ .stream = s->handle,
							.flags = flags,
							.priority = priority };
		result = (CUresult)vgpu_push_stream_create(vc_client, &record);
	}
	if (result) {
		vc_object_free(VC_STREAM, s);
		return result;
	}
	vc_object_publish(VC_STREAM, s);
	*ret = s;
	return CUDA_SUCCESS;
}

// The calling thread's own default stream: blocking, belongs to no context.
static CUresult thread_stream(struct vc_stream **ret)
{
	struct vc_thread_heap *heap = vc_thread_heap();
	CUresult result = CUDA_SUCCESS;

	if (!heap)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!heap->stream) {
		result = vc_stream_new(NULL, CU_STREAM_DEFAULT, 0, &heap->stream);
		if (!result)
			heap->stream->internal = 1;
		if (!result)
			result = vc_context_gate(vc_thread.current, heap->stream);
	}
	*ret = heap->stream;
	return result;
}

CUresult vc_stream_resolve(CUstream stream, struct vc_stream **ret)
{
	CUresult result = vc_stream_resolve_any(stream, ret);

	if (!result && !VC_LIKELY(*ret != &vc_legacy_stream) &&
	    atomic_load_explicit(&vc_captures_blocking, memory_order_relaxed))
		return vc_capture_forbids_legacy();
	return result;
}

CUresult vc_stream_resolve_any(CUstream stream, struct vc_stream **ret)
{
	uint64_t handle = (uint64_t)(uintptr_t)stream;

	if (VC_LIKELY(handle > 2)) {
		*ret = vc_object_find(VC_STREAM, handle);
		return VC_LIKELY(*ret != NULL) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
	}
	if (handle == 2 || (handle == 0 && vc_thread.per_thread))
		return thread_stream(ret);
	*ret = &vc_legacy_stream;
	return CUDA_SUCCESS;
}

uint64_t vc_stream_submitted(struct vc_stream *s)
{
	if (!(s->flags & CU_STREAM_NON_BLOCKING)) {
		uint64_t n = atomic_fetch_add_explicit(&blocking_submitted, 1, memory_order_release) + 1;

		if (s == &vc_legacy_stream)
			return n;
	}
	return atomic_fetch_add_explicit(&s->submitted, 1, memory_order_release) + 1;
}

uint64_t vc_stream_position(const struct vc_stream *s)
{
	return atomic_load_explicit(s == &vc_legacy_stream ? &blocking_submitted : &s->submitted,
				    memory_order_acquire);
}

// A look, by which the executor says at once whether the stream is done, then a fence, if one is missing;
// both store the same value. Under the stream's lock.
static CUresult push_fence(struct vc_stream *s, int look, int missing, uint64_t value)
{
	struct record_stream_look glance = { .stream = s->handle, .value = value, .slot = s->fence.slot };
	struct record_fence record = { .stream = s->handle, .value = value, .slot = s->fence.slot };
	CUresult result = CUDA_SUCCESS;

	if (look)
		result = (CUresult)vgpu_push_stream_look(vc_client, &glance);
	if (!result && missing)
		result = (CUresult)vgpu_push_fence(vc_client, &record);
	return result;
}

static CUresult fence(struct vc_stream *s, int look, uint64_t *value)
{
	CUresult result = CUDA_SUCCESS;
	uint64_t n = vc_stream_position(s);

	if (look || atomic_load_explicit(&s->covered, memory_order_acquire) != n) {
		pthread_mutex_lock(&s->lock);
		n = vc_stream_position(s);
		int missing = atomic_load_explicit(&s->covered, memory_order_relaxed) != n;
		uint64_t next = atomic_load_explicit(&s->fence.value, memory_order_relaxed) + (missing != 0);

		result = push_fence(s, look, missing, next);
		if (!result && missing) {
			atomic_store_explicit(&s->fence.value, next, memory_order_release);
			atomic_store_explicit(&s->covered, n, memory_order_release);
		}
		pthread_mutex_unlock(&s->lock);
	}
	*value = atomic_load_explicit(&s->fence.value, memory_order_acquire);
	return result;
}

CUresult vc_stream_fence(struct vc_stream *s, uint64_t *value)
{
	return fence(s, 0, value);
}

int vc_stream_passed(const struct vc_stream *s, uint64_t handle, uint64_t position)
{
	if (s->handle != handle || atomic_load_explicit(&s->covered, memory_order_acquire) < position)
		return 0;
	return vgpu_slot_read(vc_client, s->fence.slot) >=
	       atomic_load_explicit(&s->fence.value, memory_order_acquire);
}

// Starts at 1: an object that was never asked for has 0.
static _Atomic uint64_t waits = 1;

int vc_ask_again(_Atomic uint64_t *asked)
{
	uint64_t now = atomic_load_explicit(&waits, memory_order_acquire);

	return atomic_exchange_explicit(asked, now, memory_order_relaxed) != now;
}

CUresult vc_fence_wait(const struct vc_fence *fence, uint64_t value)
{
	int result = 0;

	while (vgpu_slot_read(vc_client, fence->slot) < value) {
		result = vgpu_slot_wait(vc_client, fence->slot, value, LOOK_NS);
		if (result != -ETIMEDOUT)
			break;
		result = vgpu_client_deferred(vc_client);
		if (result)
			break;
	}
	atomic_fetch_add_explicit(&waits, 1, memory_order_release);
	return (CUresult)(result ? result : vgpu_client_sticky(vc_client));
}

CUresult vc_stream_wait_value(struct vc_stream *s, uint64_t value)
{
	CUresult result = vc_fence_wait(&s->fence, value);

	// The fence itself may have been refused: the next wait asks for another.
	if (result)
		atomic_store_explicit(&s->covered, UINT64_MAX, memory_order_release);
	return result;
}

CUresult vc_stream_wait(struct vc_stream *s)
{
	uint64_t value;
	CUresult result = vc_stream_fence(s, &value);

	if (!result)
		result = vc_stream_wait_value(s, value);
	vc_printed();
	return result ? result : (CUresult)vgpu_client_deferred(vc_client);
}

// A destroyed stream's work goes on; its last fence stands behind all of it (vc_stream_destroy).
static int destroyed(const struct vc_stream *s)
{
	return s != &vc_legacy_stream && !atomic_load_explicit(&s->object.handle, memory_order_acquire);
}

static void look_idle(void *object, void *arg)
{
	const struct vc_stream *s = object;
	uint64_t position = destroyed(s) ? 0 : vc_stream_position(s);

	if (!vc_stream_passed(s, s->handle, position))
		*(int *)arg = 0;
}

int vc_streams_idle(void)
{
	int idle = 1;

	look_idle(&vc_legacy_stream, &idle);
	vc_object_each_place(VC_STREAM, look_idle, &idle);
	return idle;
}

struct wait_all {
	struct vc_context *ctx;
	CUresult result;
	int waiting; // second pass
};

static void wait_one(void *object, void *arg)
{
	struct wait_all *all = arg;
	struct vc_stream *s = object;
	CUresult result;
	uint64_t value;

	if (all->ctx && s->ctx && s->ctx != all->ctx)
		return;
	if (all->waiting)
		result = vc_stream_wait_value(s, atomic_load_explicit(&s->fence.value, memory_order_acquire));
	else if (destroyed(s))
		return;
	else
		result = vc_stream_fence(s, &value);
	if (!all->result)
		all->result = result;
}

// First a fence behind the work of every stream, then one wait after another.
CUresult vc_streams_wait_all(struct vc_context *ctx)
{
	struct wait_all all = { .ctx = ctx };

	for (all.waiting = 0; all.waiting < 2; all.waiting++) {
		wait_one(&vc_legacy_stream, &all);
		vc_object_each_place(VC_STREAM, wait_one, &all);
	}
	vc_printed();
	if (!all.result)
		all.result = (CUresult)vgpu_client_deferred(vc_client);
	return all.result;
}

void vc_stream_destroy(struct vc_stream *s)
{
	struct record_stream_destroy record = { .stream = s->handle };
	uint64_t value;

	if (!vc_object_claim(s, s->handle))
		return;
	if (vc_stream_captures(s))
		vc_capture_stream_gone(s);
	if (atomic_load_explicit(&vc_pools_used, memory_order_relaxed))
		vc_pools_stream_gone(s);
	// For those who wait for the context: the place rests until the fence has passed, and they look at
	// places.
	vc_stream_fence(s, &value);
	vgpu_push_stream_destroy(vc_client, &record);
	vc_object_free(VC_STREAM, s);
}

static void release_one(void *object, void *arg)
{
	struct vc_stream *s = object;

	if (s->ctx == arg)
		vc_stream_destroy(s);
}

void vc_streams_release(struct vc_context *ctx)
{
	vc_object_each(VC_STREAM, release_one, ctx);
}

CUresult cuStreamCreateWithPriority(CUstream *ret, unsigned int flags, int priority)
{
	struct vc_stream *s;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ret || (flags & ~CU_STREAM_NON_BLOCKING))
		return CUDA_ERROR_INVALID_VALUE;
	if (priority > vc_device.priority_least)
		priority = vc_device.priority_least;
	if (priority < vc_device.priority_greatest)
		priority = vc_device.priority_greatest;
	result = vc_stream_new(ctx, flags, priority, &s);
	if (!result)
		result = vc_context_gate(ctx, s);
	if (!result)
		*ret = (CUstream)(uintptr_t)s->handle;
	return result;
}

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
	return cuStreamCreateWithPriority(stream, flags, 0);
}

static CUresult enter_stream(CUstream stream, struct vc_stream **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	return result ? result : vc_stream_resolve(stream, ret);
}

// For questions that the stream's work has no part in.
static CUresult enter_question(CUstream stream, struct vc_stream **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	return result ? result : vc_stream_resolve_any(stream, ret);
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	s = vc_object_find(VC_STREAM, (uint64_t)(uintptr_t)stream);
	if (!s || s->internal)
		return CUDA_ERROR_INVALID_HANDLE;
	vc_stream_destroy(s);
	return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream)
{
	struct vc_stream *s;
	CUresult result = enter_stream(stream, &s);

	if (!result && vc_stream_captures(s))
		result = vc_capture_forbids_wait(s);
	if (!result)
		result = vc_stream_wait(s);
	if (!result)
		vc_pools_waited();
	return result;
}

CUresult cuStreamQuery(CUstream stream)
{
	struct vc_stream *s;
	CUresult result = enter_stream(stream, &s);
	uint64_t value;
	int exact;

	if (!result && vc_stream_captures(s))
		result = vc_capture_forbids_wait(s);
	if (result)
		return result;
	if (vc_stream_passed(s, s->handle, vc_stream_position(s)))
		return (CUresult)vgpu_client_deferred(vc_client);
	exact = vc_ask_again(&s->asked);
	result = fence(s, exact, &value);
	if (result)
		return result;
	if (exact)
		vgpu_client_caught_up(vc_client, VC_LOOK_NS);
	if (vgpu_slot_read(vc_client, s->fence.slot) < value) {
		result = (CUresult)vgpu_client_look(vc_client);
		if (!result)
			result = (CUresult)vgpu_client_deferred(vc_client);
		if (!result)
			return CUDA_ERROR_NOT_READY;
		atomic_store_explicit(&s->covered, UINT64_MAX,
				      memory_order_release); // see vc_stream_wait_value
		return result;
	}
	return (CUresult)vgpu_client_deferred(vc_client);
}

CUresult cuStreamGetFlags(CUstream stream, unsigned int *flags)
{
	struct vc_stream *s;
	CUresult result = enter_question(stream, &s);

	if (result)
		return result;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = s->flags;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream stream, int *priority)
{
	struct vc_stream *s;
	CUresult result = enter_question(stream, &s);

	if (result)
		return result;
	if (!priority)
		return CUDA_ERROR_INVALID_VALUE;
	*priority = s->priority;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream stream, unsigned long long *id)
{
	struct vc_stream *s;
	CUresult result = enter_question(stream, &s);

	if (result)
		return result;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = s == &vc_legacy_stream ? 7 : s->id;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *ret)
{
	struct vc_stream *s;
	CUresult result = enter_question(stream, &s);

	if (result)
		return result;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = vc_context_handle(s->ctx ? s->ctx : vc_thread.current);
	return CUDA_SUCCESS;
}

// Green contexts are not made here, so no stream belongs to one.
CUresult cuStreamGetGreenCtx(CUstream stream, CUgreenCtx *green)
{
	struct vc_stream *s;
	CUresult result = enter_question(stream, &s);

	if (result)
		return result;
	if (!green)
		return CUDA_ERROR_INVALID_VALUE;
	*green = NULL;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx_v2(CUstream stream, CUcontext *ctx, CUgreenCtx *green)
{
	CUresult result = green ? cuStreamGetGreenCtx(stream, green) : CUDA_SUCCESS;

	return result ? result : cuStreamGetCtx(stream, ctx);
}

CUresult cuStreamGetDevice(CUstream stream, CUdevice *device)
{
	struct vc_stream *s;
	CUresult result = enter_question(stream, &s);

	if (result)
		return result;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = 0;
	return CUDA_SUCCESS;
}
