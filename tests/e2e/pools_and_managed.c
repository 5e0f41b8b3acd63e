// SPDX-License-Identifier: Apache-2.0
//
// Memory pools: what they count, limit and refuse. Managed memory: one address for program and kernels.
#include <string.h>

#include "tests/e2e/check.h"

static CUstream stream;

static uint64_t wide(CUmemoryPool pool, CUmemPool_attribute attribute)
{
	uint64_t value = UINT64_MAX;

	MUST(cuMemPoolGetAttribute(pool, attribute, &value));
	return value;
}

static void pools(void)
{
	CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
				 .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	uint64_t threshold = 1 << 30, zero = 0;
	CUmemoryPool standard, current, mine;
	CUdeviceptr a, b;
	uint32_t value = 0;
	int off = 0;

	OK(cuDeviceGetDefaultMemPool(&standard, 0));
	OK(cuDeviceGetMemPool(&current, 0));
	CHECK(standard == current, "the default pool is the current one at first");
	OK(cuMemPoolCreate(&mine, &props));
	OK(cuMemPoolSetAttribute(mine, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
	EQUAL(1 << 30, wide(mine, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD));
	OK(cuMemPoolSetAttribute(mine, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &off));
	OK(cuMemAllocFromPoolAsync(&a, 1 << 20, mine, stream));
	EQUAL(1 << 20, wide(mine, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
	OK(cuDeviceSetMemPool(0, mine));
	OK(cuMemAllocAsync(&b, 1 << 20, stream));
	EQUAL(2 << 20, wide(mine, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
	OK(cuMemsetD32Async(a, 42, 16, stream));
	OK(cuMemcpyDtoDAsync_v2(b, a, 64, stream));
	OK(cuMemFreeAsync(a, stream));
	OK(cuMemcpyDtoHAsync_v2(&value, b, 4, stream));
	OK(cuStreamSynchronize(stream));
	if (check_computes())
		EQUAL(42, value);
	OK(cuMemFreeAsync(b, stream));
	OK(cuStreamSynchronize(stream));
	EQUAL(0, wide(mine, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
	EQUAL(2 << 20, wide(mine, CU_MEMPOOL_ATTR_USED_MEM_HIGH));
	OK(cuMemPoolSetAttribute(mine, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &zero));
	EQUAL(0, wide(mine, CU_MEMPOOL_ATTR_USED_MEM_HIGH));
	OK(cuMemPoolTrimTo(mine, 0));
	OK(cuDeviceSetMemPool(0, standard));
	OK(cuMemPoolDestroy(mine));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate(&mine, NULL));
}

static void managed(void)
{
	CUmodule module = check_module("basic.ptx");
	CUfunction step = check_function(module, "step");
	unsigned int is_managed = 0xa5a5a5a5, type = 0;
	uint32_t *word, what = 5;
	CUdeviceptr p;

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&p, 0, 1));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&p, 4096, 8));
	MUST(cuMemAllocManaged(&p, 1 << 20, 1));
	word = (uint32_t *)(uintptr_t)p;
	*word = 7; // the program writes,
	LAUNCH(step, 1, 32, stream, &p, &what);
	MUST(cuStreamSynchronize(stream));
	if (check_computes())
		EQUAL(26, *word); // the kernel works on it, and the program reads
	OK(cuPointerGetAttribute(&is_managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, p));
	EQUAL(1, is_managed);
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
	EQUAL(CU_MEMORYTYPE_DEVICE, type);
	OK(cuMemPrefetchAsync_v2(p, 1 << 20, (CUmemLocation){ CU_MEM_LOCATION_TYPE_DEVICE, 0 }, 0, stream));
	OK(cuMemsetD32Async(p, 9, 4, stream));
	OK(cuStreamSynchronize(stream));
	if (check_computes())
		EQUAL(9, word[3]);
	OK(cuMemFree_v2(p));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p));
}

int main(void)
{
	check_context();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	pools();
	managed();
	return check_done();
}
