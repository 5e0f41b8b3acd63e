// SPDX-License-Identifier: Apache-2.0
// Contexts: the primary one with its count, explicit ones, the calling thread's stack of them. All of it
// lives in the guest; the executor has one context for the process, made when the first of these becomes
// active. Runs in the guest program, any thread; current-context calls take no lock.
#include <pthread.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"

#define API_VERSION 3020

static struct vc_context *primary;
static uint64_t primary_handle;
static pthread_mutex_t primary_lock = PTHREAD_MUTEX_INITIALIZER; // count, and activation
static unsigned int primary_count;
static _Atomic uint64_t next_id = 1;

static CUcontext from_handle(uint64_t handle)
{
	return (CUcontext)(uintptr_t)handle;
}

CUcontext vc_context_handle(const struct vc_context *ctx)
{
	return from_handle(vc_object_handle(VC_CONTEXT, ctx));
}

static struct vc_context *context_new(int is_primary, unsigned int flags)
{
	struct vc_context *ctx = vc_object_new(VC_CONTEXT);

	if (!ctx)
		return NULL;
	atomic_store(&ctx->active, !is_primary);
	atomic_store(&ctx->flags, flags);
	ctx->primary = is_primary;
	ctx->id = atomic_fetch_add(&next_id, 1);
	atomic_store(&ctx->cache_config, CU_FUNC_CACHE_PREFER_NONE);
	atomic_store(&ctx->shared_config, 0);
	atomic_store(&ctx->joins.stream, 0);
	atomic_store(&ctx->gate.stream, 0);
	ctx->joins.event = ctx->gate.event = 0;
	vc_object_publish(VC_CONTEXT, ctx);
	return ctx;
}

CUcontext vc_primary_context(void)
{
	return from_handle(primary_handle);
}

int vc_contexts_init(void)
{
	if (!primary)
		primary = context_new(1, 0);
	if (!primary)
		return -1;
	primary_handle = vc_object_handle(VC_CONTEXT, primary);
	return 0;
}

struct vc_context *vc_context_find(CUcontext ctx)
{
	return vc_object_find(VC_CONTEXT, (uint64_t)(uintptr_t)ctx);
}

CUresult vc_backend_activate(unsigned int flags)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static _Atomic int active;
	struct record_context_activate record = { .flags = flags & 0x1ff };
	struct reply_context_activate reply;
	int result = 0;

	if (atomic_load_explicit(&active, memory_order_acquire))
		return CUDA_SUCCESS;
	pthread_mutex_lock(&lock);
	if (!atomic_load(&active)) {
		result = vgpu_call_context_activate(vc_client, &record, &reply);
		if (!result) {
			for (int i = 0; i < 16; i++)
				vc_device.limits[i] = reply.limits[i];
			vc_device.limit_valid = reply.limit_valid;
			vc_device.api_version = reply.api_version;
			vc_device.priority_least = reply.priority_least;
			vc_device.priority_greatest = reply.priority_greatest;
			atomic_store_explicit(&active, 1, memory_order_release);
		}
	}
	pthread_mutex_unlock(&lock);
	return (CUresult)result;
}

// ---- the primary context

static CUresult enter_device(CUdevice device)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (vc_thread.in_callback)
		return CUDA_ERROR_NOT_PERMITTED;
	return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

// Everything the context owns goes; errors of its work were reported or are nobody's any more.
static void release_owned(struct vc_context *ctx)
{
	vc_streams_wait_all(ctx);
	vc_streams_release(ctx);
	vc_events_release(ctx);
	vc_modules_release(ctx);
	vc_textures_release(ctx);
	vc_surfaces_release(ctx);
	vc_arrays_release(ctx);
	vc_memory_release(ctx);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *ctx, CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!ctx)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&primary_lock);
	result = vc_backend_activate(atomic_load(&primary->flags));
	if (!result) {
		primary_count++;
		atomic_store(&primary->active, 1);
		*ctx = from_handle(primary_handle);
	}
	pthread_mutex_unlock(&primary_lock);
	return result;
}

// Not if somebody has retained it again in between and unused_only.
static void primary_end(int unused_only)
{
	pthread_mutex_lock(&primary_lock);
	if (atomic_load(&primary->active) && !(unused_only && primary_count)) {
		release_owned(primary);
		atomic_store(&primary->active, 0);
	}
	pthread_mutex_unlock(&primary_lock);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	CUresult result = enter_device(device);
	int last = 0;

	if (result)
		return result;
	pthread_mutex_lock(&primary_lock);
	if (!primary_count)
		result = CUDA_ERROR_INVALID_CONTEXT;
	else
		last = --primary_count == 0 && atomic_load(&primary->active);
	pthread_mutex_unlock(&primary_lock);
	if (last) {
		vc_storage_release(primary);
		primary_end(1);
	}
	return result;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	vc_storage_release(primary);
	primary_end(0); // the references stay: whoever retained it still releases it
	return CUDA_SUCCESS;
}

static int flags_are_valid(unsigned int flags)
{
	unsigned int schedule = flags & CU_CTX_SCHED_MASK;

	if (flags & ~CU_CTX_FLAGS_MASK)
		return 0;
	return schedule == 0 || (schedule & (schedule - 1)) == 0;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!flags_are_valid(flags))
		return CUDA_ERROR_INVALID_VALUE;
	atomic_store(&primary->flags, flags);
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!flags || !active)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = atomic_load_explicit(&primary->flags, memory_order_relaxed);
	*active = atomic_load_explicit(&primary->active, memory_order_relaxed);
	return CUDA_SUCCESS;
}

// ---- explicit contexts

