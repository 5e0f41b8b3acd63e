// SPDX-License-Identifier: Apache-2.0
// Limits, preferences and the like of the current context. The limits are the executor's context's, read once
// when it became active and kept in step. Runs in the guest program.
#include <pthread.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;

static CUresult check_limit(CUlimit limit)
{
	if (limit < 0 || limit >= CU_LIMIT_COUNT)
		return CUDA_ERROR_INVALID_VALUE;
	return (vc_device.limit_valid >> limit & 1) ? CUDA_SUCCESS : CUDA_ERROR_UNSUPPORTED_LIMIT;
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = value ? check_limit(limit) : CUDA_ERROR_INVALID_VALUE;
	if (!result)
		*value = __atomic_load_n(&vc_device.limits[limit], __ATOMIC_RELAXED);
	return result;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
	struct record_limit_set record = { .value = value, .limit = (uint32_t)limit };
	struct reply_limit_set reply;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = check_limit(limit);
	if (result)
		return result;
	pthread_mutex_lock(&limit_lock);
	result = (CUresult)vgpu_call_limit_set(vc_client, &record, &reply);
	if (!result)
		__atomic_store_n(&vc_device.limits[limit], reply.value, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&limit_lock);
	return result;
}

// Preferences only: the hardware generations served here choose by kernel.
CUresult cuCtxGetCacheConfig(CUfunc_cache *config)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!config)
		return CUDA_ERROR_INVALID_VALUE;
	*config = atomic_load(&ctx->cache_config);
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (config < CU_FUNC_CACHE_PREFER_NONE || config > CU_FUNC_CACHE_PREFER_EQUAL)
		return CUDA_ERROR_INVALID_VALUE;
	atomic_store(&ctx->cache_config, config);
	return CUDA_SUCCESS;
}

CUresult cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!config)
		return CUDA_ERROR_INVALID_VALUE;
	*config = 1; // banks of four bytes, the only kind since sm_50
	return CUDA_SUCCESS;
}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	return config >= 0 && config <= 2 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (least)
		*least = vc_device.priority_least;
	if (greatest)
		*greatest = vc_device.priority_greatest;
	return CUDA_SUCCESS;
}

// One device: no context can be a peer.
CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	return vc_context_find(peer) ? CUDA_ERROR_PEER_ACCESS_UNSUPPORTED : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuCtxDisablePeerAccess(CUcontext peer)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	return vc_context_find(peer) ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED : CUDA_ERROR_INVALID_CONTEXT;
}
