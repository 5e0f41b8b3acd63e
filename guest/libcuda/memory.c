// SPDX-License-Identifier: Apache-2.0
// Device memory: allocation, release, what there is of it. Addresses are the executor's; the ranges are known
// here, so that a bad one is refused at once. Runs in the guest program.
#include <stdlib.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/advice.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/hostmem.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

#define PITCH_ALIGN 512u

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
	struct reply_mem_info reply;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	result = (CUresult)vgpu_call_mem_info(vc_client, &reply);
	if (!result && free_bytes) // who wants to know one of them need not take the other
		*free_bytes = reply.free;
	if (!result && total)
		*total = reply.total;
	return result;
}

// From the time when 4 GiB were enough: what is more does not show.
CUresult cuMemGetInfo(unsigned int *free_bytes, unsigned int *total)
{
	size_t left, all;
	CUresult result = free_bytes && total ? cuMemGetInfo_v2(&left, &all) : vc_invalid();

	if (!result) {
		*free_bytes = left < UINT32_MAX ? (unsigned int)left : UINT32_MAX;
		*total = all < UINT32_MAX ? (unsigned int)all : UINT32_MAX;
	}
	return result;
}

static void give_back(uint64_t address)
{
	struct record_mem_free record = { .address = address };

	vgpu_push_mem_free(vc_client, &record);
}

