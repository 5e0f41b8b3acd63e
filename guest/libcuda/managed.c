// SPDX-License-Identifier: Apache-2.0
// Managed memory: pinned memory of the shared host window, at one address for program and kernels, so that
// both see each other's writes at once and nothing has to move. Advice and prefetches are heard and have
// nothing to do. Runs in the guest program.
#include "guest/libcuda/advice.h"
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

// ---- advice

static CUresult check_location(const CUmemLocation *l)
{
	switch (l->type) {
	case CU_MEM_LOCATION_TYPE_DEVICE: return l->id ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
	case CU_MEM_LOCATION_TYPE_HOST:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT: return CUDA_SUCCESS;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

struct advised {
	CUmem_advise advice;
	CUmemLocation location;
};

static void advise(struct vc_advice *a, const void *arg)
{
	const struct advised *what = arg;
	int set = what->advice == CU_MEM_ADVISE_SET_ACCESSED_BY;

	switch (what->advice) {
	case CU_MEM_ADVISE_SET_READ_MOSTLY:
	case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
		a->read_mostly = what->advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
		break;
	case CU_MEM_ADVISE_SET_PREFERRED_LOCATION: a->preferred = what->location; break;
	case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION: a->preferred = vc_advice_none().preferred; break;
	default:
		if (what->location.type == CU_MEM_LOCATION_TYPE_DEVICE)
			a->by_device = set;
		else
			a->by_host = set;
	}
}

CUresult cuMemAdvise_v2(CUdeviceptr ptr, size_t bytes, CUmem_advise advice, CUmemLocation location)
{
	struct advised what = { advice, location };
	CUresult result;

	if (advice < CU_MEM_ADVISE_SET_READ_MOSTLY || advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY)
		return vc_invalid();
	result = check(ptr, bytes);
	if (!result &&
	    (advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION || advice >= CU_MEM_ADVISE_SET_ACCESSED_BY))
		result = check_location(&location);
	return result ? result : vc_advice_change(ptr, bytes, advise, &what);
}

static CUmemLocation location_of(CUdevice device)
{
	return device == CU_DEVICE_CPU_ID ? (CUmemLocation){ CU_MEM_LOCATION_TYPE_HOST, 0 }
					  : (CUmemLocation){ CU_MEM_LOCATION_TYPE_DEVICE, device };
}

CUresult cuMemAdvise(CUdeviceptr ptr, size_t bytes, CUmem_advise advice, CUdevice device)
{
	return cuMemAdvise_v2(ptr, bytes, advice, location_of(device));
}

// ---- prefetches

static void prefetched(struct vc_advice *a, const void *arg)
{
	a->prefetched = *(const CUmemLocation *)arg;
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr ptr, size_t bytes, CUmemLocation location, unsigned int flags,
			       CUstream stream)
{
	struct vc_stream *s;
	CUresult result = check(ptr, bytes);

	if (!result && flags)
		result = CUDA_ERROR_INVALID_VALUE;
	if (!result)
		result = check_location(&location);
	if (!result)
		result = vc_stream_resolve(stream, &s);
	return result ? result : vc_advice_change(ptr, bytes, prefetched, &location);
}

CUresult cuMemPrefetchAsync(CUdeviceptr ptr, size_t bytes, CUdevice device, CUstream stream)
{
	return cuMemPrefetchAsync_v2(ptr, bytes, location_of(device), 0, stream);
}

static CUresult enter_batch(CUdeviceptr *ptrs, size_t *sizes, size_t count, unsigned long long flags,
			    CUstream stream)
{
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (!ptrs || !sizes || !count || flags || s == &vc_legacy_stream)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count && !result; i++)
		result = check(ptrs[i], sizes[i]);
	return result;
}

// What is discarded keeps its contents: they are indeterminate.
CUresult cuMemDiscardBatchAsync(CUdeviceptr *ptrs, size_t *sizes, size_t count, unsigned long long flags,
				CUstream stream)
{
	return enter_batch(ptrs, sizes, count, flags, stream);
}

CUresult cuMemPrefetchBatchAsync(CUdeviceptr *ptrs, size_t *sizes, size_t count, CUmemLocation *locations,
				 size_t *location_begins, size_t n_locations, unsigned long long flags,
				 CUstream stream)
{
	CUresult result = enter_batch(ptrs, sizes, count, flags, stream);
	size_t run = 0;

	if (result)
		return result;
	if (!locations || !vc_runs_are_right(location_begins, n_locations, count))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < n_locations && !result; i++)
		result = check_location(&locations[i]);
	for (size_t i = 0; i < count && !result; i++) {
		if (run + 1 < n_locations && location_begins[run + 1] == i)
			run++;
		result = vc_advice_change(ptrs[i], sizes[i], prefetched, &locations[run]);
	}
	return result;
}

CUresult cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *ptrs, size_t *sizes, size_t count,
					   CUmemLocation *locations, size_t *location_begins,
					   size_t n_locations, unsigned long long flags, CUstream stream)
{
	return cuMemPrefetchBatchAsync(ptrs, sizes, count, locations, location_begins, n_locations, flags,
				       stream);
}

// ---- what was said

static int device_of(CUmemLocation l)
{
	switch (l.type) {
	case CU_MEM_LOCATION_TYPE_DEVICE: return l.id;
	case CU_MEM_LOCATION_TYPE_HOST: return CU_DEVICE_CPU_ID;
	default: return CU_DEVICE_INVALID_ID;
	}
}

static CUresult accessed_by(const struct vc_advice *a, int *list, size_t n)
{
	size_t i = 0;

	if (a->by_device && i < n)
		list[i++] = 0;
	if (a->by_host && i < n)
		list[i++] = CU_DEVICE_CPU_ID;
	while (i < n)
		list[i++] = CU_DEVICE_INVALID_ID;
	return CUDA_SUCCESS;
}

static CUresult tell(void *data, size_t bytes, int attribute, const struct vc_advice *a)
{
	int *value = data;

	if (!data || !bytes || bytes % sizeof(int))
		return CUDA_ERROR_INVALID_VALUE;
	if (attribute == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY)
		return accessed_by(a, value, bytes / sizeof(int));
	if (bytes != sizeof(int))
		return CUDA_ERROR_INVALID_VALUE;
	switch (attribute) {
	case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY: *value = a->read_mostly; break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION: *value = device_of(a->preferred); break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION: *value = device_of(a->prefetched); break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE: *value = a->preferred.type; break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID: *value = a->preferred.id; break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE: *value = a->prefetched.type; break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID: *value = a->prefetched.id; break;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult cuMemRangeGetAttributes(void **data, size_t *sizes, int *attributes, size_t n, CUdeviceptr ptr,
				 size_t count)
{
	CUresult result = check(ptr, count);
	struct vc_advice a;

	if (result)
		return result;
	if (!data || !sizes || !attributes || !n)
		return CUDA_ERROR_INVALID_VALUE;
	a = vc_advice_common(ptr, count);
	for (size_t i = 0; i < n && !result; i++)
		result = tell(data[i], sizes[i], attributes[i], &a);
	return result;
}

CUresult cuMemRangeGetAttribute(void *data, size_t bytes, int attribute, CUdeviceptr ptr, size_t count)
{
	return cuMemRangeGetAttributes(&data, &bytes, &attribute, 1, ptr, count);
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