CUresult cuCtxCreate_v2(CUcontext *ret, unsigned int flags, CUdevice device)
{
	struct vc_context *ctx;
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!ret || !flags_are_valid(flags))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_backend_activate(flags);
	if (result)
		return result;
	ctx = context_new(0, flags);
	if (!ctx)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (vc_stack_push(ctx, vc_object_handle(VC_CONTEXT, ctx))) {
		vc_object_free(VC_CONTEXT, ctx);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ret = vc_context_handle(ctx);
	return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v3(CUcontext *ret, CUexecAffinityParam *params, int count, unsigned int flags,
			CUdevice device)
{
	if (count < 0 || (count && !params))
		return CUDA_ERROR_INVALID_VALUE;
	if (count)
		return vc_ready() ? vc_ready() : CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
	return cuCtxCreate_v2(ret, flags, device);
}

CUresult cuCtxCreate_v4(CUcontext *ret, CUctxCreateParams *params, unsigned int flags, CUdevice device)
{
	if (params && params->cigParams)
		return vc_ready() ? vc_ready() : CUDA_ERROR_NOT_SUPPORTED;
	if (params)
		return cuCtxCreate_v3(ret, params->execAffinityParams, params->numExecAffinityParams, flags,
				      device);
	return cuCtxCreate_v2(ret, flags, device);
}

CUresult cuCtxDestroy_v2(CUcontext handle)
{
	struct vc_context *ctx;
	CUresult result = enter_device(0);

	if (result)
		return result;
	ctx = vc_context_find(handle);
	if (!ctx || ctx->primary || !vc_object_claim(ctx, (uint64_t)(uintptr_t)handle))
		return CUDA_ERROR_INVALID_CONTEXT;
	vc_storage_release(ctx);
	release_owned(ctx);
	atomic_store(&ctx->active, 0);
	if (vc_thread.current == ctx && vc_thread.current_handle == (uint64_t)(uintptr_t)handle)
		vc_stack_pop();
	vc_object_free(VC_CONTEXT, ctx);
	return CUDA_SUCCESS;
}

// The old use count: one holder only.
CUresult cuCtxAttach(CUcontext *ret, unsigned int flags)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!ret || flags)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult cuCtxDetach(CUcontext ctx)
{
	return cuCtxDestroy_v2(ctx);
}

// ---- the calling thread's stack

CUresult cuCtxPushCurrent_v2(CUcontext handle)
{
	struct vc_context *ctx;
	CUresult result = enter_device(0);

	if (result)
		return result;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	ctx = vc_context_find(handle);
	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return vc_stack_push(ctx, (uint64_t)(uintptr_t)handle) ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *ret)
{
	uint64_t handle;
	CUresult result = enter_device(0);

	if (result)
		return result;
	handle = vc_stack_pop();
	if (!handle)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (ret)
		*ret = from_handle(handle);
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext handle)
{
	struct vc_context *ctx;
	CUresult result = enter_device(0);

	if (result)
		return result;
	if (!handle) {
		vc_stack_pop();
		return CUDA_SUCCESS;
	}
	ctx = vc_context_find(handle);
	if (!ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	vc_thread.current = ctx;
	vc_thread.current_handle = (uint64_t)(uintptr_t)handle;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *ret)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = from_handle(vc_thread.current_handle);
	return CUDA_SUCCESS;
}

// ---- what a context tells (current or named)

// Ready, and *ret is the named context or, for NULL, the current one.
static CUresult enter_named(CUcontext handle, struct vc_context **ret)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	*ret = handle ? vc_context_find(handle) : vc_thread.current;
	if (!*ret)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!handle && atomic_load(&(*ret)->object.handle) != vc_thread.current_handle)
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext handle)
{
	struct vc_context *ctx;
	CUresult result = enter_named(handle, &ctx);

	if (result)
		return result;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = 0;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
	return cuCtxGetDevice_v2(device, NULL);
}

CUresult cuCtxGetFlags(unsigned int *flags)
{
	struct vc_context *ctx;
	CUresult result = enter_named(NULL, &ctx);

	if (result)
		return result;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = atomic_load(&ctx->flags) | CU_CTX_MAP_HOST;
	return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned int flags)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!flags_are_valid(flags))
		return CUDA_ERROR_INVALID_VALUE;
	atomic_store(&ctx->flags, flags);
	return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext handle, unsigned long long *id)
{
	struct vc_context *ctx;
	CUresult result = enter_named(handle, &ctx);

	if (result)
		return result;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = ctx->id;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned int *version)
{
	struct vc_context *ctx;
	CUresult result = enter_named(handle, &ctx);

	if (result)
		return result;
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	*version = API_VERSION;
	return CUDA_SUCCESS;
}

// Which lines stay in the cache changes no result; those of other tenants are not ours to reset.
CUresult cuCtxResetPersistingL2Cache(void)
{
	struct vc_context *ctx;

	return vc_enter(&ctx);
}

CUresult cuCtxSynchronize(void)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (!result && vc_capture_any())
		result = vc_capture_forbids_wait(NULL);
	if (!result)
		result = vc_streams_wait_all(ctx);
	if (!result)
		vc_pools_waited();
	return result;
}

CUresult cuCtxSynchronize_v2(CUcontext handle)
{
	struct vc_context *ctx;
	CUresult result;

	if (!handle)
		return cuCtxSynchronize();
	result = enter_named(handle, &ctx);
	if (!result)
		result = (CUresult)vgpu_client_sticky(vc_client);
	if (!result && vc_capture_any())
		result = vc_capture_forbids_wait(NULL);
	if (!result)
		result = vc_streams_wait_all(ctx);
	if (!result)
		vc_pools_waited();
	return result;
}
