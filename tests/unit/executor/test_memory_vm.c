// SPDX-License-Identifier: Apache-2.0
// executor/memory_vm.c: what may be reserved, made and mapped, what is refused, and that nothing is left
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
	return fake.mapped != 0 || fake.physical != 0 || fake.shown != 0 ||
	       atomic_load(&tenant.memory_used) != 0 || atomic_load(&turn.memory_bytes) != 0;
}

static uint64_t reserve(uint64_t size, uint64_t hint)
{
	uint64_t address = 0;

	return memory_reserve(&m, size, hint, &address) ? 0 : address;
}

static struct physical *create(uint64_t size)
{
	struct physical *p = NULL;

	return memory_create(&m, size, 0, &p) ? NULL : p;
}

static void a_whole_life(void **state)
{
	uint64_t at = reserve(8 * GRAIN, 0);
	struct physical *p = create(GRAIN), *q = create(GRAIN);

	(void)state;
	assert_true(at && at % GRAIN == 0 && p && q);
	assert_int_equal(atomic_load(&tenant.memory_used), 2 * GRAIN); // charged before it is mapped
	assert_false(memory_contains(&m, at, 1, VM_ACCESS_READ));      // addresses alone are no memory
	assert_int_equal(memory_map(&m, p, at, GRAIN, 0), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, q, at + GRAIN, GRAIN, 0), CUDA_SUCCESS);
	assert_false(memory_contains(&m, at, 1, VM_ACCESS_READ)); // nor is memory without access
	assert_int_equal(memory_access(&m, at, 2 * GRAIN, VM_ACCESS_READ_WRITE), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), 2 * GRAIN);
	assert_true(memory_contains(&m, at, 2 * GRAIN, VM_ACCESS_READ_WRITE)); // over the border
	assert_false(memory_contains(&m, at, 2 * GRAIN + 1, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, at, UINT64_MAX, VM_ACCESS_READ_WRITE));
	assert_false(memory_is_base(&m, at)); // cuMemFree is not for it
	assert_int_equal(memory_free(&m, at), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unreserve(&m, at), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS); // lives on in its mapping
	assert_int_equal(fake.physical, 2 * GRAIN);
	assert_int_equal(memory_unmap(&m, at, GRAIN), CUDA_SUCCESS);
	assert_int_equal(fake.physical, GRAIN);
	assert_int_equal(atomic_load(&tenant.memory_used), GRAIN);
	assert_int_equal(memory_unmap(&m, at, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unmap(&m, at + GRAIN, GRAIN), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), GRAIN); // the name holds it
	assert_int_equal(memory_unref(&m, q), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), 0);
	assert_int_equal(memory_unreserve(&m, at + GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unreserve(&m, at), CUDA_SUCCESS);
	assert_int_equal(memory_unreserve(&m, at), CUDA_ERROR_INVALID_VALUE);
}

static void one_piece_in_many_places(void **state)
{
	uint64_t at = reserve(16 * GRAIN, 0);
	struct physical *p = create(4 * GRAIN);

	(void)state;
	assert_int_equal(memory_map(&m, p, at, 4 * GRAIN, 0), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, p, at + 4 * GRAIN, 4 * GRAIN, 0), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, p, at + 8 * GRAIN, GRAIN, 3 * GRAIN), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&tenant.memory_used), 4 * GRAIN); // once
	assert_int_equal(fake.shown, 9 * GRAIN);
	// Access is each mapping's own.
	assert_int_equal(memory_access(&m, at, 4 * GRAIN, VM_ACCESS_READ), CUDA_SUCCESS);
	assert_int_equal(memory_access(&m, at + 4 * GRAIN, 5 * GRAIN, VM_ACCESS_READ_WRITE), CUDA_SUCCESS);
	assert_true(memory_contains(&m, at, 9 * GRAIN, VM_ACCESS_READ));
	assert_false(memory_contains(&m, at, 4 * GRAIN, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, at + 4 * GRAIN - 1, 2, VM_ACCESS_READ_WRITE)); // from either side
	assert_true(memory_contains(&m, at + 4 * GRAIN, 5 * GRAIN, VM_ACCESS_READ_WRITE));
	assert_int_equal(memory_access(&m, at + 4 * GRAIN, 4 * GRAIN, VM_ACCESS_NONE), CUDA_SUCCESS);
	assert_false(memory_contains(&m, at, 9 * GRAIN, VM_ACCESS_READ));
	// Parts of a mapping are no mapping.
	assert_int_equal(memory_access(&m, at, GRAIN, VM_ACCESS_NONE), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_access(&m, at, 5 * GRAIN, VM_ACCESS_NONE), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_access(&m, at, 10 * GRAIN, VM_ACCESS_NONE), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_access(&m, at, UINT64_MAX, VM_ACCESS_NONE), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unmap(&m, at, GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unmap(&m, at + GRAIN, 3 * GRAIN), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS);
	assert_int_equal(memory_unmap(&m, at, 8 * GRAIN), CUDA_SUCCESS); // two at once
	assert_int_equal(fake.shown, GRAIN);
	assert_int_equal(fake.physical, 4 * GRAIN); // the last part keeps the whole
	assert_int_equal(memory_unmap(&m, at + 8 * GRAIN, GRAIN), CUDA_SUCCESS);
	assert_int_equal(fake.physical, 0);
}

