// SPDX-License-Identifier: Apache-2.0
//
// Every way to get device memory counts against the tenant's quota, to the granule: what one allocation takes
// is told by cuMemGetInfo; with exactly so much left it succeeds, with a granule less it is refused as
// CUDA_ERROR_OUT_OF_MEMORY and has taken nothing; giving it back gives all of it back. Pinned and managed
// memory takes none. Runs in a tenant with a quota of 256 MiB (memory that other processes share: ipc_quota).
#include "tests/e2e/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES	(12 * MIB + 4096) // above a chunk, and no whole number of granules
#define GRANULE (2 * MIB)

union thing {
	CUdeviceptr p;
	CUmemGenericAllocationHandle physical;
	CUarray array;
	CUmipmappedArray mipmap;
	CUgraph graph;
	CUmodule module;
	size_t limit;
};

static CUresult take_alloc(union thing *t)
{
	return cuMemAlloc_v2(&t->p, BYTES);
}

static CUresult take_pitch(union thing *t)
{
	size_t pitch;

	return cuMemAllocPitch_v2(&t->p, &pitch, 4000, BYTES / 4096, 4);
}

static CUresult give_alloc(union thing *t)
{
	return cuMemFree_v2(t->p);
}

// Pools take memory in blocks of their own; this is more than one.
#define POOL_BYTES (33 * MIB)

static CUresult take_pool(union thing *t)
{
	return cuMemAllocAsync(&t->p, POOL_BYTES, NULL);
}

static CUresult give_pool(union thing *t)
{
	CUmemoryPool pool;
	CUresult result = cuMemFreeAsync(t->p, NULL);

	MUST(cuCtxSynchronize());
	MUST(cuDeviceGetDefaultMemPool(&pool, 0));
	MUST(cuMemPoolTrimTo(pool, 0));
	return result;
}

static CUresult take_physical(union thing *t)
{
	const CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					   .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };

	return cuMemCreate(&t->physical, (BYTES + GRANULE - 1) / GRANULE * GRANULE, &prop, 0);
}

static CUresult give_physical(union thing *t)
{
	return cuMemRelease(t->physical);
}

static CUresult take_array(union thing *t)
{
	const CUDA_ARRAY_DESCRIPTOR desc = { 1024, BYTES / 4096, CU_AD_FORMAT_FLOAT, 1 };

	return cuArrayCreate_v2(&t->array, &desc);
}

static CUresult take_array3d(union thing *t)
{
	const CUDA_ARRAY3D_DESCRIPTOR desc = { .Width = 256,
					       .Height = 64,
					       .Depth = BYTES / 65536,
					       .Format = CU_AD_FORMAT_FLOAT,
					       .NumChannels = 1 };

	return cuArray3DCreate_v2(&t->array, &desc);
}

static CUresult give_array(union thing *t)
{
	return cuArrayDestroy(t->array);
}

static CUresult take_mipmap(union thing *t)
{
	const CUDA_ARRAY3D_DESCRIPTOR desc = {
		.Width = 1024, .Height = BYTES / 4096, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1
	};

	return cuMipmappedArrayCreate(&t->mipmap, &desc, 4);
}

static CUresult give_mipmap(union thing *t)
{
	return cuMipmappedArrayDestroy(t->mipmap);
}

static CUresult take_graph(union thing *t)
{
	CUDA_MEM_ALLOC_NODE_PARAMS node = { .bytesize = BYTES };
	CUgraphNode alloc, done;
	CUresult result;

	node.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
	node.poolProps.locationType = CU_MEM_LOCATION_TYPE_DEVICE;
	MUST(cuGraphCreate(&t->graph, 0));
	result = cuGraphAddMemAllocNode(&alloc, t->graph, NULL, 0, &node);
	if (result)
		MUST(cuGraphDestroy(t->graph));
	else
		MUST(cuGraphAddMemFreeNode(&done, t->graph, &alloc, 1, node.dptr));
	return result;
}

static CUresult give_graph(union thing *t)
{
	return cuGraphDestroy(t->graph);
}

static CUresult take_module(union thing *t)
{
	CUdeviceptr at;
	char text[256];
	CUresult result;
	size_t bytes;

	snprintf(text, sizeof(text),
		 ".version 7.0\n.target sm_80\n.address_size 64\n.visible .global .align 16 .b8 big[%zu];\n",
		 BYTES);
	result = cuModuleLoadData(&t->module, text);
	if (result)
		return result;
	result = cuModuleGetGlobal_v2(&at, &bytes, t->module, "big");
	if (result)
		MUST(cuModuleUnload(t->module));
	else
		EQUAL(BYTES, bytes);
	return result;
}

static CUresult give_module(union thing *t)
{
	return cuModuleUnload(t->module);
}

static CUresult take_print_buffer(union thing *t)
{
	MUST(cuCtxGetLimit(&t->limit, CU_LIMIT_PRINTF_FIFO_SIZE));
	return cuCtxSetLimit(CU_LIMIT_PRINTF_FIFO_SIZE, t->limit + BYTES);
}

