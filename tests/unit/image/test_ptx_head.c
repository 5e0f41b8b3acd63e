// SPDX-License-Identifier: Apache-2.0
// The declarations of PTX text.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "image/ptx_head.h"
#include "tests/unit/image/spoil.h"

static const char text[] = "// made by hand\n"
			   ".version 8.4\n"
			   ".target sm_90a, texmode_independent, debug\n"
			   ".address_size 64\n"
			   ".file 1 \"a } file.cu\"\n"
			   ".extern .func (.param .b32 r) printf (.param .b64 a, .param .b64 b);\n"
			   ".global .align 4 .b8 table[12] = {1, 0, 0, 0, 2};\n"
			   ".const .v4 .f32 colours[2][3];\n"
			   ".visible .global .u64 one, two[0x10];\n"
			   ".extern .shared .align 16 .b8 dynamic[];\n"
			   ".extern .global .u32 elsewhere[];\n"
			   ".visible .entry step(\n"
			   "	.param .u64 .ptr .global .align 256 step_0,\n"
			   "	.param .u8 step_1,\n"
			   "	.param .align 8 .b8 step_2[20]\n"
			   ")\n"
			   ".maxntid 128, 2\n"
			   ".minnctapersm 3\n"
			   "{ // } in a comment\n"
			   "	.reg .b32 %r<4>;\n"
			   "	.shared .align 4 .b8 tile[308];\n"
			   "	{ .shared .f64 more[2]; }\n"
			   "	ld.shared.u32 %r1, [tile];\n"
			   "	ret;\n"
			   "}\n"
			   ".entry nothing\n.reqntid 32\n{ ret; }\n"
			   ".entry later();\n"
			   ".section .debug_info { .b8 1 }\n";

static void check(const struct ptx_words *w, const char *expected)
{
	assert_int_equal(w->n, strlen(expected));
	assert_memory_equal(w->at, expected, w->n);
}

static void expect_variable(struct ptx_head *h, const char *name, const char *type, uint64_t bytes)
{
	struct ptx_item item;

	assert_int_equal(ptx_head_next(h, &item), 1);
	assert_int_equal(item.what, PTX_VARIABLE);
	check(&item.name, name);
	check(&item.variable.type, type);
	assert_int_equal(item.variable.bytes, bytes);
}

static void expect_step(struct ptx_head *h)
{
	struct ptx_object o;
	struct ptx_item k;

	assert_int_equal(ptx_head_next(h, &k), 1);
	assert_int_equal(k.what, PTX_KERNEL);
	check(&k.name, "step");
	assert_int_equal(k.n_params, 3);
	assert_int_equal(k.param_bytes, 16 + 20);
	assert_int_equal(k.shared_bytes, 308 + 16);
	assert_int_equal(k.max_ntid[0], 128);
	assert_int_equal(k.max_ntid[1], 2);
	assert_int_equal(k.max_ntid[2], 1);
	assert_int_equal(k.req_ntid[0], 0);
	assert_int_equal(k.min_ctas, 3);
	assert_true(ptx_next_param(h, &k.params, &o));
	check(&o.name, "step_0");
	assert_int_equal(o.bytes, 8);
	assert_int_equal(o.align, 0);
	assert_true(ptx_next_param(h, &k.params, &o));
	assert_true(ptx_next_param(h, &k.params, &o));
	check(&o.name, "step_2");
	assert_int_equal(o.bytes, 20);
	assert_int_equal(o.align, 8);
	assert_false(ptx_next_param(h, &k.params, &o));
}

static void declarations_are_read(void **state)
{
	struct ptx_head h;
	struct ptx_item k;

	(void)state;
	assert_int_equal(ptx_head_read(text, sizeof(text), &h), 0);
	assert_int_equal(h.version, 84);
	assert_int_equal(h.target.sm, 90);
	assert_int_equal(h.target.reach, REACH_ARCH);
	assert_int_equal(h.address_bits, 64);
	assert_true(h.debug);
	expect_variable(&h, "table", "b8", 12);
	expect_variable(&h, "colours", "f32", 96);
	expect_variable(&h, "one", "u64", 8);
	expect_variable(&h, "two", "u64", 128);
	expect_variable(&h, "elsewhere", "u32", 0);
	expect_step(&h);
	assert_int_equal(ptx_head_next(&h, &k), 1);
	check(&k.name, "nothing");
	assert_int_equal(k.n_params, 0);
	assert_int_equal(k.req_ntid[0], 32);
	assert_int_equal(k.req_ntid[1], 1);
	assert_int_equal(ptx_head_next(&h, &k), 0);
	assert_int_equal(ptx_head_next(&h, &k), 0);
}

static void what_is_no_ptx_is_refused(void **state)
{
	static const char open[] = ".version 7.0\n.target sm_70\n.entry e() { ret;";
	static const char *const wrong[] = { "",
					     ".target sm_70",
					     ".version 7.0",
					     ".version x .target sm_70",
					     ".version 7.0 .target compute",
					     "version 7.0" };
	struct ptx_head h;
	struct ptx_item k;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(ptx_head_read(wrong[i], strlen(wrong[i]), &h), -EINVAL);
	assert_int_equal(ptx_head_read(open, sizeof(open), &h), 0);
	assert_int_equal(ptx_head_next(&h, &k), -EINVAL);
}

static void sizes_do_not_wrap(void **state)
{
	static const char huge[] = ".version 7.0 .target sm_70 .global .u64 a[4294967296][4294967296];"
				   ".entry e(.param .u64 x[99999999999999999999], .param .align 3 .b8 y) { }";
	struct ptx_head h;
	struct ptx_item k;

	(void)state;
	assert_int_equal(ptx_head_read(huge, sizeof(huge), &h), 0);
	expect_variable(&h, "a", "u64", UINT64_MAX);
	assert_int_equal(ptx_head_next(&h, &k), 1);
	assert_int_equal(k.n_params, 2);
	assert_int_equal(k.param_bytes, 0);
}

static void walk(const void *file, size_t bytes)
{
	struct ptx_object o;
	struct ptx_head h;
	struct ptx_item k;
	size_t n = 0;

	if (ptx_head_read(file, bytes, &h))
		return;
	while (ptx_head_next(&h, &k) > 0) {
		assert_true(++n < sizeof(text));
		while (k.what == PTX_KERNEL && k.params && ptx_next_param(&h, &k.params, &o))
			assert_true(++n < sizeof(text));
	}
}

static void spoilt_ones_are_survived(void **state)
{
	(void)state;
	spoil(text, sizeof(text), walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(declarations_are_read),
		cmocka_unit_test(what_is_no_ptx_is_refused),
		cmocka_unit_test(sizes_do_not_wrap),
		cmocka_unit_test(spoilt_ones_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
