// SPDX-License-Identifier: Apache-2.0
// executor/memory_vm.c: what may be reserved, set aside and mapped, what is refused, and that nothing is left
// behind.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "executor/memory.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define BASE  VGPU_DEVICE_WINDOW_BASE
#define SPACE VGPU_MIB(256) // for allocations
#define GRAIN VGPU_MIB(2)

static struct vgpu_turn_page turn;
static struct vgpu_tenant_page tenant;
static struct memory m;

static int setup(void **state)
{
	(void)state;
	memset(&turn, 0, sizeof(turn));
	memset(&tenant, 0, sizeof(tenant));
	// The null backend's mem_available reads one counter of it.
	return memory_init(&m, fake_backend(), calloc(1, 4096), BASE, BACKEND_PRIVATE_WINDOW_BYTES + SPACE,
			   &turn, &tenant);
}

// Whatever a test leaves is given back by memory_clear; the books must say so.
static int teardown(void **state)
{
	(void)state;
	memory_clear(&m);
	memory_done(&m);
	free(m.backend);
	return fake.mapped != 0 || atomic_load(&tenant.memory_used) != 0 ||
	       atomic_load(&turn.memory_bytes) != 0;
}

static uint64_t reserve(uint64_t size, uint64_t hint)
{
	uint64_t address = 0;

	return memory_reserve(&m, size, hint, &address) ? 0 : address;
}