static CUresult give_print_buffer(union thing *t)
{
	return cuCtxSetLimit(CU_LIMIT_PRINTF_FIFO_SIZE, t->limit);
}

static CUresult take_heap(union thing *t)
{
	MUST(cuCtxGetLimit(&t->limit, CU_LIMIT_MALLOC_HEAP_SIZE));
	return cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, t->limit + BYTES);
}

static CUresult give_heap(union thing *t)
{
	return cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, t->limit);
}

enum where { EVERYWHERE, NOT_NULL, NOT_CPU };

static const struct way {
	const char *name;
	size_t bytes;
	enum where where; // backends that have nothing behind it are left out
	CUresult (*take)(union thing *t);
	CUresult (*give)(union thing *t);
} ways[] = {
	{ "cuMemAlloc", BYTES, EVERYWHERE, take_alloc, give_alloc },
	{ "cuMemAllocPitch", BYTES, EVERYWHERE, take_pitch, give_alloc },
	{ "cuMemAllocAsync", POOL_BYTES, EVERYWHERE, take_pool, give_pool },
	{ "cuMemCreate", BYTES, EVERYWHERE, take_physical, give_physical },
	{ "cuArrayCreate", BYTES, EVERYWHERE, take_array, give_array },
	{ "cuArray3DCreate", BYTES, EVERYWHERE, take_array3d, give_array },
	{ "cuMipmappedArrayCreate", BYTES, EVERYWHERE, take_mipmap, give_mipmap },
	{ "allocation node of a graph", BYTES, EVERYWHERE, take_graph, give_graph },
	{ "variables of a module", BYTES, NOT_NULL, take_module, give_module },
	{ "CU_LIMIT_PRINTF_FIFO_SIZE", BYTES, EVERYWHERE, take_print_buffer, give_print_buffer },
	{ "CU_LIMIT_MALLOC_HEAP_SIZE", BYTES, NOT_CPU, take_heap, give_heap },
};

static size_t free_now(void)
{
	size_t free_bytes, total;

	MUST(cuMemGetInfo_v2(&free_bytes, &total));
	return free_bytes;
}

static void one_way(const struct way *w)
{
	size_t before = free_now(), cost, fill;
	union thing t, other;
	CUdeviceptr filler;

	CHECK(w->take(&t) == CUDA_SUCCESS, "%s", w->name);
	cost = before - free_now();
	CHECK(cost + 65536 >= w->bytes && cost < 2 * w->bytes, "%s: %zu bytes cost %zu", w->name, w->bytes,
	      cost);
	CHECK(w->give(&t) == CUDA_SUCCESS && free_now() == before, "%s: all of it is back", w->name);

	fill = (before - cost) / GRANULE * GRANULE;
	MUST(cuMemAlloc_v2(&filler, fill));
	EQUAL(before - fill, free_now());
	CHECK(w->take(&t) == CUDA_SUCCESS, "%s: it fits beside %zu bytes", w->name, fill);
	CHECK(w->take(&other) == CUDA_ERROR_OUT_OF_MEMORY, "%s: a second one does not", w->name);
	CHECK(w->give(&t) == CUDA_SUCCESS, "%s: given back", w->name);
	MUST(cuMemFree_v2(filler));
	MUST(cuMemAlloc_v2(&filler, fill + GRANULE));
	CHECK(w->take(&other) == CUDA_ERROR_OUT_OF_MEMORY, "%s: not beside a granule more", w->name);
	EQUAL(before - fill - GRANULE, free_now());
	MUST(cuMemFree_v2(filler));
	EQUAL(before, free_now());
}

// The stack of all threads that the device can have at once.
static void stacks(void)
{
	size_t before = free_now(), limit, quota = before;
	int processors, threads;

	MUST(cuDeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
	MUST(cuDeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 0));
	MUST(cuCtxGetLimit(&limit, CU_LIMIT_STACK_SIZE));
	OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, limit + 256));
	EQUAL(256ll * processors * threads, before - free_now());
	EXPECT(
	    CUDA_ERROR_OUT_OF_MEMORY,
	    cuCtxSetLimit(CU_LIMIT_STACK_SIZE, limit + quota / ((size_t)processors * (size_t)threads) + 256));
	OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, limit));
	EQUAL(before, free_now());
}

static void what_takes_none(void)
{
	size_t before = free_now();
	CUdeviceptr managed;
	void *pinned;

	OK(cuMemAllocManaged(&managed, BYTES, 1));
	OK(cuMemHostAlloc(&pinned, BYTES, 0));
	EQUAL(before, free_now());
	OK(cuMemFree_v2(managed));
	OK(cuMemFreeHost(pinned));
}

int main(void)
{
	check_context();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if ((ways[i].where == NOT_NULL && check_backend() == BACKEND_NULL) ||
		    (ways[i].where == NOT_CPU && check_backend() == BACKEND_CPU))
			continue;
		one_way(&ways[i]);
	}
	stacks();
	what_takes_none();
	return check_done();
}
