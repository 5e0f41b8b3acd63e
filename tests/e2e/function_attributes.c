// SPDX-License-Identifier: Apache-2.0
//
// What the driver says about a function: attributes, their setting, occupancy.
#include "tests/e2e/check.h"

int main(void)
{
	CUmodule module;
	CUfunction f, sums;
	int value = -7, blocks = 0, grid = 0, last = 1 << 20;
	size_t available = 0;
	check_context();
	module = check_module("basic.ptx");
	f = check_function(module, "reverse_block");
	sums = check_function(module, "sum_blocks");
	for (int i = 0; i < CU_FUNC_ATTRIBUTE_COUNT; i++)
		OK(cuFuncGetAttribute(&value, i, f));
	value = -7;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncGetAttribute(&value, 16, f));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncGetAttribute(&value, -1, f));
	EQUAL(-7, value);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncGetAttribute(NULL, 0, f));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuFuncGetAttribute(&value, 0, NULL));
	OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f));
	EQUAL(1024, value);
	OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, sums));
	if (check_computes()) // the null backend does not read kernels
		EQUAL(1024, value);
	OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f));
	EQUAL(48 * KIB, value);
	OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_PTX_VERSION, f));
	if (check_computes())
		EQUAL(70, value);
	OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_BINARY_VERSION, f));
	CHECK(value >= 70, "binary version %d", value);
	OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60000));
	OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f));
	EQUAL(60000, value);
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1 << 24));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS, 10));
	OK(cuFuncSetCacheConfig(f, CU_FUNC_CACHE_PREFER_SHARED));

	for (int threads = 32; threads <= 1024; threads *= 2) {
		OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, threads, 0));
		CHECK(blocks > 0 && blocks <= last, "%d blocks of %d threads", blocks, threads);
		last = blocks;
	}
	int many = 0;
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&many, f, 64, 0, 0));
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, f, 64, 40000, 0));
	CHECK(blocks < many && blocks >= 1, "with 40000 bytes of shared memory %d instead of %d", blocks,
	      many);
	OK(cuOccupancyMaxPotentialBlockSize(&grid, &blocks, f, NULL, 0, 0));
	CHECK(grid >= 1 && blocks >= 32 && blocks <= 1024, "suggested: %d blocks of %d", grid, blocks);
	OK(cuOccupancyAvailableDynamicSMemPerBlock(&available, f, 1, 128));
	CHECK(available >= 48 * KIB, "%zu bytes of shared memory for one block", available);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuOccupancyMaxActiveBlocksPerMultiprocessor(NULL, f, 32, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 0, 0));
	return check_done();
}
