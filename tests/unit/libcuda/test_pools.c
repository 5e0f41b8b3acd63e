// SPDX-License-Identifier: Apache-2.0
// Pools' memory (guest/libcuda/reserve.c, pool.c): which blocks are used again, by whom, when the executor is
// asked, and what is given back.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

#define MIB	(1ull << 20)
#define SEGMENT (32 * MIB)

static CUstream a, b;
static CUmemoryPool pool;
static CUdeviceptr scratch;

static int setup(void **state)
{
	CUmemPoolProps props = { .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
				 .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	uint64_t keep = UINT64_MAX;
	CUcontext ctx;

	(void)state;
	fake_reset();
	if (cuInit(0) || cuDevicePrimaryCtxRetain(&ctx, 0) || cuCtxSetCurrent(ctx) ||
	    (!scratch && cuMemAlloc_v2(&scratch, 4096)) || cuStreamCreate(&a, CU_STREAM_NON_BLOCKING) ||
	    cuStreamCreate(&b, CU_STREAM_NON_BLOCKING) || cuMemPoolCreate(&pool, &props))
		return -1;
	fake_reset();
	fake.addresses_only = 1;
	return cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_reset();
	return cuCtxSynchronize() || cuMemPoolDestroy(pool) || cuStreamDestroy_v2(a) || cuStreamDestroy_v2(b);
}

static CUdeviceptr take(uint64_t bytes, CUstream s)
{
	CUdeviceptr p = 0;

	assert_int_equal(cuMemAllocFromPoolAsync(&p, bytes, pool, s), CUDA_SUCCESS);
	return p;
}

static void work(CUstream s)
{
	assert_int_equal(cuMemsetD8Async(scratch, 0, 16, s), CUDA_SUCCESS);
}

// Work, and a fence behind it that does not come: the stream is known to be busy.
static void busy(CUstream s)
{
	work(s);
	fake.hold_fences = 1;
	assert_int_equal(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
}

static uint64_t attribute(CUmemPool_attribute which)
{
	uint64_t value = 0;

	assert_int_equal(cuMemPoolGetAttribute(pool, which, &value), CUDA_SUCCESS);
	return value;
}

static void a_segment_serves_many(void **state)
{
	CUdeviceptr p[32];

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 32; i++)
			p[i] = take(1 + i * 30000, a);
		for (unsigned i = 0; i < 32; i++)
			for (unsigned k = 0; k < i; k++)
				assert_true(p[i] >= p[k] + 1 + k * 30000 || p[k] >= p[i] + 1 + i * 30000);
		for (unsigned i = 0; i < 32; i++)
			assert_int_equal(cuMemFreeAsync(p[i * 13 % 32], a), CUDA_SUCCESS);
	}
	assert_int_equal(fake.counts[OPCODE_MEM_ALLOC], 1);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), SEGMENT);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
	// All neighbours are one again: the whole segment can be had at once.
	p[0] = take(SEGMENT, a);
	assert_int_equal(fake.counts[OPCODE_MEM_ALLOC], 1);
	assert_int_equal(cuMemFreeAsync(p[0], a), CUDA_SUCCESS);
}

static void a_busy_stream_keeps_its_block(void **state)
{
	CUdeviceptr p = take(SEGMENT, a), q, r;

	(void)state;
	busy(a);
	assert_int_equal(cuMemFreeAsync(p, a), CUDA_SUCCESS);
	q = take(MIB, b);
	assert_true(q + MIB <= p || q >= p + SEGMENT);
	r = take(SEGMENT, a); // its own it may have
	assert_int_equal(r, p);
	fake_release_fences();
	assert_int_equal(cuMemFreeAsync(r, a), CUDA_SUCCESS);
	assert_int_equal(cuMemFreeAsync(q, b), CUDA_SUCCESS);
	assert_int_equal(fake.counts[OPCODE_MEM_ALLOC], 2);
	r = take(SEGMENT, b); // nothing is in flight any more
	assert_int_equal(cuMemFreeAsync(take(SEGMENT, b), b), CUDA_SUCCESS);
	assert_int_equal(fake.counts[OPCODE_MEM_ALLOC], 2);
	assert_int_equal(cuMemFreeAsync(r, b), CUDA_SUCCESS);
}

