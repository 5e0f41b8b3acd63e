// SPDX-License-Identifier: Apache-2.0
// What is read of machine code: kernels and variables of a file packed by hand, and files that lie about
// themselves.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/cubin_info.h"
#include "tests/unit/image/cubin_file.h"
#include "tests/unit/image/spoil.h"

static void kernels_are_listed(void **state)
{
	const struct cubin_kernel *k;
	struct cubin_file f;
	struct cubin c;

	(void)state;
	cubin_file_make(&f);
	assert_int_equal(cubin_read(&f, sizeof(f), &c), 0);
	assert_int_equal(c.sm, 90);
	assert_true(c.arch);
	assert_true(c.linked);
	assert_int_equal(c.n_kernels, 1);
	assert_null(cubin_kernel(&c, "helper"));
	k = cubin_kernel(&c, "one");
	assert_non_null(k);
	assert_int_equal(k->n_params, 3);
	assert_int_equal(k->param_bytes, 5009);
	assert_int_equal(k->params[0].size, 8);
	assert_int_equal(k->params[1].offset, 8);
	assert_int_equal(k->params[1].size, 1);
	assert_int_equal(k->params[2].offset, 9);
	assert_int_equal(k->params[2].size, 5000);
	assert_int_equal(k->max_threads, 128);
	assert_int_equal(k->req_ntid[0], 0);
	assert_int_equal(k->registers, 40);
	assert_int_equal(k->frame_bytes, 16);
	assert_int_equal(k->stack_bytes, 24);
	assert_int_equal(k->shared_bytes, 308);
	assert_int_equal(k->constant_bytes, 352 + 5009);
	assert_int_equal(k->barriers, 3);
	assert_int_equal(c.n_variables, 2);
	assert_string_equal(c.variables[0].name, "many");
	assert_int_equal(c.variables[0].size, 4000);
	assert_null(c.variables[0].bytes);
	assert_ptr_equal(c.variables[1].bytes, &f.initial[1]);
	cubin_done(&c);
}

// Before CUDA 13 the architecture stands elsewhere; before sm_90 the registers do.
static void the_older_layout_is_read(void **state)
{
	struct cubin_file f;
	struct cubin c;

	(void)state;
	cubin_file_make(&f);
	f.head.e_ident[EI_ABIVERSION] = 7;
	f.head.e_flags = 0x4b054b;
	f.head.e_type = ET_REL;
	f.compat[2] = 0;
	f.file_info[1] = 0x7f;
	f.info[53] = 0x10; // the block's shape is not at most, but just that
	assert_int_equal(cubin_read(&f, sizeof(f), &c), 0);
	assert_int_equal(c.sm, 75);
	assert_false(c.arch);
	assert_false(c.linked);
	assert_int_equal(c.kernels[0].registers, 24);
	assert_int_equal(c.kernels[0].max_threads, 128);
	assert_int_equal(c.kernels[0].req_ntid[1], 2);
	cubin_done(&c);
	f.head.e_flags |= 0x800;
	assert_int_equal(cubin_read(&f, sizeof(f), &c), 0);
	assert_true(c.arch);
	cubin_done(&c);
}

static void what_contradicts_itself_is_refused(void **state)
{
	struct cubin_file f;
	struct cubin c;

	(void)state;
	cubin_file_make(&f);
	f.head.e_machine = EM_X86_64;
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.sections[CUBIN_SYMBOLS].sh_size = UINT64_MAX;
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.sections[CUBIN_INFO].sh_offset = sizeof(f);
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.info[8] = 0; // two parameters of one number
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.info[10] = 0xff; // beyond all parameters
	f.info[11] = 0xff;
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.symbols[0].st_name = UINT32_MAX;
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.head.e_shnum = 0; // the first section says how many there are
	f.sections[0].sh_size = UINT64_MAX / sizeof(Elf64_Shdr);
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
	cubin_file_make(&f);
	f.sections[CUBIN_NONE] =
	    f.sections[CUBIN_INFO]; // of nobody: attributes that are longer than the file
	f.sections[CUBIN_NONE].sh_name = f.sections[CUBIN_FILE_INFO].sh_name;
	f.sections[CUBIN_NONE].sh_offset = 0;
	f.sections[CUBIN_NONE].sh_size = sizeof(f);
	assert_int_equal(cubin_read(&f, sizeof(f), &c), -EINVAL);
}

// The last record says that it is longer than what is left.
static void records_stay_in_their_section(void **state)
{
	static const uint8_t cut[] = { 0x04, 0x17, 12, 0, 0, 0 };
	struct cubin_kernel k = { 0 };
	struct cubin_param param = { 0 };
	uint8_t *copy = malloc(sizeof(cut));

	(void)state;
	memcpy(copy, cut, sizeof(cut));
	for (size_t n = 0; n <= sizeof(cut); n++) {
		assert_int_equal(info_count_params(copy, n), 0);
		assert_int_equal(info_of_kernel(&k, copy, n, &param, 1), 0);
		assert_int_equal(k.n_params, 0);
	}
	free(copy);
}

// A name that nobody could ask for is left out, without its end being looked for.
static void long_names_are_left_out(void **state)
{
	size_t n = 8192;
	struct cubin_file *f = calloc(1, sizeof(*f) + n);
	struct cubin c;

	(void)state;
	cubin_file_make(f);
	memset(f + 1, 'x', n);
	f->sections[CUBIN_NONE] =
	    (Elf64_Shdr){ .sh_type = SHT_STRTAB, .sh_offset = sizeof(*f), .sh_size = n };
	f->sections[CUBIN_SYMBOLS].sh_link = CUBIN_NONE;
	f->symbols[1].st_other = 0;
	f->symbols[0].st_name = f->symbols[2].st_name = f->symbols[3].st_name = 0;
	assert_int_equal(cubin_read(f, sizeof(*f) + n, &c), 0);
	assert_int_equal(c.n_kernels + c.n_variables, 0);
	cubin_done(&c);
	free(f);
}

static void walk(const void *file, size_t bytes)
{
	struct cubin c;

	if (cubin_read(file, bytes, &c))
		return;
	for (size_t i = 0; i < c.n_kernels; i++) {
		assert_non_null(cubin_kernel(&c, c.kernels[i].name));
		for (uint32_t j = 0; j < c.kernels[i].n_params; j++)
			assert_true(c.kernels[i].params[j].size <= c.kernels[i].param_bytes);
	}
	for (size_t i = 0; i < c.n_variables; i++) {
		const struct cubin_variable *v = &c.variables[i];
		unsigned char *copy = malloc(v->size);

		if (v->bytes)
			memcpy(copy, v->bytes, v->size);
		free(copy);
	}
	cubin_done(&c);
}

static void spoilt_ones_are_survived(void **state)
{
	struct cubin_file f;

	(void)state;
	cubin_file_make(&f);
	spoil(&f, sizeof(f), walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_are_listed),
		cmocka_unit_test(the_older_layout_is_read),
		cmocka_unit_test(what_contradicts_itself_is_refused),
		cmocka_unit_test(records_stay_in_their_section),
		cmocka_unit_test(long_names_are_left_out),
		cmocka_unit_test(spoilt_ones_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
