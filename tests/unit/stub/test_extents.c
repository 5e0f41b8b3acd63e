// SPDX-License-Identifier: Apache-2.0
// Lists of extents of a guest, translated.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "stub/extents.h"

#define P      4096ull
#define LIST   0x100000ull // guest address of the list
#define MEMORY 0x800000ull
#define PAGES  512u

static struct dma dma;
static struct extents e;
static struct vgpu_extent *list;

static int set_up(void **state)
{
	int lists = memfd_create("list", MFD_CLOEXEC), ram = memfd_create("ram", MFD_CLOEXEC);
	size_t bytes = 300 * P;

	(void)state;
	if (ftruncate(lists, (off_t)bytes) < 0 || ftruncate(ram, 2 * PAGES * P) < 0)
		return -1;
	list = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, lists, 0);
	dma_init(&dma);
	dma_add(&dma, LIST, bytes, lists, 0, true);
	// Two ranges side by side in the guest, the other way round in the file.
	dma_add(&dma, MEMORY, PAGES * P, dup(ram), PAGES * P, true);
	dma_add(&dma, MEMORY + PAGES * P, PAGES * P, ram, 0, true);
	return extents_init(&e);
}

static int tear_down(void **state)
{
	(void)state;
	munmap(list, 300 * P);
	extents_done(&e);
	dma_done(&dma);
	return 0;
}

static void is(unsigned i, uint64_t offset_pages, uint64_t pages)
{
	struct memory_extent got;

	assert_int_equal(pread(e.list, &got, sizeof(got), (off_t)(i * sizeof(got))), sizeof(got));
	assert_int_equal(got.offset, offset_pages * P);
	assert_int_equal(got.bytes, pages * P);
	assert_true(got.memory < e.n_files && !got.reserved);
}

static void put(unsigned i, uint64_t page, uint64_t pages)
{
	list[i] = (struct vgpu_extent){ .address = MEMORY + page * P, .bytes = pages * P };
}

static void touching_ones_are_joined(void **state)
{
	(void)state;
	put(0, 0, 1);
	put(1, 1, 3);
	put(2, 8, 1);
	assert_int_equal(extents_add(&e, &dma, 5, LIST, 3, 5 * P), VGPU_RESULT_OK);
	assert_int_equal(e.n, 2);
	is(0, PAGES, 4);
	is(1, PAGES + 8, 1);
	assert_int_equal(dma_users(&dma, MEMORY, P), 1u << 5);
	assert_int_equal(dma_users(&dma, MEMORY + PAGES * P, P), 0);
}

static void one_over_a_border_is_split(void **state)
{
	(void)state;
	put(0, PAGES - 1, 2);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, 2 * P), VGPU_RESULT_OK);
	assert_int_equal(e.n, 2);
	is(0, 2 * PAGES - 1, 1);
	is(1, 0, 1);
	assert_int_equal(e.n_files, 1);
}

static void parts_are_not_joined(void **state)
{
	(void)state;
	put(0, 0, 1);
	put(1, 1, 1);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, P), VGPU_RESULT_OK);
	assert_int_equal(extents_add(&e, &dma, 0, LIST + sizeof(list[0]), 1, P), VGPU_RESULT_OK);
	assert_int_equal(e.n, 2);
}

static void many(void **state)
{
	const unsigned n = 40000;

	(void)state;
	for (unsigned i = 0; i < n; i++)
		put(i, i % 2 ? 7 : 3, 1);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, n, n * P), VGPU_RESULT_LIMIT);
	extents_done(&e);
	assert_int_equal(extents_init(&e), 0);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, VGPU_MAX_VM_PIECES, VGPU_MAX_VM_PIECES * P),
			 VGPU_RESULT_OK);
	assert_int_equal(e.n, VGPU_MAX_VM_PIECES);
	is(VGPU_MAX_VM_PIECES - 1, PAGES + 7, 1);
}

static void bad_ones(void **state)
{
	(void)state;
	put(0, 0, 1);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, 2 * P), VGPU_RESULT_INVALID); // less
	put(0, 0, 3);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, 2 * P), VGPU_RESULT_INVALID); // more
	put(0, 0, 0);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, 0), VGPU_RESULT_INVALID);
	list[0] = (struct vgpu_extent){ .address = MEMORY + 8, .bytes = P };
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, P), VGPU_RESULT_INVALID);
	list[0] = (struct vgpu_extent){ .address = UINT64_MAX - P + 1, .bytes = P };
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, P), VGPU_RESULT_INVALID);
	put(0, 2 * PAGES - 1, 2); // into nothing
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, 2 * P), VGPU_RESULT_NOT_SHARED);
	put(0, 1u << 20, 1);
	assert_int_equal(extents_add(&e, &dma, 0, LIST, 1, P), VGPU_RESULT_NOT_SHARED);
	assert_int_equal(extents_add(&e, &dma, 0, LIST + 300 * P, 1, P),
			 VGPU_RESULT_INVALID); // no list there
	assert_int_equal(extents_add(&e, &dma, 0, LIST + 300 * P - 16, 2, 2 * P), VGPU_RESULT_INVALID);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(touching_ones_are_joined), TEST(one_over_a_border_is_split),
					    TEST(parts_are_not_joined), TEST(many), TEST(bad_ones) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
