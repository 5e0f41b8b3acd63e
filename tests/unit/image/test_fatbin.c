// SPDX-License-Identifier: Apache-2.0
// Kinds of images, fat binaries' entries, and what is packed in them. test_image.c of the backends has more
// of LZ4 and of lengths.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/image.h"
#include "image/unpack.h"
#include "tests/unit/image/spoil.h"

#define OPTIONS "-g --fast  "

struct entry {
	uint16_t kind, one;
	uint32_t header;
	uint64_t stored;
	uint32_t compressed, options;
	uint16_t minor, major;
	uint32_t sm, name, name_bytes;
	uint64_t flags, zero, plain;
};

static struct {
	uint32_t magic;
	uint16_t version, header;
	uint64_t bytes;
	struct entry code;
	char elf[8];
	struct entry ptx;
	uint32_t options_at, options_bytes;
	char options[sizeof(OPTIONS) - 1 + 5];
	uint8_t packed[16];
	struct entry other;
} fat;

static void make(void)
{
	static const uint8_t packed[] = { 0x44, 'a', 'b', 'c', 'd', 4, 0, 0x20, 'x', 'y' };

	memset(&fat, 0, sizeof(fat));
	fat.magic = 0xba55ed50;
	fat.version = 1;
	fat.header = 16;
	fat.bytes = sizeof(fat) - 16;
	fat.code = (struct entry){ .kind = 2,
				   .one = 0x101,
				   .header = 64,
				   .stored = 8,
				   .minor = 8,
				   .major = 1,
				   .sm = 90,
				   .flags = 0x100011 };
	memcpy(fat.elf, "\177ELF", 4);
	fat.ptx = (struct entry){ .kind = 1,
				  .one = 0x101,
				  .header = 64 + 8 + sizeof(fat.options),
				  .stored = 16,
				  .compressed = 10,
				  .options = 64,
				  .minor = 4,
				  .major = 8,
				  .sm = 100,
				  .flags = 0x202013,
				  .plain = 14 };
	fat.options_at = 72;
	fat.options_bytes = sizeof(OPTIONS) - 1;
	memcpy(fat.options, OPTIONS, sizeof(OPTIONS) - 1);
	memcpy(fat.packed, packed, sizeof(packed));
	fat.other = (struct entry){ .kind = 8, .header = 64, .sm = 80 };
}

static void entries_come_one_by_one(void **state)
{
	struct fatbin_entry e;
	struct fatbin f;
	void *plain;

	(void)state;
	make();
	assert_int_equal(fatbin_extent(&fat), sizeof(fat));
	assert_int_equal(fatbin_open(&fat, sizeof(fat), &f), 0);
	assert_int_equal(fatbin_next(&f, &e), 1);
	assert_int_equal(e.kind, FATBIN_CODE);
	assert_int_equal(e.sm, 90);
	assert_true(e.flags & FATBIN_ARCH);
	assert_ptr_equal(e.payload, fat.elf);
	assert_int_equal(e.stored, 8);
	assert_false(fatbin_is_packed(&e));
	assert_int_equal(fatbin_next(&f, &e), 1);
	assert_int_equal(e.kind, FATBIN_PTX);
	assert_int_equal(e.major * 10 + e.minor, 84);
	assert_true(e.flags & FATBIN_FAMILY && e.flags & FATBIN_DEBUG);
	assert_int_equal(e.options_bytes, strlen("-g --fast"));
	assert_memory_equal(e.options, "-g --fast", e.options_bytes);
	assert_true(fatbin_is_packed(&e));
	assert_int_equal(unpack_entry(&e, &plain), 0);
	assert_memory_equal(plain, "abcdabcdabcdxy", 14);
	free(plain);
	e.plain = 13;
	assert_int_equal(unpack_entry(&e, &plain), -EINVAL);
	e.plain = UINT64_MAX;
	assert_int_equal(unpack_entry(&e, &plain), -E2BIG);
	assert_int_equal(fatbin_next(&f, &e), 1);
	assert_int_equal(e.kind, FATBIN_LTOIR);
	assert_int_equal(fatbin_next(&f, &e), 0);
}

static void options_stay_in_the_header(void **state)
{
	struct fatbin_entry e;
	struct fatbin f;

	(void)state;
	make();
	fat.options_bytes = sizeof(fat.options) + 1;
	assert_int_equal(fatbin_open(&fat, sizeof(fat), &f), 0);
	fatbin_next(&f, &e);
	assert_int_equal(fatbin_next(&f, &e), 1);
	assert_int_equal(e.options_bytes, 0);
	make();
	fat.ptx.options = UINT32_MAX;
	assert_int_equal(fatbin_open(&fat, sizeof(fat), &f), 0);
	fatbin_next(&f, &e);
	assert_int_equal(fatbin_next(&f, &e), 1);
	assert_int_equal(e.options_bytes, 0);
}

static void walk(const void *file, size_t bytes)
{
	struct fatbin_entry e;
	struct fatbin f;
	unsigned sum = 0;
	void *plain;

	if (image_kind(file, bytes) != IMAGE_FATBIN || fatbin_open(file, bytes, &f))
		return;
	while (fatbin_next(&f, &e) > 0) {
		for (size_t i = 0; i < e.stored; i++)
			sum += e.payload[i];
		for (size_t i = 0; i < e.options_bytes; i++)
			sum += (unsigned char)e.options[i];
		if (fatbin_is_packed(&e) && e.plain < 1000 && !unpack_entry(&e, &plain))
			free(plain);
	}
	assert_true(sum < 1000000);
}

static void spoilt_ones_are_survived(void **state)
{
	(void)state;
	make();
	spoil(&fat, sizeof(fat), walk);
}

static void kinds_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(image_kind("\x50\xed\x55\xba", 4), IMAGE_FATBIN);
	assert_int_equal(image_kind("\x50\xed\x55\xba", 3), IMAGE_NONE);
	assert_int_equal(image_kind("\xb1\x43\x62\x46", 4), IMAGE_WRAPPER);
	assert_int_equal(image_kind("!<arch>\n", 8), IMAGE_ARCHIVE);
	assert_int_equal(image_kind("\177ELF", 4), IMAGE_ELF);
	assert_int_equal(image_kind("// one\n /* two */\t.version 7.0", SIZE_MAX), IMAGE_PTX);
	assert_int_equal(image_kind("// .version", SIZE_MAX), IMAGE_NONE);
	assert_int_equal(image_kind("/* .version", SIZE_MAX), IMAGE_NONE);
	assert_int_equal(image_kind("/*/ .version", SIZE_MAX), IMAGE_NONE);
	assert_int_equal(image_kind("   ", SIZE_MAX), IMAGE_NONE);
	assert_int_equal(image_kind("", SIZE_MAX), IMAGE_NONE);
	assert_int_equal(image_kind("no image", 8), IMAGE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_told_apart),
		cmocka_unit_test(entries_come_one_by_one),
		cmocka_unit_test(options_stay_in_the_header),
		cmocka_unit_test(spoilt_ones_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
