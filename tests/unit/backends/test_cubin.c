// SPDX-License-Identifier: Apache-2.0
// What the cpu backend reads of machine code: kernels and variables of an ELF file packed by hand, and files
// that lie about themselves.
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "executor/backends/cpu/cpu_cubin.h"

enum { NAMES, SYMBOLS, TEXT, INFO, SHARED, INIT, ZEROS, NONE, SECTIONS };

static const char names[] = "\0.shstrtab\0.symtab\0.text.one\0.nv.info.one\0.nv.shared.one\0.nv.global.init\0"
			    ".nv.global\0one\0helper\0three\0many";
static const uint8_t info[] = {
	0x04, 0x17, 12,	  0,	0,  0, 0, 0, 1, 0, 8, 0, 0x00, 0xf0, 0x05, 0, // ordinal 1 at 8, one byte
	0x04, 0x17, 12,	  0,	0,  0, 0, 0, 0, 0, 0, 0, 0x00, 0xf0, 0x21, 0, // ordinal 0 at 0, eight
	0x04, 0x45, 12,	  0,	0,  0, 0, 0, 2, 0, 9, 0, 0x88, 0x13, 0x08, 0, // ordinal 2 at 9, 5000
	0x03, 0x19, 0x91, 0x13,						      // 5009 bytes in all
	0x04, 0x05, 12,	  0,	64, 0, 0, 0, 2, 0, 0, 0, 1,    0,    0,	   0, // at most 64 * 2 threads
	0x01, 0x35, 0,	  0,
};
static const uint32_t initial[] = { 7, 1, 2, 3 };

struct file {
	Elf64_Ehdr head;
	Elf64_Shdr sections[SECTIONS];
	Elf64_Sym symbols[5];
	char names[sizeof(names)];
	uint8_t info[sizeof(info)];
	uint32_t initial[4];
};

static uint32_t name(const char *text)
{
	const char *at = memmem(names, sizeof(names), text, strlen(text) + 1);

	assert_non_null(at);
	return (uint32_t)(at - names);
}

static void section(struct file *f, int i, const char *text, uint32_t type, size_t offset, size_t size)
{
	f->sections[i] =
	    (Elf64_Shdr){ .sh_name = name(text), .sh_type = type, .sh_offset = offset, .sh_size = size };
}

static void make(struct file *f)
{
	*f = (struct file){ .head = { .e_ident = ELFMAG,
				      .e_machine = 190,
				      .e_shoff = offsetof(struct file, sections),
				      .e_shentsize = sizeof(Elf64_Shdr),
				      .e_shnum = SECTIONS,
				      .e_shstrndx = NAMES } };
	f->head.e_ident[EI_CLASS] = ELFCLASS64;
	section(f, NAMES, ".shstrtab", SHT_STRTAB, offsetof(struct file, names), sizeof(names));
	section(f, SYMBOLS, ".symtab", SHT_SYMTAB, offsetof(struct file, symbols), sizeof(f->symbols));
	section(f, TEXT, ".text.one", SHT_PROGBITS, 0, 0);
	f->sections[TEXT].sh_info = 24u << 24 | 5;
	section(f, INFO, ".nv.info.one", 0x70000000u, offsetof(struct file, info), sizeof(info));
	section(f, SHARED, ".nv.shared.one", SHT_NOBITS, 0, 308);
	section(f, INIT, ".nv.global.init", SHT_PROGBITS, offsetof(struct file, initial), sizeof(initial));
	section(f, ZEROS, ".nv.global", SHT_NOBITS, 0, 4096);
	f->symbols[0] =
	    (Elf64_Sym){ .st_name = name("one"), .st_info = STT_FUNC, .st_other = 0x10, .st_shndx = TEXT };
	f->symbols[1] = (Elf64_Sym){ .st_name = name("helper"), .st_info = STT_FUNC, .st_shndx = TEXT };
	f->symbols[2] = (Elf64_Sym){ .st_name = name("three"),
				     .st_info = STT_OBJECT,
				     .st_shndx = INIT,
				     .st_value = 4,
				     .st_size = 12 };
	f->symbols[3] = (Elf64_Sym){
		.st_name = name("many"), .st_info = 13, .st_shndx = ZEROS, .st_value = 96, .st_size = 4000
	};
	memcpy(f->names, names, sizeof(names));
	memcpy(f->info, info, sizeof(info));
	memcpy(f->initial, initial, sizeof(initial));
}

