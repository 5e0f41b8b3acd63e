// SPDX-License-Identifier: Apache-2.0
// The cpu backend's search for PTX in an image, with fat binaries packed by hand, and its tables of ranges.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "executor/backends/cpu/cpu_backend.h"
#include "executor/backends/cpu/cpu_image.h"

static unsigned char fat[1024];
static size_t fat_bytes;
static char error[200];

static void put(size_t at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		fat[at + i] = (unsigned char)(value >> (8 * i));
}

static void begin(void)
{
	memset(fat, 0, sizeof(fat));
	put(0, 0xba55ed50u, 4);
	put(4, 1, 2);
	put(6, 16, 2);
	fat_bytes = 16;
}

static void entry(unsigned kind, unsigned sm, uint64_t flags, const void *data, size_t bytes, uint64_t plain)
{
	size_t stored = (bytes + 7) & ~(size_t)7;

	put(fat_bytes, kind, 2);
	put(fat_bytes + 2, 0x101, 2);
	put(fat_bytes + 4, 64, 4);
	put(fat_bytes + 8, stored, 8);
	put(fat_bytes + 0x10, plain ? bytes : 0, 4);
	put(fat_bytes + 0x1c, sm, 4);
	put(fat_bytes + 0x28, flags, 8);
	put(fat_bytes + 0x38, plain, 8);
	memcpy(fat + fat_bytes + 64, data, bytes);
	fat_bytes += 64 + stored;
	put(8, fat_bytes - 16, 8);
}

static int find(struct cpu_image *ret)
{
	// A copy of exact size, so that a checker sees every read behind it.
	unsigned char *copy = malloc(fat_bytes);
	int result;

	memcpy(copy, fat, fat_bytes);
	result = cpu_image_ptx(copy, fat_bytes, 80, ret, error, sizeof(error));
	if (!result && !ret->owned) {
		ret->owned = calloc(1, ret->bytes + 1);
		memcpy(ret->owned, ret->text, ret->bytes);
		ret->text = ret->owned;
	}
	free(copy);
	return result;
}

static void text_is_taken_as_it_is(void **state)
{
	struct cpu_image image;

	(void)state;
	assert_int_equal(cpu_image_ptx(".version 7.0", 12, 80, &image, error, sizeof(error)), 0);
	assert_int_equal(image.bytes, 12);
	assert_int_equal(cpu_image_ptx("// one\n/* two */ .v", 20, 80, &image, error, sizeof(error)), 0);
	assert_int_equal(image.bytes, 20);
	assert_int_equal(cpu_image_ptx("", 0, 80, &image, error, sizeof(error)), CUDA_ERROR_INVALID_IMAGE);
	assert_int_equal(cpu_image_ptx("no image", 8, 80, &image, error, sizeof(error)),
			 CUDA_ERROR_INVALID_IMAGE);
	assert_int_equal(cpu_image_ptx("/* .v", 5, 80, &image, error, sizeof(error)),
			 CUDA_ERROR_INVALID_IMAGE);
	assert_int_equal(cpu_image_ptx("// .v", 5, 80, &image, error, sizeof(error)),
			 CUDA_ERROR_INVALID_IMAGE);
}

static void highest_target_that_fits_is_taken(void **state)
{
	struct cpu_image image;

	(void)state;
	begin();
	entry(2, 75, 0x11, "\177ELFcode", 8, 0);
	entry(1, 52, 0x11, "fifty-two", 10, 0);
	entry(1, 80, 0x11, "eighty", 7, 0);
	entry(1, 75, 0x11, "seventy-five", 13, 0);
	entry(1, 90, 0x11, "ninety", 7, 0);
	assert_int_equal(find(&image), 0);
	assert_string_equal(image.text, "eighty");
	free(image.owned);
}

static void what_cannot_run_is_explained(void **state)
{
	struct cpu_image image;

	(void)state;
	begin();
	entry(2, 75, 0x11, "\177ELFcode", 8, 0);
	assert_int_equal(find(&image), CUDA_ERROR_NO_BINARY_FOR_GPU);
	assert_non_null(strstr(error, "no PTX"));
	entry(1, 90, 0x11, "ninety", 7, 0);
	assert_int_equal(find(&image), CUDA_ERROR_NO_BINARY_FOR_GPU);
	assert_non_null(strstr(error, "sm_90"));
	entry(1, 75, 0x8011, "\x28\xb5\x2f\xfd", 4, 100);
#ifdef VGPU_HAVE_ZSTD
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE); // the beginning of a frame only
	assert_non_null(strstr(error, "does not unpack"));
#else
	assert_int_equal(find(&image), CUDA_ERROR_NO_BINARY_FOR_GPU);
	assert_non_null(strstr(error, "zstd"));
