// SPDX-License-Identifier: Apache-2.0
// Device memory: allocation, release, what there is of it. Addresses are the executor's; the ranges are known
// here, so that a bad one is refused at once. Runs in the guest program.
#include <stdlib.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/hostmem.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

#define PITCH_ALIGN 512u

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
	struct reply_mem_info reply;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!free_bytes || !total)
		return CUDA_ERROR_INVALID_VALUE;
	result = (CUresult)vgpu_call_mem_info(vc_client, &reply);
	if (!result) {
		*free_bytes = reply.free;
		*total = reply.total;
	}
	return result;
}

static void give_back(uint64_t address)
{
	struct record_mem_free record = { .address = address };

	vgpu_push_mem_free(vc_client, &record);
}

// pool: the pool's handle, 0: none.
static CUresult allocate(struct vc_context *ctx, uint64_t bytes, uint64_t pool, CUdeviceptr *ret)
{
	struct record_mem_alloc record = { .size = bytes };
	struct reply_mem_alloc reply;
	CUresult result = (CUresult)vgpu_call_mem_alloc(vc_client, &record, &reply);

	if (result)
		return result;
	if (vc_range_add(&(struct vc_range){ .base = reply.address,
					     .bytes = bytes,
					     .kind = VC_RANGE_DEVICE,
					     .owner = ctx,
					     .pool = pool })) {
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
	return ptr && bytes ? allocate(ctx, bytes, 0, ptr) : CUDA_ERROR_INVALID_VALUE;
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
	result = allocate(ctx, bytes, 0, ptr);
	if (!result)
		*pitch = row;
	return result;
}

CUresult cuMemFree_v2(CUdeviceptr ptr)
{
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result || !ptr)
		return result;
	if (vc_range_remove(ptr, 1u << VC_RANGE_DEVICE | 1u << VC_RANGE_MANAGED, &range))
		return CUDA_ERROR_INVALID_VALUE;
	if (range.kind == VC_RANGE_MANAGED) {
		result = vc_streams_wait_all(NULL);
		vc_hostmem_release(&range);
		return result;
	}
	vc_pool_give(range.pool, range.bytes);
	give_back(ptr);
	return CUDA_SUCCESS;
}

// A captured allocation has its memory, and its address, at once; it lives as long as the graph.
static CUresult capture_alloc(struct vc_stream *s, struct vc_context *ctx, size_t bytes, CUdeviceptr *ptr)
{
	struct vc_what what = { .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
				.memory = calloc(1, sizeof(*what.memory)) };
	CUresult result = what.memory ? allocate(ctx, bytes, 0, ptr) : CUDA_ERROR_OUT_OF_MEMORY;

	if (result) {
		free(what.memory);
		return result;
	}
	*what.memory = (struct vc_graph_memory){ .references = 1, .address = *ptr, .bytes = bytes };
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

// In stream order this allocation is ready before anything that follows: it is ready when the call returns.
static CUresult from_pool(CUdeviceptr *ptr, size_t bytes, uint64_t pool, CUstream stream)
{
	struct vc_stream *s;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (!ptr || !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (vc_stream_captures(s))
		return capture_alloc(s, ctx, bytes, ptr);
	result = vc_pool_take(&pool, bytes);
	if (result)
		return result;
	result = allocate(ctx, bytes, pool, ptr);
	if (result)
		vc_pool_give(pool, bytes);
	return result;
}

CUresult cuMemAllocAsync(CUdeviceptr *ptr, size_t bytes, CUstream stream)
{
	return from_pool(ptr, bytes, 0, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *ptr, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return pool ? from_pool(ptr, bytes, (uint64_t)(uintptr_t)pool, stream) : CUDA_ERROR_INVALID_VALUE;
}

// The executor waits for work in flight before it frees, so whatever uses the memory in the stream is done.
CUresult cuMemFreeAsync(CUdeviceptr ptr, CUstream stream)
{
	struct vc_stream *s;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (!result && vc_stream_captures(s))
		return capture_free(s, ptr);
	return result ? result : cuMemFree_v2(ptr);
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr ptr)
{
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!base && !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (vc_range_find(ptr, &range))
		return CUDA_ERROR_NOT_FOUND;
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
		if (range.kind == VC_RANGE_DEVICE)
			give_back(range.base);
		else if (range.kind == VC_RANGE_RESERVED)
			vc_vmem_release(&range);
		else
			vc_hostmem_release(&range);
	}
}
