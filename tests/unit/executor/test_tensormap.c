// SPDX-License-Identifier: Apache-2.0
// executor/tensormap.c: which ranks and addresses reach the backend, and that everything else goes along as
// it is.
#include <string.h>

#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

static struct fixture *f;
static uint64_t dev; // 64 KiB

static int setup(void **state)
{
	(void)state;
	f = fixture_new(fake_backend());
	if (fixture_activate(f))
		return -1;
	dev = fixture_alloc(f, 65536);
	return !dev;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

// The result of that record, which reaches the backend only if it is a success.
static int32_t mapped(const struct record_tensor_map *r, struct reply_tensor_map *ret)
{
	uint64_t before = fake.tensor_maps;
	int32_t result = fixture_call(f, OPCODE_TENSOR_MAP, r, sizeof(*r), NULL, 0, ret, sizeof(*ret));

	assert_int_equal(fake.tensor_maps, before + (result ? 0 : 1));
	return result;
}

static void a_record_travels_whole(void **state)
{
	struct record_tensor_map r;
	struct reply_tensor_map reply;

	(void)state;
	memset(&r, 0x35, sizeof(r));
	r.address = dev + 65535;
	r.kind = TENSOR_MAP_KIND_IM2COL;
	r.rank = 5;
	r.reserved0 = 0;
	assert_int_equal(mapped(&r, &reply), CUDA_SUCCESS);
	assert_memory_equal(&fake.tensor_map, &r, sizeof(r));
	for (unsigned i = 0; i < 16; i++)
		assert_true(reply.map[i] == r.map[i] + r.address + i);
}

static void ranks(void **state)
{
	static const uint32_t least[] = {
		[TENSOR_MAP_KIND_TILED] = 1, [TENSOR_MAP_KIND_IM2COL] = 3, [TENSOR_MAP_KIND_REPLACE] = 0
	};
	struct record_tensor_map r = { .address = dev };
	struct reply_tensor_map reply;

	(void)state;
	for (r.kind = 0; r.kind < 3; r.kind++)
		for (r.rank = 0; r.rank <= 5; r.rank++)
			assert_int_equal(mapped(&r, &reply),
					 r.rank < least[r.kind] ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS);
}

// Whether memory is there is seen when a kernel uses the map.
static void any_address_is_encoded(void **state)
{
	const uint64_t cases[] = { 0, dev, dev - 1, VGPU_HOST_WINDOW_BASE, UINT64_MAX };
	struct reply_tensor_map reply;

	(void)state;
	for (unsigned kind = 0; kind < 3; kind++)
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct record_tensor_map r = { .kind = kind, .rank = 3, .address = cases[i] };

			assert_int_equal(mapped(&r, &reply), CUDA_SUCCESS);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_record_travels_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(ranks, setup, teardown),
		cmocka_unit_test_setup_teardown(any_address_is_encoded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