// Reads a copy of exact size, so that a checker sees every access behind it.
static int read_copy(const struct file *f, size_t bytes, struct cpu_cubin **ret)
{
	void *copy = malloc(bytes ? bytes : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, f, bytes);
	r = cpu_cubin_read(copy, bytes, ret);
	free(copy);
	return r;
}

static void kernels_are_listed(void **state)
{
	const struct ptx_kernel_info *k;
	struct cpu_cubin *c;
	struct file f;

	(void)state;
	make(&f);
	assert_int_equal(read_copy(&f, sizeof(f), &c), 0);
	assert_int_equal(cpu_cubin_count(c), 1);
	assert_null(cpu_cubin_kernel(c, "helper"));
	k = cpu_cubin_kernel(c, "one");
	assert_non_null(k);
	assert_ptr_equal(k, cpu_cubin_kernel_at(c, 0));
	assert_string_equal(k->name, "one");
	assert_int_equal(k->n_params, 3);
	assert_int_equal(k->param_bytes, 5009);
	assert_int_equal(k->params[0].size, 8);
	assert_int_equal(k->params[1].offset, 8);
	assert_int_equal(k->params[1].size, 1);
	assert_int_equal(k->params[2].offset, 9);
	assert_int_equal(k->params[2].size, 5000);
	assert_int_equal(k->max_threads, 128);
	assert_int_equal(k->regs_estimate, 24);
	assert_int_equal(k->shared_static, 308);
	cpu_cubin_free(c);
}

static void variables_are_found(void **state)
{
	const struct cpu_variable *v;
	struct cpu_cubin *c;
	struct file f;

	(void)state;
	make(&f);
	assert_int_equal(read_copy(&f, sizeof(f), &c), 0);
	v = cpu_cubin_variable(c, "three");
	assert_non_null(v);
	assert_int_equal(v->size, 12);
	assert_memory_equal(v->bytes, &initial[1], 12);
	v = cpu_cubin_variable(c, "many");
	assert_non_null(v);
	assert_int_equal(v->size, 4000);
	assert_null(v->bytes);
	assert_null(cpu_cubin_variable(c, "one"));
	cpu_cubin_free(c);
}

static void what_contradicts_itself_is_refused(void **state)
{
	struct cpu_cubin *c = NULL;
	struct file f;

	(void)state;
	for (size_t bytes = 0; bytes < sizeof(f); bytes++) {
		make(&f);
		if (read_copy(&f, bytes, &c) == 0)
			cpu_cubin_free(c);
		assert_true(bytes > offsetof(struct file, symbols) || !c);
		c = NULL;
	}
	make(&f);
	f.head.e_machine = EM_X86_64;
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
	make(&f);
	f.sections[SYMBOLS].sh_size = UINT64_MAX;
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
	make(&f);
	f.sections[INFO].sh_offset = sizeof(f);
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
	make(&f);
	f.info[8] = 0; // two parameters of one number
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
	make(&f);
	f.info[10] = 0xff; // beyond all parameters
	f.info[11] = 0xff;
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
	make(&f);
	f.symbols[0].st_name = UINT32_MAX;
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
	make(&f);
	f.head.e_shnum = 0; // the first section says how many there are
	f.sections[0].sh_size = UINT64_MAX / sizeof(Elf64_Shdr);
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
}

// A variable that leaves its section is none.
static void variables_stay_in_their_section(void **state)
{
	struct cpu_cubin *c;
	struct file f;

	(void)state;
	make(&f);
	f.symbols[2].st_size = 13;
	f.symbols[3].st_value = UINT64_MAX;
	assert_int_equal(read_copy(&f, sizeof(f), &c), 0);
	assert_null(cpu_cubin_variable(c, "three"));
	assert_null(cpu_cubin_variable(c, "many"));
	cpu_cubin_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_are_listed),
		cmocka_unit_test(variables_are_found),
		cmocka_unit_test(what_contradicts_itself_is_refused),
		cmocka_unit_test(variables_stay_in_their_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
