// SPDX-License-Identifier: Apache-2.0
// executor/memory.c: a random program against a simple model, the quota to the granule, exhaustion and
// recovery.
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
	return memory_init(&m, fake_backend(), NULL, BASE, BACKEND_PRIVATE_WINDOW_BYTES + SPACE, &turn,
			   &tenant);
}

static int teardown(void **state)
{
	(void)state;
	memory_clear(&m);
	memory_done(&m);
	return fake.mapped != 0 || atomic_load(&tenant.memory_used) != 0 ||
	       atomic_load(&turn.memory_bytes) != 0;
}

static uint64_t alloc(uint64_t size)
{
	uint64_t address = 0, charged;

	return memory_alloc(&m, size, &address, &charged) ? 0 : address;
}

static void books_agree(uint64_t expected)
{
	assert_int_equal(fake.mapped, expected);
	assert_int_equal(atomic_load(&tenant.memory_used), expected);
	assert_int_equal(atomic_load(&turn.memory_bytes), expected);
}

static void sizes_and_charges(void **state)
{
	uint64_t address, charged;

	(void)state;
	assert_int_equal(memory_alloc(&m, 0, &address, &charged), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_alloc(&m, 1, &address, &charged), CUDA_SUCCESS);
	assert_int_equal(charged, GRAIN);
	assert_int_equal(memory_alloc(&m, VGPU_KIB(100), &address, &charged), CUDA_SUCCESS);
	assert_int_equal(charged, 0); // the first one's chunk had room
	assert_int_equal(address % MEMORY_UNIT, 0);
	books_agree(GRAIN);
	assert_int_equal(memory_alloc(&m, GRAIN + 1, &address, &charged), CUDA_SUCCESS);
	assert_int_equal(charged, 2 * GRAIN);
	assert_int_equal(address % GRAIN, 0);
	books_agree(3 * GRAIN);
	assert_int_equal(memory_free(&m, address + 512), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(memory_free(&m, address), CUDA_SUCCESS);
	assert_int_equal(memory_free(&m, address), CUDA_ERROR_INVALID_VALUE);
	books_agree(GRAIN);
}

static void impossible_sizes_change_nothing(void **state)
{
	static const uint64_t sizes[] = { SPACE + 1,  VGPU_TIB(1),	  VGPU_TIB(1) + 1,
					  UINT64_MAX, UINT64_MAX - GRAIN, 1ull << 63 };
	uint64_t address = 42, charged = 42;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_int_equal(memory_alloc(&m, sizes[i], &address, &charged), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(address, 42);
	books_agree(0);
	assert_int_equal(alloc(SPACE), BASE);
}

static void the_quota_is_exact_to_the_granule(void **state)
{
	uint64_t a, others = 5 * GRAIN;

	(void)state;
	atomic_store(&tenant.memory_quota, 10 * GRAIN);
	atomic_store(&tenant.memory_used, others); // of other processes of the tenant
	assert_int_equal(alloc(5 * GRAIN + 1), 0);
	a = alloc(5 * GRAIN);
	assert_int_not_equal(a, 0);
	assert_int_equal(alloc(1), 0);
	assert_int_equal(atomic_load(&tenant.memory_used), 10 * GRAIN);
	memory_free(&m, a);
	a = alloc(5 * GRAIN - GRAIN / 2 - GRAIN);
	assert_int_not_equal(a, 0);
	assert_int_not_equal(alloc(1), 0); // the last granule, shared by small ones
	assert_int_not_equal(alloc(1), 0);
	assert_int_equal(alloc(GRAIN), 0);
	memory_clear(&m);
	assert_int_equal(atomic_load(&tenant.memory_used), others);
	atomic_store(&tenant.memory_quota, GRAIN); // lowered below what is used: nothing more, no underflow
	assert_int_equal(alloc(1), 0);
	atomic_store(&tenant.memory_used, 0);
}

static void a_backend_without_memory_loses_nothing(void **state)
{
	(void)state;
	fake.refuse_map = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(alloc(1), 0);
	assert_int_equal(alloc(SPACE), 0);
	books_agree(0);
	fake.refuse_map = 0;
	assert_int_equal(alloc(SPACE), BASE);
}

static void exhaustion_and_recovery(void **state)
{
	enum { N = SPACE / GRAIN };
	uint64_t at[N];

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		at[i] = alloc(GRAIN);
		assert_int_not_equal(at[i], 0);
	}
	assert_int_equal(alloc(1), 0);
	for (unsigned i = 0; i < N; i += 2)
		memory_free(&m, at[i]);
	assert_int_equal(alloc(2 * GRAIN), 0); // all holes are single granules
	assert_int_not_equal(alloc(GRAIN), 0);
	memory_clear(&m);
	assert_int_equal(alloc(SPACE), BASE); // the holes grew together
}

static void containment(void **state)
{
	uint64_t a = alloc(1000), b = alloc(3 * GRAIN - 5);
	bool is_new;

	(void)state;
	assert_true(memory_contains(&m, a, 1000, VM_ACCESS_READ_WRITE));
	assert_true(memory_contains(&m, a + 999, 1, VM_ACCESS_READ_WRITE));
	assert_true(memory_contains(&m, a + 1000, 0, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, a + 999, 2, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, a - 1, 2, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, a, UINT64_MAX, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, UINT64_MAX, 2, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, 0, 1, VM_ACCESS_READ_WRITE));
	assert_true(memory_contains(&m, b, 3 * GRAIN - 5, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&m, b, 3 * GRAIN - 4, VM_ACCESS_READ_WRITE));
	assert_int_equal(memory_add_foreign(&m, 0x7f0000000000, 64, &is_new), CUDA_SUCCESS);
	assert_true(is_new);
	assert_int_equal(memory_add_foreign(&m, 0x7f0000000000, 64, &is_new), CUDA_SUCCESS);
	assert_false(is_new);
	assert_true(memory_contains(&m, 0x7f0000000010, 48, VM_ACCESS_READ_WRITE));
	assert_false(memory_is_base(&m, 0x7f0000000000));
	assert_int_equal(memory_free(&m, 0x7f0000000000), CUDA_ERROR_INVALID_VALUE);
	memory_remove_foreign(&m, 0x7f0000000000);
	assert_false(memory_contains(&m, 0x7f0000000010, 48, VM_ACCESS_READ_WRITE));
}

static void the_quota_is_the_card(void **state)
{
	uint64_t free_bytes, total;

	(void)state;
	(void)alloc(1);
	atomic_store(&tenant.memory_quota, 100 * GRAIN);
	m.backend = calloc(1, 4096); // the null backend's mem_available reads one counter of it
	assert_non_null(m.backend);
	assert_int_equal(memory_info(&m, &free_bytes, &total), CUDA_SUCCESS);
	assert_int_equal(total, 100 * GRAIN);
	assert_int_equal(free_bytes, 99 * GRAIN);
	free(m.backend);
	m.backend = NULL;
}

// ---- a random program against a model ----

enum { SLOTS = 200, STEPS = 60000 };

struct piece {
	uint64_t address, size;
};

static void check_apart(const struct piece *pieces, const struct piece *one)
{
	assert_int_equal(one->address % MEMORY_UNIT, 0);
	assert_true(one->address >= BASE && one->address + one->size <= BASE + SPACE);
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct piece *other = &pieces[i];

		if (other->size && other != one)
			assert_true(one->address + one->size <= other->address ||
				    other->address + other->size <= one->address);
	}
}

