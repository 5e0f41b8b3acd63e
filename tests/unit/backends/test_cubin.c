// SPDX-License-Identifier: Apache-2.0
// What the cpu backend keeps of machine code when the image is gone. image/test_cubin.c has what is read of
// it.
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
#include "tests/unit/image/cubin_file.h"

// Reads a copy of exact size, so that a checker sees every access behind it.
static int read_copy(const struct cubin_file *f, size_t bytes, struct cpu_cubin **ret)
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
	struct cubin_file f;

	(void)state;
	cubin_file_make(&f);
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
	assert_int_equal(k->regs_estimate, 40);
	assert_int_equal(k->shared_static, 308);
	cpu_cubin_free(c);
}

static void variables_are_found(void **state)
{
	const struct cpu_variable *v;
	struct cpu_cubin *c;
	struct cubin_file f;

	(void)state;
	cubin_file_make(&f);
	assert_int_equal(read_copy(&f, sizeof(f), &c), 0);
	v = cpu_cubin_variable(c, "three");
	assert_non_null(v);
	assert_int_equal(v->size, 12);
	assert_memory_equal(v->bytes, &f.initial[1], 12);
	v = cpu_cubin_variable(c, "many");
	assert_non_null(v);
	assert_int_equal(v->size, 4000);
	assert_null(v->bytes);
	assert_null(cpu_cubin_variable(c, "one"));
	cpu_cubin_free(c);
}

static void what_is_cut_is_refused(void **state)
{
	struct cpu_cubin *c = NULL;
	struct cubin_file f;

	(void)state;
	for (size_t bytes = 0; bytes < sizeof(f); bytes++) {
		cubin_file_make(&f);
		if (read_copy(&f, bytes, &c) == 0)
			cpu_cubin_free(c);
		assert_true(bytes > offsetof(struct cubin_file, symbols) || !c);
		c = NULL;
	}
}

// Variables may share bytes, but what is kept of them is not more than the file.
static void kept_bytes_are_bounded(void **state)
{
	struct cpu_cubin *c = NULL;
	struct cubin_file f;

	(void)state;
	cubin_file_make(&f);
	f.sections[CUBIN_INIT].sh_offset = 0;
	f.sections[CUBIN_INIT].sh_size = sizeof(f);
	f.symbols[2].st_value = 0;
	f.symbols[2].st_size = sizeof(f);
	assert_int_equal(read_copy(&f, sizeof(f), &c), 0);
	cpu_cubin_free(c);
	f.symbols[4] = f.symbols[2];
	assert_int_equal(read_copy(&f, sizeof(f), &c), -EINVAL);
}

// A variable that leaves its section is none.
static void variables_stay_in_their_section(void **state)
{
	struct cpu_cubin *c;
	struct cubin_file f;

	(void)state;
	cubin_file_make(&f);
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
		cmocka_unit_test(what_is_cut_is_refused),
		cmocka_unit_test(kept_bytes_are_bounded),
		cmocka_unit_test(variables_stay_in_their_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