static CUresult allocate(struct vc_context *ctx, uint64_t bytes, CUdeviceptr *ret)
{
	struct record_mem_alloc record = { .size = bytes };
	struct reply_mem_alloc reply;
	CUresult result = (CUresult)vgpu_call_mem_alloc(vc_client, &record, &reply);

	if (result == CUDA_ERROR_OUT_OF_MEMORY && vc_pools_give_up())
		result = (CUresult)vgpu_call_mem_alloc(vc_client, &record, &reply);
	if (result)
		return result;
	if (vc_range_add(&(struct vc_range){
		.base = reply.address, .bytes = bytes, .kind = VC_RANGE_DEVICE, .owner = ctx })) {
		give_back(reply.address);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ret = reply.address;
	return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *ptr, size_t bytes)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_capture_unsafe();
	if (result)
		return result;
	return ptr && bytes ? allocate(ctx, bytes, ptr) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *ptr, size_t *pitch, size_t width, size_t height,
			    unsigned int element)
{
	size_t row, bytes;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ptr || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
		return CUDA_ERROR_INVALID_VALUE;
	if (__builtin_add_overflow(width, PITCH_ALIGN - 1, &row))
		return CUDA_ERROR_INVALID_VALUE;
	row &= ~(size_t)(PITCH_ALIGN - 1);
	if (__builtin_mul_overflow(row, height, &bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = allocate(ctx, bytes, ptr);
	if (!result)
		*pitch = row;
	return result;
}

// What was allocated at ptr goes: in stream order if it is a pool's and there is a stream, else when no work
// uses it any more.
static CUresult release(CUdeviceptr ptr, const struct vc_stream *s)
{
	struct vc_range range;
	CUresult result = CUDA_SUCCESS;

	if (vc_range_remove(ptr, 1u << VC_RANGE_DEVICE | 1u << VC_RANGE_MANAGED, &range))
		return CUDA_ERROR_INVALID_VALUE;
	if (range.kind == VC_RANGE_DEVICE && !range.block) {
		give_back(ptr);
		return CUDA_SUCCESS;
	}
	if (!s || !range.block)
		result = vc_streams_wait_all(NULL);
	if (range.block) {
		vc_pool_free(range.block, range.bytes, s);
	} else {
		vc_advice_forget(range.base, range.bytes);
		vc_hostmem_release(&range);
	}
	if (!s)
		vc_pools_waited();
	return result;
}

CUresult cuMemFree_v2(CUdeviceptr ptr)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	return result || !ptr ? result : release(ptr, NULL);
}

// A captured allocation has its memory, and its address, at once; it lives as long as the graph.
static CUresult capture_alloc(struct vc_stream *s, struct vc_context *ctx, size_t bytes, CUdeviceptr *ptr)
{
	struct vc_what what = { .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
				.memory = calloc(1, sizeof(*what.memory)) };
	CUresult result = what.memory ? allocate(ctx, bytes, ptr) : CUDA_ERROR_OUT_OF_MEMORY;

	if (result) {
		free(what.memory);
		return result;
	}
	*what.memory = (struct vc_graph_memory){ .references = 1, .address = *ptr, .bytes = bytes };
	vc_graph_memory_counts(bytes);
	return vc_capture_add(s, &what);
}

static CUresult capture_free(struct vc_stream *s, CUdeviceptr ptr)
{
	struct vc_what what = { .type = CU_GRAPH_NODE_TYPE_MEM_FREE, .address = ptr };
	struct vc_graph *g;
	struct vc_gnode *node;
	int known = 0;

	pthread_mutex_lock(&vc_graph_lock);
	g = vc_capture_graph(s);
	if (g)
		TAILQ_FOREACH (node, &g->nodes, next)
			if (node->what.memory && node->what.memory->address == ptr)
				known = node->what.memory->freed_in_graph = 1;
	pthread_mutex_unlock(&vc_graph_lock);
	return known ? vc_capture_add(s, &what) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult from_pool(CUdeviceptr *ptr, size_t bytes, uint64_t pool, CUstream stream)
{
	struct vc_range range = { .kind = VC_RANGE_DEVICE };
	struct vc_stream *s;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (!ptr)
		return CUDA_ERROR_INVALID_VALUE;
	range.owner = ctx;
	if (vc_stream_captures(s))
		return bytes ? capture_alloc(s, ctx, bytes, ptr) : CUDA_ERROR_INVALID_VALUE;
	if (!bytes) { // the driver takes it as well; there is nothing to point to
		*ptr = 0;
		return CUDA_SUCCESS;
	}
	result = vc_pool_alloc(pool, bytes, s, &range.pool, &range.block);
	if (result)
		return result;
	range.base = vc_block_address(range.block);
	range.bytes = bytes;
	if (vc_range_add(&range)) {
		vc_pool_free(range.block, bytes, s);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ptr = range.base;
	return CUDA_SUCCESS;
}

CUresult cuMemAllocAsync(CUdeviceptr *ptr, size_t bytes, CUstream stream)
{
	return from_pool(ptr, bytes, 0, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *ptr, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return pool ? from_pool(ptr, bytes, (uint64_t)(uintptr_t)pool, stream) : vc_invalid();
}

// Memory that is no pool's is freed as ever: the executor waits for work in flight first.
CUresult cuMemFreeAsync(CUdeviceptr ptr, CUstream stream)
{
	struct vc_stream *s;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (!result && vc_stream_captures(s))
		return capture_free(s, ptr);
	return result || !ptr ? result : release(ptr, s);
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr ptr)
{
	struct vc_range range;
	struct vc_mapping m;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!base && !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (vc_range_find(ptr, &range))
		return CUDA_ERROR_NOT_FOUND;
	if (range.kind == VC_RANGE_RESERVED) {
		if (!vc_mapping_find(ptr, &m))
			return CUDA_ERROR_NOT_FOUND;
		range.base = m.address;
		range.bytes = m.bytes;
	}
	if (base)
		*base = range.base;
	if (bytes)
		*bytes = range.bytes;
	return CUDA_SUCCESS;
}

// Nothing of the context is in flight any more.
void vc_memory_release(struct vc_context *ctx)
{
	struct vc_range range;

	while (!vc_range_remove_owned(ctx, &range)) {
		if (range.block) {
			vc_pool_free(range.block, range.bytes, NULL);
		} else if (range.kind == VC_RANGE_DEVICE) {
			give_back(range.base);
		} else if (range.kind == VC_RANGE_RESERVED) {
			vc_vmem_release(&range);
		} else if (range.kind == VC_RANGE_IMPORTED) {
			vc_ipc_release(&range);
		} else {
			vc_advice_forget(range.base, range.bytes);
			vc_hostmem_release(&range);
		}
	}
	vc_pools_waited();
}
