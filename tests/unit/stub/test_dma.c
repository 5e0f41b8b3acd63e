// SPDX-License-Identifier: Apache-2.0
// The table of the VM's memory.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "stub/dma.h"

#define P 4096ull

static struct dma dma;
static int file;

static int set_up(void **state)
{
	(void)state;
	dma_init(&dma);
	file = memfd_create("ram", MFD_CLOEXEC);
	return ftruncate(file, 64 * P);
}

static int tear_down(void **state)
{
	(void)state;
	dma_done(&dma);
	close(file);
	return 0;
}

static void add(uint64_t page, uint64_t pages, uint64_t offset_page)
{
	assert_int_equal(dma_add(&dma, page * P, pages * P, dup(file), offset_page * P, true), 0);
}

static uint64_t where(uint64_t page)
{
	struct dma_piece piece;

	return dma_find(&dma, page * P, P, &piece) ? piece.offset / P : UINT64_MAX;
}

static void finds_what_was_added(void **state)
{
	struct dma_piece piece;

	(void)state;
	add(16, 8, 0);
	add(4, 4, 32);
	add(24, 8, 40);
	assert_int_equal(where(16), 0);
	assert_int_equal(where(23), 7);
	assert_int_equal(where(24), 40);
	assert_int_equal(where(7), 35);
	assert_int_equal(where(8), UINT64_MAX);
	assert_int_equal(where(32), UINT64_MAX);
	assert_int_equal(where(0), UINT64_MAX);
	assert_true(dma_find(&dma, 20 * P, 100 * P, &piece));
	assert_int_equal(piece.bytes, 4 * P); // to the end of its map
	assert_int_equal(dma.files[piece.file].uses, 3);
}

static void one_file_is_kept_once(void **state)
{
	unsigned open_files = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		add(2 * i, 1, i);
	for (unsigned i = 0; i < VGPU_MAX_DMA_FILES; i++)
		open_files += dma.files[i].fd >= 0;
	assert_int_equal(open_files, 1);
}

static void overlaps_are_refused(void **state)
{
	(void)state;
	add(16, 8, 0);
	assert_int_equal(dma_add(&dma, 15 * P, 2 * P, dup(file), 0, true), -EEXIST);
	assert_int_equal(dma_add(&dma, 23 * P, P, -1, 0, true), -EEXIST);
	assert_int_equal(dma_add(&dma, 10 * P, 40 * P, -1, 0, true), -EEXIST);
	add(15, 1, 0);
	add(24, 1, 0);
}

static void what_cannot_be_shared_is_kept_without_a_file(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_int_equal(dma_add(&dma, 0, P, pair[0], 0, true), 0);
	close(pair[1]);
	assert_int_equal(fcntl(pair[0], F_GETFD), -1); // taken over, and closed
	assert_int_equal(dma_add(&dma, P, P, dup(file), 0, false), 0);
	assert_int_equal(dma_add(&dma, 2 * P, P, -1, 0, true), 0);
	assert_int_equal(dma.n_maps, 3);
	assert_int_equal(dma.n_shared, 0);
	assert_int_equal(where(0), UINT64_MAX);
}

static void too_many_files(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VGPU_MAX_DMA_FILES; i++) {
		int fd = memfd_create("another", MFD_CLOEXEC);

		assert_int_equal(dma_add(&dma, i * P, P, fd, 0, true), 0);
	}
	assert_int_equal(dma_add(&dma, 1000 * P, P, dup(file), 0, true), -ENOSPC);
	assert_int_equal(dma_remove(&dma, 0, P), 0);
	add(1000, 1, 0);
}

static void too_many_maps(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < VGPU_MAX_DMA_MAPS; i++)
		assert_int_equal(dma_add(&dma, 2 * i * P, P, -1, 0, true), 0);
	assert_int_equal(dma_add(&dma, P, P, -1, 0, true), -ENOSPC);
}

static void removes_parts(void **state)
{
	(void)state;
	add(16, 8, 0);
	dma.maps[0].channels = 5;
	assert_int_equal(dma_remove(&dma, 18 * P, 2 * P), 0); // a hole
	assert_int_equal(where(17), 1);
	assert_int_equal(where(18), UINT64_MAX);
	assert_int_equal(where(19), UINT64_MAX);
	assert_int_equal(where(20), 4);
	assert_int_equal(dma_users(&dma, 20 * P, P), 5);
	assert_int_equal(dma_remove(&dma, 23 * P, 100 * P), 0); // the end
	assert_int_equal(where(22), 6);
	assert_int_equal(where(23), UINT64_MAX);
	assert_int_equal(dma_remove(&dma, 0, 17 * P), 0); // the beginning
	assert_int_equal(where(16), UINT64_MAX);
	assert_int_equal(where(17), 1);
	assert_int_equal(dma_remove(&dma, 0, UINT64_MAX), 0);
	assert_int_equal(dma.n_maps, 0);
	assert_int_equal(dma.n_shared, 0);
	assert_int_equal(dma.files[0].fd, -1);
	assert_int_equal(dma_remove(&dma, 0, UINT64_MAX), 0);
}

static void users_of_a_range(void **state)
{
	(void)state;
	add(0, 4, 0);
	add(4, 4, 4);
	dma.maps[0].channels = 1;
	dma.maps[1].channels = 2;
	assert_int_equal(dma_users(&dma, 3 * P, P), 1);
	assert_int_equal(dma_users(&dma, 3 * P, 2 * P), 3);
	assert_int_equal(dma_users(&dma, 4 * P, P), 2);
	assert_int_equal(dma_users(&dma, 8 * P, P), 0);
	assert_int_equal(dma_users(&dma, 0, UINT64_MAX), 3);
	dma_forget_channel(&dma, 1);
	assert_int_equal(dma_users(&dma, 0, UINT64_MAX), 1);
}

static void copies_across_maps(void **state)
{
	char out[8] = "", in[8] = "abcdefg";

	(void)state;
	add(0, 1, 10);
	add(1, 1, 5);
	assert_int_equal(dma_write(&dma, P - 4, in, 8), 0);
	assert_int_equal(pread(file, out, 4, 11 * P - 4), 4);
	assert_memory_equal(out, "abcd", 4);
	assert_int_equal(dma_read(&dma, P - 4, out, 8), 0);
	assert_memory_equal(out, in, 8);
	assert_int_equal(dma_read(&dma, 2 * P - 4, out, 8), -EFAULT);
	assert_int_equal(dma_read(&dma, 5 * P, out, 1), -EFAULT);
}

static void a_file_that_was_cut_is_an_error(void **state)
{
	char out[8];

	(void)state;
	add(0, 64, 0);
	assert_int_equal(ftruncate(file, P), 0);
	assert_int_equal(dma_read(&dma, 2 * P, out, 8), -EFAULT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_what_was_added), TEST(one_file_is_kept_once),
		TEST(overlaps_are_refused), TEST(what_cannot_be_shared_is_kept_without_a_file),
		TEST(too_many_files),	    TEST(too_many_maps),
		TEST(removes_parts),	    TEST(users_of_a_range),
		TEST(copies_across_maps),   TEST(a_file_that_was_cut_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