#endif
	assert_int_equal(cpu_image_ptx("\177ELF", 4, 80, &image, error, sizeof(error)),
			 CUDA_ERROR_NO_BINARY_FOR_GPU);
	assert_non_null(strstr(error, "cubin"));
	assert_int_equal(cpu_image_ptx("\xb1\x43\x62\x46", 4, 80, &image, error, sizeof(error)),
			 CUDA_ERROR_INVALID_IMAGE);
}

static void closest_code_is_taken(void **state)
{
	struct fatbin_entry piece;

	(void)state;
	begin();
	assert_false(cpu_image_code(fat, fat_bytes, 80, &piece));
	entry(1, 80, 0x11, "eighty", 7, 0);
	assert_false(cpu_image_code(fat, fat_bytes, 80, &piece));
	entry(2, 120, 0x11, "above", 6, 0);
	entry(2, 90, 0x8011, "closer", 7, 100);
	assert_true(cpu_image_code(fat, fat_bytes, 80, &piece));
	assert_int_equal(piece.sm, 90);
	assert_true(fatbin_is_packed(&piece));
	entry(2, 60, 0x11, "below", 6, 0);
	entry(2, 75, 0x11, "best", 5, 0);
	entry(2, 70, 0x11, "worse", 6, 0);
	assert_true(cpu_image_code(fat, fat_bytes, 80, &piece));
	assert_int_equal(piece.sm, 75);
	assert_false(fatbin_is_packed(&piece));
	assert_string_equal((const char *)piece.payload, "best");
	put(8, fat_bytes, 8); // longer than the image
	assert_false(cpu_image_code(fat, fat_bytes, 80, &piece));
	assert_true(cpu_image_code("\177ELF", 4, 80, &piece));
	assert_false(cpu_image_code(".version", 8, 80, &piece));
}

static void lz4_is_unpacked(void **state)
{
	// 4 literals "abcd", a match of 8 at distance 4, 2 literals "xy".
	static const unsigned char packed[] = { 0x44, 'a', 'b', 'c', 'd', 4, 0, 0x20, 'x', 'y' };
	// One literal repeated 300 times: a match length of 15 + 255 + 25, minus 4 and the literal.
	static const unsigned char longer[] = { 0x1f, 'z', 1, 0, 255, 25, 0x00 };
	unsigned char broken[sizeof(packed)];
	struct cpu_image image;

	(void)state;
	begin();
	entry(1, 75, 0x2011, packed, sizeof(packed), 14);
	assert_int_equal(find(&image), 0);
	assert_int_equal(image.bytes, 14);
	assert_memory_equal(image.text, "abcdabcdabcdxy", 14);
	free(image.owned);
	begin();
	entry(1, 75, 0x2011, longer, sizeof(longer), 300);
	assert_int_equal(find(&image), 0);
	assert_int_equal(image.text[0] + image.text[299], 2 * 'z');
	free(image.owned);
	for (unsigned at = 0; at < sizeof(packed); at++)
		for (unsigned value = 0; value < 256; value += 5) {
			memcpy(broken, packed, sizeof(packed));
			broken[at] = (unsigned char)value;
			begin();
			entry(1, 75, 0x2011, broken, sizeof(broken), 14);
			if (!find(&image))
				free(image.owned);
		}
	begin();
	entry(1, 75, 0x2011, packed, sizeof(packed), 13);
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
	begin();
	entry(1, 75, 0x2011,
	      "\x44"
	      "abcd\x09",
	      7, 14); // further back than the beginning
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
}

static void lengths_are_not_believed(void **state)
{
	struct cpu_image image;

	(void)state;
	for (size_t cut = 0; cut < 16 + 64 + 8; cut++) {
		begin();
		entry(1, 75, 0x11, "text", 4, 0);
		fat_bytes = cut;
		if (cut >= 4)
			assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
	}
	begin();
	entry(1, 75, 0x11, "text", 4, 0);
	put(16 + 8, UINT64_MAX - 10, 8); // the payload's length
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
	begin();
	entry(1, 75, 0x11, "text", 4, 0);
	put(16 + 4, 0xffffffff, 4); // the entry header's
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
	put(16 + 4, 0, 4); // would never get on
	put(16 + 8, 0, 8);
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
	begin();
	entry(1, 75, 0x2011, "text", 4, UINT64_MAX);
	assert_int_equal(find(&image), CUDA_ERROR_INVALID_IMAGE);
}

static int add(struct cpu_ranges *r, uint64_t address, uint64_t size)
{
	return cpu_ranges_add(r, address, size, VM_ACCESS_READ_WRITE);
}

