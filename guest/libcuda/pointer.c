// SPDX-License-Identifier: Apache-2.0
// cuPointerGetAttribute and its kin, from the tree of known ranges. Runs in the guest program; no call.
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

#define PIECE	     (2ull << 20)
#define NO_DEVICE    (-2) // ordinal of memory that no device knows
#define SIZE_MISSING 0

// Bytes of each attribute's answer; 0: no such attribute.
static const uint8_t sizes[] = {
	[CU_POINTER_ATTRIBUTE_CONTEXT] = 8,
	[CU_POINTER_ATTRIBUTE_MEMORY_TYPE] = 4,
	[CU_POINTER_ATTRIBUTE_DEVICE_POINTER] = 8,
	[CU_POINTER_ATTRIBUTE_HOST_POINTER] = 8,
	[CU_POINTER_ATTRIBUTE_P2P_TOKENS] = 16,
	[CU_POINTER_ATTRIBUTE_SYNC_MEMOPS] = 1,
	[CU_POINTER_ATTRIBUTE_BUFFER_ID] = 8,
	[CU_POINTER_ATTRIBUTE_IS_MANAGED] =
	    4, // CUDA's runtime reads so many of a variable that it has not set
	[CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL] = 4,
	[CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE] = 1,
	[CU_POINTER_ATTRIBUTE_RANGE_START_ADDR] = 8,
	[CU_POINTER_ATTRIBUTE_RANGE_SIZE] = 8,
	[CU_POINTER_ATTRIBUTE_MAPPED] = 1,
	[CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES] = 8,
	[CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE] = 1,
	[CU_POINTER_ATTRIBUTE_ACCESS_FLAGS] = 4,
	[CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE] = 8,
	[CU_POINTER_ATTRIBUTE_MAPPING_SIZE] = 8,
	[CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR] = 8,
	[CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID] = 8,
	[CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE] = 1,
};

static int attribute_exists(int attribute)
{
	return attribute >= 1 && attribute < (int)sizeof(sizes) && sizes[attribute] != SIZE_MISSING;
}

static CUcontext context_of(const struct vc_range *range)
{
	const struct vc_context *ctx = range->owner;

	if (range->block)
		return NULL; // a pool is no context's
	if (range->kind == VC_RANGE_GLOBAL)
		ctx = ((const struct vc_module *)range->owner)->ctx;
	return ctx ? vc_context_handle(ctx) : NULL;
}

// Reserved addresses: the range is the reservation, the rest is told of what is mapped there.
static CUresult answer_reserved(const struct vc_range *r, CUdeviceptr ptr, int attribute, uint64_t value[2])
{
	struct vc_mapping m;
	int mapped = vc_mapping_find(ptr, &m);

	value[0] = value[1] = 0;
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: value[0] = r->base; return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE: value[0] = r->bytes; return CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_MAPPED: value[0] = (uint64_t)mapped; return CUDA_SUCCESS;
	default: break;
	}
	if (!mapped)
		return CUDA_ERROR_INVALID_VALUE;
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: value[0] = CU_MEMORYTYPE_DEVICE; break;
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: value[0] = ptr; break;
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
	case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return CUDA_ERROR_INVALID_VALUE;
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: value[0] = 1; break;
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: value[0] = m.block_id; break;
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: value[0] = (uint64_t)m.handle_types; break;
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: value[0] = (uint64_t)m.access; break;
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE: value[0] = m.bytes; break;
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: value[0] = m.address; break;
	default: break; // no context, device 0, no pool: zero
	}
	return CUDA_SUCCESS;
}

// *value holds the answer in its first sizes[attribute] bytes.
static CUresult answer(const struct vc_range *r, CUdeviceptr ptr, int attribute, uint64_t value[2])
{
	uint64_t begin = r->base & ~(PIECE - 1), end = (r->base + r->bytes + PIECE - 1) & ~(PIECE - 1);
	int managed = r->kind == VC_RANGE_MANAGED, device = vc_range_is_device(r);

	if (r->kind == VC_RANGE_RESERVED)
		return answer_reserved(r, ptr, attribute, value);
	value[0] = value[1] = 0;
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_CONTEXT: value[0] = (uintptr_t)context_of(r); break;
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		value[0] = device || managed ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
		break;
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: value[0] = ptr; break;
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
		value[0] = device ? 0 : ptr;
		return device ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
	case CU_POINTER_ATTRIBUTE_IS_MANAGED: value[0] = (uint64_t)managed; break;
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: value[0] = r->pool; break;
	case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return CUDA_ERROR_INVALID_VALUE;
	// Synchronous copies of device memory are complete when they return here in any case.
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: value[0] = device || r->sync_memops; break;
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: value[0] = r->id; break;
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: value[0] = vc_ipc_capable(r); break;
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: value[0] = r->base; break;
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE: value[0] = r->bytes; break;
	case CU_POINTER_ATTRIBUTE_MAPPED: value[0] = 1; break;
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: value[0] = CU_MEM_ACCESS_FLAGS_PROT_READWRITE; break;
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE: value[0] = end - begin; break;
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: value[0] = begin; break;
	default: break; // device 0, no RDMA or decompression: zero
	}
	return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr)
{
	struct vc_range range;
	uint64_t value[2];
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!data || !attribute_exists(attribute) || vc_range_find(ptr, &range))
		return CUDA_ERROR_INVALID_VALUE;
	result = answer(&range, ptr, attribute, value);
	if (!result || attribute == CU_POINTER_ATTRIBUTE_HOST_POINTER)
		memcpy(data, value, sizes[attribute]);
	return result;
}

// Unlike the single form, memory that nobody knows is no error: it is the host's own, and the
// other answers are empty.
CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
				CUdeviceptr ptr)
{
	struct vc_range range;
	CUresult result = vc_ready();
	int known;

	if (result)
		return result;
	if (!count || !attributes || !data)
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < count; i++)
		if (!data[i] || !attribute_exists(attributes[i]))
			return CUDA_ERROR_INVALID_VALUE;
	known = vc_range_find(ptr, &range) == 0;
	for (unsigned int i = 0; i < count; i++) {
		uint64_t value[2] = { 0, 0 };

		if (known)
			answer(&range, ptr, attributes[i], value);
		else if (attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
			value[0] = (uint32_t)NO_DEVICE;
		else if (attributes[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER)
			value[0] = ptr;
		memcpy(data[i], value, sizes[attributes[i]]);
	}
	return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr ptr)
{
	unsigned int on;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&on, value, sizeof(on));
	return vc_range_set_sync(ptr, on != 0) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