// Granules that must be mapped: own ones, and each chunk that holds a small piece.
static uint64_t expected_charge(const struct piece *pieces)
{
	uint8_t chunk_used[SPACE / GRAIN] = { 0 };
	uint64_t sum = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		if (!pieces[i].size)
			continue;
		if (pieces[i].size > GRAIN / 2)
			sum += (pieces[i].size + GRAIN - 1) / GRAIN * GRAIN;
		else
			chunk_used[(pieces[i].address - BASE) / GRAIN] = 1;
	}
	for (unsigned i = 0; i < SPACE / GRAIN; i++)
		sum += chunk_used[i] * GRAIN;
	return sum;
}

static uint64_t random_size(void)
{
	switch (rand() % 4) {
	case 0: return 1 + (uint64_t)rand() % 2000;
	case 1: return 1 + (uint64_t)rand() % (GRAIN / 2);
	case 2: return 1 + (uint64_t)rand() % GRAIN;
	default: return 1 + (uint64_t)rand() % (8 * GRAIN);
	}
}

static void random_programs_agree_with_a_model(void **state)
{
	static struct piece pieces[SLOTS];
	unsigned refused = 0;

	(void)state;
	memset(pieces, 0, sizeof(pieces));
	srand(7);
	for (unsigned step = 0; step < STEPS; step++) {
		struct piece *p = &pieces[rand() % SLOTS];

		if (p->size) {
			assert_int_equal(memory_free(&m, p->address), CUDA_SUCCESS);
			p->size = 0;
		} else {
			uint64_t size = random_size();

			p->address = alloc(size);
			p->size = p->address ? size : 0;
			if (p->size)
				check_apart(pieces, p);
			else
				refused++;
		}
		if (step % 16 == 0)
			books_agree(expected_charge(pieces));
	}
	assert_true(refused > 100); // the window was full at times
	assert_true(refused < STEPS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes_and_charges, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_sizes_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_quota_is_exact_to_the_granule, setup, teardown),
		cmocka_unit_test_setup_teardown(a_backend_without_memory_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(exhaustion_and_recovery, setup, teardown),
		cmocka_unit_test_setup_teardown(containment, setup, teardown),
		cmocka_unit_test_setup_teardown(the_quota_is_the_card, setup, teardown),
		cmocka_unit_test_setup_teardown(random_programs_agree_with_a_model, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
