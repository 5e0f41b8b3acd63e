// SPDX-License-Identifier: Apache-2.0
// Fat binaries in a host's files: an object file packed by hand, alone and in an archive.
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "image/host.h"
#include "tests/unit/image/spoil.h"

static const char names[] = "\0.nv_fatbin\0__nv_relfatbin\0.text";

struct fat {
	uint32_t magic;
	uint16_t version, header;
	uint64_t bytes;
	uint8_t payload[24];
};

struct object {
	Elf64_Ehdr head;
	Elf64_Shdr sections[4];
	char names[40];
	struct fat one;
	uint64_t gap[2];
	struct fat two, three;
};

struct archive {
	char magic[8];
	char names_head[60], names[24];
	char head[60];
	struct object object;
	char text_head[60], text[4];
};

static struct {
	unsigned n, relocatable;
	struct image_part last;
} seen;

static bool count(void *opaque, const struct image_part *part)
{
	(void)opaque;
	seen.n++;
	seen.relocatable += part->relocatable;
	seen.last = *part;
	return true;
}

static int look(const void *file, size_t bytes)
{
	memset(&seen, 0, sizeof(seen));
	return host_parts(file, bytes, count, NULL);
}

static Elf64_Shdr section(unsigned name, uint32_t type, size_t offset, size_t bytes)
{
	return (Elf64_Shdr){ .sh_name = name, .sh_type = type, .sh_offset = offset, .sh_size = bytes };
}

static void make(struct object *o)
{
	struct fat fat = { 0xba55ed50, 1, 16, 24, { 0 } };

	memset(o, 0, sizeof(*o));
	memcpy(o->head.e_ident, ELFMAG, SELFMAG);
	o->head.e_ident[EI_CLASS] = ELFCLASS64;
	o->head.e_machine = EM_X86_64;
	o->head.e_shoff = offsetof(struct object, sections);
	o->head.e_shentsize = sizeof(Elf64_Shdr);
	o->head.e_shnum = 4;
	o->head.e_shstrndx = 1;
	o->sections[1] = section(0, SHT_STRTAB, offsetof(struct object, names), sizeof(names));
	o->sections[2] = section(1, SHT_PROGBITS, offsetof(struct object, one),
				 offsetof(struct object, three) - offsetof(struct object, one));
	o->sections[3] = section(12, SHT_PROGBITS, offsetof(struct object, three), sizeof(struct fat));
	memcpy(o->names, names, sizeof(names));
	o->one = o->two = o->three = fat;
}

static void fill(char *field, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		field[i] = *text ? *text++ : ' ';
}

static void head(char *h, const char *name, const char *bytes)
{
	fill(h, 60, name);
	fill(h + 48, 10, bytes);
	fill(h + 58, 2, "`\n");
}

static void make_archive(struct archive *a)
{
	char bytes[11] = { 0 };

	memset(a, 0, sizeof(*a));
	memcpy(a->magic, "!<arch>\n", 8);
	head(a->names_head, "//", "24");
	fill(a->names, 24, "other.o/\nmember.o/\n");
	for (size_t n = sizeof(struct object), i = 4; i--; n /= 10)
		bytes[i] = (char)('0' + n % 10);
	head(a->head, "/9", bytes);
	make(&a->object);
	head(a->text_head, "text/", "4");
	memcpy(a->text, "text", 4);
}

static void sections_are_walked(void **state)
{
	struct object o;

	(void)state;
	make(&o);
	assert_int_equal(look(&o, sizeof(o)), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.relocatable, 1);
	assert_ptr_equal(seen.last.image, &o.three);
	assert_int_equal(seen.last.bytes, sizeof(o.three));
	assert_null(seen.last.member);
	o.two.magic = 1;
	assert_int_equal(look(&o, sizeof(o)), -EINVAL);
	assert_int_equal(seen.n, 1);
	make(&o);
	o.two.bytes = UINT64_MAX - 15; // would begin anew
	assert_int_equal(look(&o, sizeof(o)), -EINVAL);
}

static void archives_are_walked(void **state)
{
	struct archive a;

	(void)state;
	make_archive(&a);
	assert_int_equal(look(&a, sizeof(a)), 0);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.last.member_bytes, strlen("member.o"));
	assert_memory_equal(seen.last.member, "member.o", strlen("member.o"));
	fill(a.head + 48, 10, "99999999");
	assert_int_equal(look(&a, sizeof(a)), -EINVAL);
	make_archive(&a);
	fill(a.head, 16, "/99999"); // a name that is not there
	assert_int_equal(look(&a, sizeof(a)), 0);
	assert_int_equal(seen.n, 3);
}

// What was found last is there to be read.
static void walk(const void *file, size_t bytes)
{
	unsigned sum = 0;

	look(file, bytes);
	for (size_t i = 0; i < seen.last.member_bytes; i++)
		sum += (unsigned char)seen.last.member[i];
	for (size_t i = 0; i < seen.last.bytes; i++)
		sum += ((const unsigned char *)seen.last.image)[i];
	assert_true(sum < 1000000);
}

static void spoilt_ones_are_survived(void **state)
{
	struct archive a;
	struct object o;

	(void)state;
	make(&o);
	spoil(&o, sizeof(o), walk);
	make_archive(&a);
	spoil(&a, sizeof(a), walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_are_walked),
		cmocka_unit_test(archives_are_walked),
		cmocka_unit_test(spoilt_ones_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