static bool covered(const struct cpu_ranges *r, uint64_t address, uint64_t size)
{
	return cpu_ranges_cover(r, address, size, VM_ACCESS_READ_WRITE);
}

static void ranges_say_what_is_allowed(void **state)
{
	struct cpu_ranges r = { 0 };

	(void)state;
	assert_int_equal(cpu_ranges_add(&r, 0x1000, 0x1000, VM_ACCESS_NONE), 0);
	assert_int_equal(cpu_ranges_add(&r, 0x2000, 0x1000, VM_ACCESS_READ), 0);
	assert_int_equal(cpu_ranges_add(&r, 0x3000, 0x1000, VM_ACCESS_READ_WRITE), 0);
	assert_false(cpu_ranges_cover(&r, 0x1fff, 2, VM_ACCESS_READ));
	assert_true(cpu_ranges_cover(&r, 0x2fff, 2, VM_ACCESS_READ));
	assert_false(cpu_ranges_cover(&r, 0x2fff, 2, VM_ACCESS_READ_WRITE));
	assert_false(cpu_ranges_allow(&r, 0x1000, 0x1800, VM_ACCESS_READ_WRITE));
	assert_false(cpu_ranges_allow(&r, 0x1800, 0x0800, VM_ACCESS_READ_WRITE));
	assert_false(cpu_ranges_allow(&r, 0x1000, UINT64_MAX, VM_ACCESS_READ_WRITE));
	assert_false(cpu_ranges_allow(&r, 0x1000, 0x4000, VM_ACCESS_READ_WRITE));
	assert_false(cpu_ranges_cover(&r, 0x1000, 1, VM_ACCESS_READ)); // none of these did anything
	assert_true(cpu_ranges_allow(&r, 0x1000, 0x2000, VM_ACCESS_READ_WRITE));
	assert_true(cpu_ranges_cover(&r, 0x1000, 0x3000, VM_ACCESS_READ_WRITE));
	cpu_ranges_done(&r);
}

static void ranges_know_their_neighbours(void **state)
{
	struct cpu_ranges r = { 0 };
	uint64_t value = 0;

	(void)state;
	assert_int_equal(add(&r, 0x3000, 0x1000), 0);
	assert_int_equal(add(&r, 0x1000, 0x1000), 0);
	assert_int_equal(add(&r, 0x1fff, 1), -EEXIST);
	assert_int_equal(add(&r, 0x0fff, 2), -EEXIST);
	assert_int_equal(add(&r, 0, 0x10000), -EEXIST);
	assert_int_equal(add(&r, UINT64_MAX, 2), -EEXIST);
	assert_false(covered(&r, 0x1000, 0x3000));
	assert_int_equal(add(&r, 0x2000, 0x1000), 0);
	assert_true(covered(&r, 0x1000, 0x3000));
	assert_true(covered(&r, 0x1fff, 2));
	assert_false(covered(&r, 0x0fff, 2));
	assert_false(covered(&r, 0x3fff, 2));
	assert_false(covered(&r, 0x3fff, UINT64_MAX));
	assert_true(cpu_ranges_has(&r, 0x2000, 0x1000));
	assert_false(cpu_ranges_has(&r, 0x2000, 0x800));
	assert_false(cpu_ranges_has(&r, 0x2800, 0x800));
	assert_int_equal(cpu_ranges_remove(&r, 0x2800, &value), -ENOENT);
	assert_int_equal(cpu_ranges_remove(&r, 0x2000, &value), 0);
	assert_int_equal(value, 0x1000);
	assert_false(covered(&r, 0x1fff, 2));
	assert_true(cpu_ranges_gap(&r, 0x1000, 0x8000, 0x1000, 0x1000, &value));
	assert_int_equal(value, 0x2000);
	assert_true(cpu_ranges_gap(&r, 0x1000, 0x8000, 0x1001, 0x1000, &value));
	assert_int_equal(value, 0x4000);
	assert_false(cpu_ranges_gap(&r, 0x1000, 0x8000, 0x4001, 0x1000, &value));
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(add(&r, 0x100000 - i * 16, 8), 0);
	assert_true(covered(&r, 0x100000 - 99 * 16 + 7, 1));
	assert_false(covered(&r, 0x100000 - 99 * 16 + 8, 1));
	cpu_ranges_done(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_taken_as_it_is),
		cmocka_unit_test(highest_target_that_fits_is_taken),
		cmocka_unit_test(what_cannot_run_is_explained),
		cmocka_unit_test(closest_code_is_taken),
		cmocka_unit_test(lz4_is_unpacked),
		cmocka_unit_test(lengths_are_not_believed),
		cmocka_unit_test(ranges_know_their_neighbours),
		cmocka_unit_test(ranges_say_what_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