static void whoever_waits_may_have_it(void **state)
{
	CUdeviceptr p = take(SEGMENT, a), q, r;
	CUevent before, after;
	int off = 0;

	(void)state;
	assert_int_equal(cuEventCreate(&before, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
	assert_int_equal(cuEventCreate(&after, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
	assert_int_equal(cuEventRecord(before, a), CUDA_SUCCESS);
	busy(a);
	assert_int_equal(cuMemFreeAsync(p, a), CUDA_SUCCESS);
	assert_int_equal(cuEventRecord(after, a), CUDA_SUCCESS);
	assert_int_equal(cuStreamWaitEvent(b, before, 0), CUDA_SUCCESS); // not far enough
	q = take(SEGMENT, b);
	assert_int_not_equal(q, p);
	assert_int_equal(cuStreamWaitEvent(b, after, 0), CUDA_SUCCESS);
	assert_int_equal(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, &off),
			 CUDA_SUCCESS);
	r = take(SEGMENT, b);
	assert_int_not_equal(r, p);
	off = 1;
	assert_int_equal(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, &off),
			 CUDA_SUCCESS);
	assert_int_equal(cuMemFreeAsync(r, b), CUDA_SUCCESS);
	assert_int_equal(cuMemFreeAsync(q, b), CUDA_SUCCESS);
	assert_int_not_equal(take(SEGMENT, b), 0);
	assert_int_not_equal(take(SEGMENT, b), 0);
	assert_int_equal(take(SEGMENT, b), p);
	fake_release_fences();
	cuEventDestroy_v2(before);
	cuEventDestroy_v2(after);
}

static void the_default_stream_is_ordered_with_blocking_ones(void **state)
{
	CUdeviceptr p = take(SEGMENT, NULL), q;
	CUstream blocking;

	(void)state;
	assert_int_equal(cuStreamCreate(&blocking, CU_STREAM_DEFAULT), CUDA_SUCCESS);
	busy(NULL);
	assert_int_equal(cuMemFreeAsync(p, NULL), CUDA_SUCCESS);
	q = take(MIB, a);
	assert_true(q < p || q >= p + SEGMENT);
	q = take(SEGMENT, blocking);
	assert_int_equal(q, p);
	busy(blocking);
	assert_int_equal(cuMemFreeAsync(q, blocking), CUDA_SUCCESS);
	assert_int_equal(take(SEGMENT, NULL), p);
	fake_release_fences();
	cuStreamDestroy_v2(blocking);
}

static void a_stream_that_goes_leaves_a_fence(void **state)
{
	CUdeviceptr p, q;
	CUstream gone;

	(void)state;
	assert_int_equal(cuStreamCreate(&gone, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
	p = take(SEGMENT, gone);
	busy(gone);
	assert_int_equal(cuMemFreeAsync(p, gone), CUDA_SUCCESS);
	assert_int_equal(cuStreamDestroy_v2(gone), CUDA_SUCCESS);
	assert_int_equal(cuStreamCreate(&gone, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS); // its place, perhaps
	q = take(SEGMENT, gone);
	assert_int_not_equal(q, p);
	fake_release_fences();
	assert_int_equal(take(SEGMENT, gone), p);
	cuStreamDestroy_v2(gone);
}

static void trimming_spares_what_is_used(void **state)
{
	CUdeviceptr p = take(SEGMENT, a), q = take(SEGMENT, a), r = take(2 * SEGMENT, a);

	(void)state;
	assert_int_equal(cuMemFreeAsync(p, a), CUDA_SUCCESS);
	assert_int_equal(cuMemPoolTrimTo(pool, 4 * SEGMENT), CUDA_SUCCESS);
	assert_int_equal(fake.counts[OPCODE_MEM_FREE], 0);
	assert_int_equal(cuMemPoolTrimTo(pool, 3 * SEGMENT), CUDA_SUCCESS);
	assert_int_equal(fake.counts[OPCODE_MEM_FREE], 1); // p
	busy(a);
	assert_int_equal(cuMemFreeAsync(r, a), CUDA_SUCCESS);
	assert_int_equal(cuMemPoolTrimTo(pool, 0), CUDA_SUCCESS);
	assert_int_equal(fake.counts[OPCODE_MEM_FREE], 1); // r may be in use
	fake_release_fences();
	assert_int_equal(cuMemPoolTrimTo(pool, 2 * SEGMENT), CUDA_SUCCESS);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 3 * SEGMENT); // r is more than that
	assert_int_equal(cuMemPoolTrimTo(pool, 0), CUDA_SUCCESS);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), SEGMENT);
	assert_int_equal(cuMemFreeAsync(q, a), CUDA_SUCCESS);
}

static void the_threshold_counts_at_waits(void **state)
{
	uint64_t keep = SEGMENT;
	CUdeviceptr p = take(SEGMENT, a), q = take(SEGMENT, a);

	(void)state;
	assert_int_equal(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep), CUDA_SUCCESS);
	assert_int_equal(cuMemFreeAsync(p, a), CUDA_SUCCESS);
	assert_int_equal(cuMemFreeAsync(q, a), CUDA_SUCCESS);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 2 * SEGMENT);
	assert_int_equal(cuStreamSynchronize(a), CUDA_SUCCESS);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), SEGMENT);
	// Another stream is busy: freeing would have to wait for it.
	p = take(SEGMENT, a);
	q = take(SEGMENT, a);
	assert_int_equal(cuMemFreeAsync(p, a), CUDA_SUCCESS);
	assert_int_equal(cuMemFreeAsync(q, a), CUDA_SUCCESS);
	busy(b);
	fake.hold_fences = 0;
	assert_int_equal(cuStreamSynchronize(a), CUDA_SUCCESS);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 2 * SEGMENT);
	fake_release_fences();
	assert_int_equal(cuStreamSynchronize(b), CUDA_SUCCESS);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), SEGMENT);
}

// The executor has no memory left: what pools hold goes first, whoever asks.
static void pools_give_way(void **state)
{
	CUdeviceptr p = take(SEGMENT, a), q;

	(void)state;
	assert_int_equal(cuMemFreeAsync(p, a), CUDA_SUCCESS);
	fake.fail_opcode = OPCODE_MEM_ALLOC;
	fake.fail_result = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(cuMemAlloc_v2(&q, MIB), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(fake.counts[OPCODE_MEM_FREE], 1);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 0);
	assert_int_equal(cuMemAllocFromPoolAsync(&q, MIB, pool, a), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
	fake.fail_opcode = 0;
	assert_int_not_equal(take(MIB, a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_segment_serves_many, setup, teardown),
		cmocka_unit_test_setup_teardown(a_busy_stream_keeps_its_block, setup, teardown),
		cmocka_unit_test_setup_teardown(whoever_waits_may_have_it, setup, teardown),
		cmocka_unit_test_setup_teardown(the_default_stream_is_ordered_with_blocking_ones, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_stream_that_goes_leaves_a_fence, setup, teardown),
		cmocka_unit_test_setup_teardown(trimming_spares_what_is_used, setup, teardown),
		cmocka_unit_test_setup_teardown(the_threshold_counts_at_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(pools_give_way, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
