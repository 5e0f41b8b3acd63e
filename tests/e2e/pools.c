// SPDX-License-Identifier: Apache-2.0
//
// Memory pools that keep what is freed: what is reserved when, who may use a freed block, what a pool's end
// does to its allocations, and that a pool gives way when memory is scarce.
#include <string.h>

#include "tests/e2e/check.h"

#define PIECE (4 * MIB)

static CUstream stream, other;
static CUmodule module;

static uint64_t wide(CUmemoryPool pool, CUmemPool_attribute attribute)
{
	uint64_t value = UINT64_MAX;

	MUST(cuMemPoolGetAttribute(pool, attribute, &value));
	return value;
}

static uint64_t reserved(CUmemoryPool pool)
{
	return wide(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
}

static uint64_t used(CUmemoryPool pool)
{
	return wide(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
}

static CUmemoryPool make(size_t limit, uint64_t threshold)
{
	CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
				 .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 },
				 .maxSize = limit };
	CUmemoryPool pool;

	MUST(cuMemPoolCreate(&pool, &props));
	MUST(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
	return pool;
}

// Without a threshold everything unused goes at the next wait; with one it stays until it is trimmed.
static void what_is_kept(void)
{
	CUmemoryPool loose = make(0, 0), keeping = make(0, UINT64_MAX);
	CUdeviceptr p;
	uint64_t held, zero = 0;

	EQUAL(0, reserved(loose));
	MUST(cuMemAllocFromPoolAsync(&p, PIECE, loose, stream));
	CHECK(reserved(loose) >= PIECE, "the pool holds what it handed out: %llu",
	      (unsigned long long)reserved(loose));
	MUST(cuMemFreeAsync(p, stream));
	MUST(cuStreamSynchronize(stream));
	EQUAL(0, used(loose));
	EQUAL(0, reserved(loose));
	CHECK(wide(loose, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) >= PIECE, "the most it held is remembered");
	OK(cuMemPoolSetAttribute(loose, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, &zero));
	EQUAL(0, wide(loose, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH));

	MUST(cuMemAllocFromPoolAsync(&p, PIECE, keeping, stream));
	held = reserved(keeping);
	MUST(cuMemFreeAsync(p, stream));
	MUST(cuStreamSynchronize(stream));
	EQUAL(held, reserved(keeping));
	for (int i = 0; i < 1000; i++) { // fits what is held, again and again
		MUST(cuMemAllocFromPoolAsync(&p, PIECE, keeping, stream));
		MUST(cuMemFreeAsync(p, stream));
	}
	EQUAL(held, reserved(keeping));
	EQUAL(PIECE, wide(keeping, CU_MEMPOOL_ATTR_USED_MEM_HIGH));
	MUST(cuStreamSynchronize(stream));
	OK(cuMemPoolTrimTo(keeping, held));
	EQUAL(held, reserved(keeping));
	OK(cuMemPoolTrimTo(keeping, 0));
	EQUAL(0, reserved(keeping));
	OK(cuMemPoolDestroy(loose));
	OK(cuMemPoolDestroy(keeping));
}

// Memory that is in use is not trimmed away, and keeps what it holds.
static void in_use(void)
{
	CUmemoryPool pool = make(0, UINT64_MAX);
	CUdeviceptr p[8];
	uint32_t word;

	for (int i = 0; i < 8; i++) {
		MUST(cuMemAllocFromPoolAsync(&p[i], PIECE, pool, stream));
		MUST(cuMemsetD32Async(p[i], 100 + (unsigned)i, PIECE / 4, stream));
	}
	EQUAL(8 * PIECE, used(pool));
	for (int i = 0; i < 8; i += 2)
		MUST(cuMemFreeAsync(p[i], stream));
	MUST(cuStreamSynchronize(stream));
	OK(cuMemPoolTrimTo(pool, 0));
	EQUAL(4 * PIECE, used(pool));
	CHECK(reserved(pool) >= 4 * PIECE, "what is in use stays reserved");
	for (int i = 1; i < 8; i += 2) {
		MUST(cuMemcpyDtoH_v2(&word, p[i] + PIECE - 4, 4));
		if (check_computes())
			EQUAL(100 + i, word);
	}
	// A destroyed pool lives on with its allocations.
	OK(cuMemPoolDestroy(pool));
	MUST(cuMemcpyDtoH_v2(&word, p[1], 4));
	if (check_computes())
		EQUAL(101, word);
	for (int i = 1; i < 8; i += 2)
		OK(cuMemFreeAsync(p[i], stream));
	OK(cuStreamSynchronize(stream));
}

// A block that work of one stream may still use is not another stream's, until that stream waits for it.
static void other_streams(void)
{
	CUmemoryPool pool = make(0, UINT64_MAX);
	struct gate gate;
	CUdeviceptr a, b;
	CUevent event;
	int off = 0;

	// Else the driver may make the other stream wait for this one.
	MUST(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES, &off));
	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemAllocFromPoolAsync(&a, PIECE, pool, stream));
	gate_init(&gate, module);
	gate_close(&gate, stream);
	MUST(cuMemsetD32Async(a, 1, PIECE / 4, stream));
	MUST(cuMemFreeAsync(a, stream));
	MUST(cuMemAllocFromPoolAsync(&b, PIECE, pool, other));
	CHECK(b + PIECE <= a || b >= a + PIECE, "not the other stream's block while that is busy");
	MUST(cuMemFreeAsync(b, other));
	MUST(cuEventRecord(event, stream));
	MUST(cuStreamWaitEvent(other, event, 0));
	MUST(cuMemAllocFromPoolAsync(&b, PIECE, pool, other));
	MUST(cuMemsetD32Async(b, 2, PIECE / 4, other));
	gate_open(&gate);
	MUST(cuStreamSynchronize(other));
	if (check_computes()) {
		uint32_t word;

		MUST(cuMemcpyDtoH_v2(&word, b + PIECE / 2, 4));
		EQUAL(2, word);
	}
	MUST(cuMemFreeAsync(b, other));
	MUST(cuStreamSynchronize(stream));
	gate_done(&gate);
	MUST(cuEventDestroy_v2(event));
	// Now everybody may have everything: no more is taken than there is.
	uint64_t held = reserved(pool);

	MUST(cuMemAllocFromPoolAsync(&a, PIECE, pool, other));
	MUST(cuMemAllocFromPoolAsync(&b, PIECE, pool, NULL));
	EQUAL(held, reserved(pool));
	MUST(cuMemFreeAsync(a, other));
	MUST(cuMemFreeAsync(b, NULL));
	MUST(cuCtxSynchronize());
	OK(cuMemPoolDestroy(pool));
}

