// SPDX-License-Identifier: Apache-2.0
// Managed memory: pinned memory of the shared host window, at one address for program and kernels, so that
// both see each other's writes at once and nothing has to move. Advice and prefetches are heard and have
// nothing to do. Runs in the guest program.
#include "guest/libcuda/hostmem.h"
#include "guest/libcuda/libcuda.h"

#define ATTACH_GLOBAL 1u
#define ATTACH_HOST   2u
#define ATTACH_SINGLE 4u

CUresult cuMemAllocManaged(CUdeviceptr *ptr, size_t bytes, unsigned int flags)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);
	uint64_t address;

	if (!result)
		result = vc_capture_unsafe();
	if (result)
		return result;
	if (!ptr || !bytes || (flags != ATTACH_GLOBAL && flags != ATTACH_HOST))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_pinned_alloc(ctx, bytes, VC_RANGE_MANAGED, flags, &address);
	if (!result)
		*ptr = address;
	return result;
}

// All of [ptr, ptr + bytes) is one managed allocation's.
static CUresult check(CUdeviceptr ptr, size_t bytes)
{
	struct vc_range range;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!bytes || vc_range_find(ptr, &range) || range.kind != VC_RANGE_MANAGED ||
	    range.bytes - (ptr - range.base) < bytes)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult cuMemAdvise_v2(CUdeviceptr ptr, size_t bytes, CUmem_advise advice, CUmemLocation location)
{
	(void)location;
	return advice < 1 || advice > 6 ? CUDA_ERROR_INVALID_VALUE : check(ptr, bytes);
}

CUresult cuMemAdvise(CUdeviceptr ptr, size_t bytes, CUmem_advise advice, CUdevice device)
{
	CUmemLocation location = { CU_MEM_LOCATION_TYPE_DEVICE, device };

	return cuMemAdvise_v2(ptr, bytes, advice, location);
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr ptr, size_t bytes, CUmemLocation location, unsigned int flags,
			       CUstream stream)
{
	struct vc_stream *s;
	CUresult result = check(ptr, bytes);

	if (result)
		return result;
	if (flags || (location.type == CU_MEM_LOCATION_TYPE_DEVICE && location.id))
		return CUDA_ERROR_INVALID_VALUE;
	return vc_stream_resolve(stream, &s);
}

CUresult cuMemPrefetchAsync(CUdeviceptr ptr, size_t bytes, CUdevice device, CUstream stream)
{
	CUmemLocation location = { device < 0 ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE,
				   device < 0 ? 0 : device };

	return cuMemPrefetchAsync_v2(ptr, bytes, location, 0, stream);
}

CUresult cuStreamAttachMemAsync(CUstream stream, CUdeviceptr ptr, size_t bytes, unsigned int flags)
{
	struct vc_stream *s;
	CUresult result = check(ptr, bytes ? bytes : 1);

	if (result)
		return result;
	if (flags != ATTACH_GLOBAL && flags != ATTACH_HOST && flags != ATTACH_SINGLE)
		return CUDA_ERROR_INVALID_VALUE;
	return vc_stream_resolve(stream, &s);
}