static void a_whole_life(void **state)
{
	uint64_t at = reserve(8 * GRAIN, 0);

	(void)state;
	assert_true(at && at % GRAIN == 0);
	assert_int_equal(memory_create(&m, 2 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), 2 * GRAIN); // charged before it is mapped
	assert_int_equal(fake.mapped, 0);
	assert_false(memory_contains(&m, at, 1)); // addresses alone are no memory
	assert_int_equal(memory_map(&m, at, GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, at + GRAIN, GRAIN), CUDA_SUCCESS);
	assert_int_equal(fake.mapped, 2 * GRAIN);
	assert_int_equal(atomic_load(&tenant.memory_used), 2 * GRAIN);
	assert_true(memory_contains(&m, at, 2 * GRAIN)); // over the border
	assert_false(memory_contains(&m, at, 2 * GRAIN + 1));
	assert_false(memory_contains(&m, at, UINT64_MAX));
	assert_false(memory_is_base(&m, at)); // cuMemFree is not for it
	assert_int_equal(memory_free(&m, at), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unreserve(&m, at), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unmap(&m, at, 2 * GRAIN), CUDA_ERROR_INVALID_VALUE); // they are two
	assert_int_equal(memory_unmap(&m, at, GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_unmap(&m, at, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unmap(&m, at + GRAIN, GRAIN), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), 0);
	assert_int_equal(memory_unreserve(&m, at + GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unreserve(&m, at), CUDA_SUCCESS);
	assert_int_equal(memory_unreserve(&m, at), CUDA_ERROR_INVALID_VALUE);
}

static void impossible_wishes(void **state)
{
	static const uint64_t sizes[] = { 0, 1, GRAIN - 1, GRAIN + 512, UINT64_MAX, UINT64_MAX - GRAIN + 1 };
	uint64_t at = reserve(2 * GRAIN, 0);

	(void)state;
	assert_int_equal(memory_create(&m, 2 * GRAIN), CUDA_SUCCESS);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(reserve(sizes[i], 0), 0);
		assert_int_not_equal(memory_create(&m, sizes[i]), CUDA_SUCCESS);
		assert_int_equal(memory_map(&m, at, sizes[i]), CUDA_ERROR_INVALID_VALUE);
		assert_int_equal(memory_unmap(&m, at, sizes[i]), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_equal(reserve(2 * SPACE, 0), 0); // more than there are addresses
	assert_int_equal(memory_map(&m, at + 512, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, at + GRAIN, 2 * GRAIN), CUDA_ERROR_INVALID_VALUE); // beyond the end
	assert_int_equal(memory_map(&m, at - GRAIN, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, UINT64_MAX - GRAIN + 1, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, 0, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.mapped, 0);
	assert_int_equal(memory_release(&m, 2 * GRAIN + 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_release(&m, UINT64_MAX), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_release(&m, 2 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, at, GRAIN), CUDA_ERROR_INVALID_VALUE); // nothing is aside any more
}

// Neither reservations nor mappings may lie where something is, and plain allocations keep away from both.
static void nothing_overlaps(void **state)
{
	uint64_t at = reserve(4 * GRAIN, 0), other, charged, plain;

	(void)state;
	other = reserve(2 * GRAIN, at + 2 * GRAIN); // taken: another place
	assert_true(other && (other >= at + 4 * GRAIN || other + 2 * GRAIN <= at));
	assert_int_equal(memory_create(&m, 4 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, at + GRAIN, 2 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, at, 2 * GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, at + GRAIN, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, at + 2 * GRAIN, 2 * GRAIN), CUDA_ERROR_INVALID_VALUE);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(memory_alloc(&m, 2 * GRAIN, &plain, &charged), CUDA_SUCCESS);
		assert_true(plain + 2 * GRAIN <= at || plain >= at + 4 * GRAIN);
		assert_true(plain + 2 * GRAIN <= other || plain >= other + 2 * GRAIN);
		// A plain allocation is no place to map to.
		assert_int_equal(memory_map(&m, plain, GRAIN), CUDA_ERROR_INVALID_VALUE);
	}
}

static void hints_are_heard(void **state)
{
	uint64_t at = reserve(8 * GRAIN, 0), end = BASE + SPACE;

	(void)state;
	assert_int_equal(memory_unreserve(&m, at), CUDA_SUCCESS);
	assert_int_equal(reserve(2 * GRAIN, at + 4 * GRAIN), at + 4 * GRAIN); // out of the middle
	assert_int_equal(reserve(2 * GRAIN, end - 2 * GRAIN), end - 2 * GRAIN);
	assert_int_not_equal(reserve(2 * GRAIN, end - GRAIN), end - GRAIN); // reaches into the backend's part
	assert_int_not_equal(reserve(GRAIN, at + 512), at + 512);
	assert_int_not_equal(reserve(GRAIN, UINT64_MAX - GRAIN + 1), UINT64_MAX - GRAIN + 1);
	assert_int_equal(memory_unreserve(&m, at + 4 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_unreserve(&m, end - 2 * GRAIN), CUDA_SUCCESS);
}

static void the_quota_holds_at_creation(void **state)
{
	uint64_t at = reserve(4 * GRAIN, 0), address, charged;

	(void)state;
	atomic_store(&tenant.memory_quota, 3 * GRAIN);
	assert_int_equal(memory_create(&m, 2 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_create(&m, 2 * GRAIN), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(memory_alloc(&m, 2 * GRAIN, &address, &charged), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(memory_map(&m, at, 2 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_create(&m, 2 * GRAIN), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(memory_unmap(&m, at, 2 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(memory_create(&m, 3 * GRAIN), CUDA_SUCCESS);
}

// A backend that refuses the mapping: what was set aside stays aside.
static void a_refused_mapping_changes_nothing(void **state)
{
	uint64_t at = reserve(GRAIN, 0);

	(void)state;
	assert_int_equal(memory_create(&m, GRAIN), CUDA_SUCCESS);
	fake.refuse_map = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(memory_map(&m, at, GRAIN), CUDA_ERROR_OUT_OF_MEMORY);
	assert_false(memory_contains(&m, at, 1));
	fake.refuse_map = 0;
	assert_int_equal(memory_map(&m, at, GRAIN), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), GRAIN);
}

static void reservations_have_a_limit(void **state)
{
	unsigned n = 0;

	(void)state;
	while (reserve(GRAIN, 0))
		n++;
	assert_int_equal(n, SPACE / GRAIN); // the window is full here before the limit is reached
	assert_true(n < VGPU_MAX_RESERVATIONS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_whole_life, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_wishes, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_overlaps, setup, teardown),
		cmocka_unit_test_setup_teardown(hints_are_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(the_quota_holds_at_creation, setup, teardown),
		cmocka_unit_test_setup_teardown(a_refused_mapping_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(reservations_have_a_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
