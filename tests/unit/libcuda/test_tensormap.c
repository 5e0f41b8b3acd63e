// SPDX-License-Identifier: Apache-2.0
// Tensor maps: what of the program's arrays travels, and what is refused before anything is read.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

static CUtensorMap map;
static const uint64_t dims[] = { 11, 12, 13, 14, 15, 99 }, strides[] = { 21, 22, 23, 24, 99 };
static const uint32_t box[] = { 31, 32, 33, 34, 35, 99 }, steps[] = { 41, 42, 43, 44, 45, 99 };
static const int lower[] = { -1, -2, -3, 99 }, upper[] = { 1, 2, 3, 99 };
#define ADDRESS ((void *)0x1230)

static int set_up(void **state)
{
	CUcontext ctx;

	(void)state;
	return cuInit(0) || cuCtxCreate_v2(&ctx, 0, 0);
}

static CUresult tiled(uint32_t rank)
{
	return cuTensorMapEncodeTiled(&map, 7, rank, ADDRESS, dims, rank > 1 ? strides : NULL, box, steps, 1,
				      2, 3, 1);
}

static CUresult im2col(uint32_t rank)
{
	return cuTensorMapEncodeIm2col(&map, 7, rank, ADDRESS, dims, strides, lower, upper, 64, 8, steps, 1,
				       2, 3, 1);
}

static void expect_common(uint32_t kind, uint32_t rank)
{
	const struct record_tensor_map *r = &fake.tensor_map;

	assert_int_equal(r->kind, kind);
	assert_int_equal(r->rank, rank);
	assert_int_equal(r->address, 0x1230);
	assert_int_equal(r->data_type, 7);
	assert_int_equal(r->interleave, 1);
	assert_int_equal(r->swizzle, 2);
	assert_int_equal(r->promotion, 3);
	assert_int_equal(r->fill, 1);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(r->dims[i], i < rank ? dims[i] : 0); // nothing behind the arrays is read
		assert_int_equal(r->element_strides[i], i < rank ? steps[i] : 0);
		if (i < 4)
			assert_int_equal(r->strides[i], i + 1 < rank ? strides[i] : 0);
	}
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(map.opaque[i], i + 1); // the executor's answer
}

static void tiled_maps_travel(void **state)
{
	(void)state;
	for (uint32_t rank = 1; rank <= 5; rank++) {
		fake_reset();
		memset(&map, 0x77, sizeof(map)); // what was there plays no part
		assert_int_equal(tiled(rank), 0);
		expect_common(TENSOR_MAP_KIND_TILED, rank);
		for (uint32_t i = 0; i < 5; i++)
			assert_int_equal(fake.tensor_map.box[i], i < rank ? box[i] : 0);
	}
}

static void im2col_maps_travel(void **state)
{
	(void)state;
	for (uint32_t rank = 3; rank <= 5; rank++) {
		fake_reset();
		memset(&map, 0x77, sizeof(map));
		assert_int_equal(im2col(rank), 0);
		expect_common(TENSOR_MAP_KIND_IM2COL, rank);
		assert_int_equal(fake.tensor_map.channels, 64);
		assert_int_equal(fake.tensor_map.pixels, 8);
		for (uint32_t i = 0; i < 3; i++) {
			assert_int_equal(fake.tensor_map.lower[i], i + 2 < rank ? lower[i] : 0);
			assert_int_equal(fake.tensor_map.upper[i], i + 2 < rank ? upper[i] : 0);
		}
	}
}

static void an_address_is_replaced_in_place(void **state)
{
	(void)state;
	fake_reset();
	for (uint64_t i = 0; i < 16; i++)
		map.opaque[i] = 100 * i;
	assert_int_equal(cuTensorMapReplaceAddress(&map, ADDRESS), 0);
	assert_int_equal(fake.tensor_map.kind, TENSOR_MAP_KIND_REPLACE);
	assert_int_equal(fake.tensor_map.address, 0x1230);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(map.opaque[i], 101 * i + 1);
}

static void what_cannot_be_is_refused_at_once(void **state)
{
	CUtensorMap *crooked = (CUtensorMap *)((uintptr_t)&map + 32);

	(void)state;
	fake_reset();
	assert_int_equal(tiled(0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(tiled(6), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(tiled(UINT32_MAX), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(im2col(2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(im2col(6), CUDA_ERROR_INVALID_VALUE);
#define TILED(m, d, s, b, e) cuTensorMapEncodeTiled(m, 7, 3, ADDRESS, d, s, b, e, 0, 0, 0, 0)
	assert_int_equal(TILED(NULL, dims, strides, box, steps), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(TILED(crooked, dims, strides, box, steps), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(TILED(&map, NULL, strides, box, steps), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(TILED(&map, dims, NULL, box, steps), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(TILED(&map, dims, strides, NULL, steps), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(TILED(&map, dims, strides, box, NULL), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuTensorMapEncodeIm2col(&map, 7, 3, ADDRESS, dims, strides, NULL, upper, 64, 8,
						 steps, 0, 0, 0, 0),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuTensorMapReplaceAddress(NULL, ADDRESS), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuTensorMapReplaceAddress(crooked, ADDRESS), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_TENSOR_MAP], 0);
}

static void a_refusal_leaves_the_map(void **state)
{
	(void)state;
	fake_reset();
	memset(&map, 0x77, sizeof(map));
	fake.fail_opcode = OPCODE_TENSOR_MAP;
	fake.fail_result = CUDA_ERROR_NOT_SUPPORTED;
	assert_int_equal(tiled(2), CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(map.opaque[15], 0x7777777777777777);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiled_maps_travel),
		cmocka_unit_test(im2col_maps_travel),
		cmocka_unit_test(an_address_is_replaced_in_place),
		cmocka_unit_test(what_cannot_be_is_refused_at_once),
		cmocka_unit_test(a_refusal_leaves_the_map),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