// A stream that is destroyed while its work goes on: its freed blocks come back when that is done.
static void streams_that_go(void)
{
	CUmemoryPool pool = make(0, UINT64_MAX);
	struct gate gate;
	CUstream gone;
	CUdeviceptr a, b;
	uint32_t word;

	MUST(cuStreamCreate(&gone, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAllocFromPoolAsync(&a, PIECE, pool, gone));
	gate_init(&gate, module);
	gate_close(&gate, gone);
	MUST(cuMemsetD32Async(a, 1, PIECE / 4, gone));
	MUST(cuMemFreeAsync(a, gone));
	gate_open(&gate);
	MUST(cuStreamDestroy_v2(gone));
	MUST(cuMemAllocFromPoolAsync(&b, PIECE, pool, stream));
	MUST(cuMemsetD32Async(b, 2, PIECE / 4, stream));
	MUST(cuCtxSynchronize());
	gate_done(&gate);
	MUST(cuMemcpyDtoH_v2(&word, b, 4));
	if (check_computes())
		EQUAL(2, word);
	MUST(cuMemFreeAsync(b, stream));
	MUST(cuStreamSynchronize(stream));
	OK(cuMemPoolTrimTo(pool, 0));
	EQUAL(0, reserved(pool));
	OK(cuMemPoolDestroy(pool));
}

static void refused(void)
{
	CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
				 .location = { CU_MEM_LOCATION_TYPE_DEVICE, 7 } };
	CUmemoryPool pool = make(64 * MIB, UINT64_MAX), standard;
	size_t free_bytes, total;
	CUdeviceptr p;

	MUST(cuDeviceGetDefaultMemPool(&standard, 0));
	MUST(cuMemGetInfo_v2(&free_bytes, &total));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemPoolDestroy(standard));
	OK(cuMemAllocFromPoolAsync(&p, 0, pool, stream)); // nothing is something to ask for
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocFromPoolAsync(&p, 128 * MIB, pool, stream));
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocAsync(&p, total + MIB, stream));
	CHECK(cuMemAllocAsync(&p, SIZE_MAX, stream) != CUDA_SUCCESS, "nor all addresses there are");
	OK(cuMemAllocFromPoolAsync(&p, PIECE, pool, stream)); // an ordinary refusal
	OK(cuMemFree_v2(p));				      // the other way to free is good as well
	if (check_backend() != BACKEND_NATIVE)		      // the driver counts it as used a while longer
		EQUAL(0, used(pool));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(p, stream));
	OK(cuMemPoolDestroy(pool));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate(&pool, &props));
}

static void graph_memory(void)
{
	uint64_t value = 99;

	OK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &value));
	EQUAL(0, value);
	OK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &value)); // to 0
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &value));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDeviceGetGraphMemAttribute(0, 77, &value));
	OK(cuDeviceGraphMemTrim(0));
}

int main(void)
{
	check_context();
	module = check_module("basic.ptx");
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
	what_is_kept();
	in_use();
	other_streams();
	streams_that_go();
	refused();
	graph_memory();
	return check_done();
}