static void impossible_wishes(void **state)
{
	static const uint64_t sizes[] = { 0, 1, GRAIN - 1, GRAIN + 512, UINT64_MAX, UINT64_MAX - GRAIN + 1 };
	uint64_t at = reserve(4 * GRAIN, 0);
	struct physical *p = create(2 * GRAIN);

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(reserve(sizes[i], 0), 0);
		assert_null(create(sizes[i]));
		assert_int_equal(memory_map(&m, p, at, sizes[i], 0), CUDA_ERROR_INVALID_VALUE);
		if (sizes[i])
			assert_int_equal(memory_map(&m, p, at, GRAIN, sizes[i]), CUDA_ERROR_INVALID_VALUE);
		assert_int_equal(memory_unmap(&m, at, sizes[i]), CUDA_ERROR_INVALID_VALUE);
		assert_int_equal(memory_access(&m, at, sizes[i], VM_ACCESS_READ), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_equal(reserve(2 * SPACE, 0), 0); // more than there are addresses
	assert_null(create(VGPU_WINDOW_BYTES));	    // more than there is memory
	assert_int_equal(memory_map(&m, p, at + 512, GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, p, at, 4 * GRAIN, 0), CUDA_ERROR_INVALID_VALUE); // beyond the piece
	assert_int_equal(memory_map(&m, p, at, 2 * GRAIN, GRAIN), CUDA_ERROR_INVALID_VALUE); // in part
	assert_int_equal(memory_map(&m, p, at, GRAIN, 2 * GRAIN), CUDA_ERROR_INVALID_VALUE); // behind it
	assert_int_equal(memory_map(&m, p, at + 3 * GRAIN, 2 * GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, p, at - GRAIN, GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, p, UINT64_MAX - GRAIN + 1, GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, p, 0, GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.shown, 0);
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS);
}

// Neither reservations nor mappings may lie where something is, and plain allocations keep away from both.
static void nothing_overlaps(void **state)
{
	uint64_t at = reserve(4 * GRAIN, 0), other, charged, plain;
	struct physical *p = create(2 * GRAIN);

	(void)state;
	other = reserve(2 * GRAIN, at + 2 * GRAIN); // taken: another place
	assert_true(other && (other >= at + 4 * GRAIN || other + 2 * GRAIN <= at));
	assert_int_equal(memory_map(&m, p, at + GRAIN, 2 * GRAIN, 0), CUDA_SUCCESS);
	assert_int_equal(memory_map(&m, p, at, 2 * GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, p, at + GRAIN, GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_map(&m, p, at + 2 * GRAIN, 2 * GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(memory_alloc(&m, 2 * GRAIN, &plain, &charged), CUDA_SUCCESS);
		assert_true(plain + 2 * GRAIN <= at || plain >= at + 4 * GRAIN);
		assert_true(plain + 2 * GRAIN <= other || plain >= other + 2 * GRAIN);
		// A plain allocation is no place to map to, nor anything whose access can be set.
		assert_int_equal(memory_map(&m, p, plain, GRAIN, 0), CUDA_ERROR_INVALID_VALUE);
		assert_int_equal(memory_access(&m, plain, 2 * GRAIN, VM_ACCESS_NONE),
				 CUDA_ERROR_INVALID_VALUE);
		assert_int_equal(memory_unmap(&m, plain, 2 * GRAIN), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS);
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
	struct physical *p;

	(void)state;
	atomic_store(&tenant.memory_quota, 3 * GRAIN);
	p = create(2 * GRAIN);
	assert_non_null(p);
	assert_null(create(2 * GRAIN));
	assert_int_equal(memory_alloc(&m, 2 * GRAIN, &address, &charged), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(memory_map(&m, p, at, 2 * GRAIN, 0), CUDA_SUCCESS);
	assert_null(create(2 * GRAIN));
	assert_int_equal(memory_unmap(&m, at, 2 * GRAIN), CUDA_SUCCESS);
	assert_null(create(2 * GRAIN)); // the name holds it still
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS);
	p = create(3 * GRAIN);
	assert_non_null(p);
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS);
}

static void a_refusing_backend_changes_nothing(void **state)
{
	uint64_t at = reserve(GRAIN, 0);
	struct physical *p = create(GRAIN);

	(void)state;
	fake.refuse_map = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(memory_map(&m, p, at, GRAIN, 0), CUDA_ERROR_OUT_OF_MEMORY);
	assert_false(memory_is_mapped(&m, at, GRAIN));
	fake.refuse_map = 0;
	assert_int_equal(memory_map(&m, p, at, GRAIN, 0), CUDA_SUCCESS);
	fake.refuse_map = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(memory_access(&m, at, GRAIN, VM_ACCESS_READ), CUDA_ERROR_OUT_OF_MEMORY);
	assert_false(memory_contains(&m, at, 1, VM_ACCESS_READ));
	assert_int_equal(memory_unref(&m, p), CUDA_SUCCESS);
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
		cmocka_unit_test_setup_teardown(one_piece_in_many_places, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_wishes, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_overlaps, setup, teardown),
		cmocka_unit_test_setup_teardown(hints_are_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(the_quota_holds_at_creation, setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusing_backend_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(reservations_have_a_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
