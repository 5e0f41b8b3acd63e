// SPDX-License-Identifier: Apache-2.0
/*
 * Text that is wrong, unsupported or hostile is refused at load, with the line and the opcode.
 */
#include "tests/unit/ptx/ptx_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY(text)                                                                                    \
	HEAD ".entry k() {\n.reg .b32 %r<4>; .reg .b64 %w<4>; .reg .f32 %f<4>; .reg .pred %p;\n" text \
	     "\nret; }\n"

static void unsupported_instructions(void **state)
{
	(void)state;
	expect_refused(BODY("add.u32 %r1, %r1, 1;\nwmma.load.a.sync.aligned.m16n16k16.row.f16 {%r1}, [%w1];"),
		       7, "wmma.load.a.sync", "not supported");
	expect_refused(BODY("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1}, {%r1}, {%r1}, {%f1};"),
		       6, "mma.sync", "not supported");
	expect_refused(BODY("tex.2d.v4.f32.s32 {%f1, %f1, %f1, %f1}, [name, {%r1, %r2}];"), 6, "tex.2d",
		       "references are not supported");
	expect_refused(BODY("cp.async.bulk.shared::cluster.global [%w1], [%w2], 16;"), 6, "cp.async.bulk",
		       "unsupported modifier");
	expect_refused(BODY("setmaxnreg.inc.sync.aligned.u32 232;"), 6, "setmaxnreg", "not supported");
	expect_refused(BODY("ld.global.v8.f32 %f1, [%w1];"), 6, "ld.global.v8", "unsupported modifier .v8");
	expect_refused(BODY("add.rn.f32.ftz.u32 %f1, %f1, %f1;"), 6, "add", "unsupported type");
	expect_refused(BODY("add.ftz.u32 %r1, %r1, %r1;"), 6, "add.ftz", "integer type");
}

static void wrong_operands(void **state)
{
	(void)state;
	expect_refused(BODY("add.u32 %r1, %r2;"), 6, "add.u32", "too few operands");
	expect_refused(BODY("add.u32 %r1, %r2, %r3, %r1;"), 6, "add.u32", "too many operands");
	expect_refused(BODY("add.u64 %r1, %w2, %w3;"), 6, "add", "too narrow");
	expect_refused(BODY("add.u32 %p, %r2, %r3;"), 6, "add", "does not suit");
	expect_refused(BODY("add.u32 %r1, %p, %r3;"), 6, "add", "does not suit");
	expect_refused(BODY("add.u32 %r4, %r1, %r2;"), 6, "add", "unknown register '%r4'");
	expect_refused(BODY("mov.u32 %r1, nothing;"), 6, "mov.u32", "unknown symbol");
	expect_refused(BODY("add.u32 3, %r1, %r2;"), 6, "add", "no register");
	expect_refused(BODY("bra NOWHERE;"), 6, "", "unknown label or symbol 'NOWHERE'");
	expect_refused(BODY("L: add.u32 %r1, %r1, %r1;\nL:"), 7, "", "defined twice");
	expect_refused(BODY("@%r1 bra L; L:"), 6, "", "no predicate");
	expect_refused(BODY("ld.global.u32 %r1, %w1;"), 6, "ld", "expected an address");
	expect_refused(BODY("ld.global.u32 %r1, [%r1];"), 6, "ld", "an address of 32 bits");
	expect_refused(BODY("ld.global.u32 %r1 [%w1];"), 6, "ld.global.u32", "too few");
	expect_refused(BODY("st.const.u32 [%w1], %r1;"), 6, "st", "cannot be stored");
	expect_refused(BODY("call f, (%r1);"), 6, "call", "unknown function");
	expect_refused(BODY("call %w1, ();"), 6, "call", "needs a .callprototype");
}

static void parameters_are_bounded(void **state)
{
	(void)state;
	expect_refused(HEAD ".entry k(.param .u32 a) { .reg .b64 %w;\nld.param.u64 %w, [a]; ret; }", 5, "ld",
		       "outside of parameter");
	expect_refused(HEAD ".entry k(.param .u32 a) { .reg .b32 %w;\nld.param.u32 %w, [a+4]; ret; }", 5,
		       "ld", "outside of parameter");
	expect_refused(HEAD ".entry k(.param .u32 a) { .reg .b32 %w;\nld.param.u32 %w, [a-4]; ret; }", 5,
		       "ld", "outside of parameter");
	expect_refused(HEAD ".entry k(.param .b8 a[9]) { .reg .b32 %w;\nld.param.u32 %w, [a+2]; ret; }", 5,
		       "ld", "parameter");
	expect_refused(HEAD ".entry k(.param .b8 z, .param .align 1 .b8 a[9]) { .reg .b32 %w;\nld.param.u32 "
			    "%w, [a+4]; ret; }",
		       5, "ld", "misaligned");
	expect_refused(HEAD ".entry k(.param .u32 a) { .reg .b32 %w;\nst.param.u32 [a], %w; ret; }", 5, "st",
		       "cannot be stored");
	expect_refused(HEAD ".entry k(.param .b8 a[40000]) { ret; }", 4, "", "parameter of 40000 bytes");
	expect_refused(HEAD
		       ".func f(.param .b64 x) { ret; }\n.entry k() { .param .b32 q;\ncall f, (q); ret; }",
		       6, "call", "smaller");
}

static void modules_that_cannot_work(void **state)
{
	(void)state;
	expect_refused("", 1, "", "not PTX");
	expect_refused("hello", 1, "", "not PTX");
	expect_refused(".version 8.0\n.target sm_80\n.address_size 32\n", 3, "", "64");
	expect_refused(HEAD ".extern .func f();\n.entry k() { call f, (); ret; }", 4, "call",
		       "unresolved extern function 'f'");
	expect_refused(
	    HEAD ".extern .func (.param .b64 r) malloc(.param .b64 n);\n.entry k() { .param .b64 r, n;\n"
		 "call (r), malloc, (n); ret; }",
	    4, "call", "device-side heap");
	expect_refused(HEAD ".extern .global .u32 x;\n.entry k() { ret; }", 4, "",
		       "unresolved extern variable 'x'");
	expect_refused(HEAD ".global .u32 a;\n.global .u32 a;", 5, "", "declared twice");
	expect_refused(HEAD ".global .u32 a[2] = {1, 2, 3};", 4, "", "more initialisers");
	expect_refused(HEAD ".global .u32 a = 1/0;", 4, "", "division by zero");
	expect_refused(HEAD
		       ".shared .b8 s[300000];\n.entry k() { .reg .b32 %a; ld.shared.u32 %a, [s]; ret; }",
		       5, "", "shared memory");
	expect_refused(HEAD ".entry k() { .local .b8 l[600000]; ret; }", 4, "", "local memory");
	expect_refused(HEAD ".global .b8 a[99999999999999];", 4, "", "too large");
	expect_refused(HEAD ".global .b8 a[4294967296][4294967296];", 4, "", "too large");
	expect_refused(HEAD ".entry k() { ret;", 4, "", "expected a name");
	expect_refused(HEAD ".entry k() { .reg .b32 %r<4000000000>; mov.u32 %r1, \x01; ret; }", 4, "mov",
		       "bad character");
	expect_refused(HEAD ".texref tex;", 4, "", "unsupported directive .texref");
}

static char *repeated(const char *head, const char *part, unsigned n, const char *tail)
{
	size_t cap = strlen(head) + strlen(part) * n + strlen(tail) + 1, at;
	char *text = malloc(cap);

	assert_non_null(text);
	at = snprintf(text, cap, "%s", head);
	for (unsigned i = 0; i < n; i++)
		at += snprintf(text + at, cap - at, "%s", part);
	snprintf(text + at, cap - at, "%s", tail);
	return text;
}

static void deep_nesting_is_bounded(void **state)
{
	static const char *const cases[][3] = { { HEAD ".entry k() {", "{", "" },
						{ HEAD ".global .u32 a = ", "(", "" },
						{ HEAD ".global .u32 a = ", "-", "1;" },
						{ HEAD ".global .u32 a[2] = ", "{", "" },
						{ HEAD ".entry k() { mov.b32 _, ", "{", "" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = repeated(cases[i][0], cases[i][1], 200000, cases[i][2]);

		expect_refused(text, 4, i == 4 ? "mov.b32" : "", "nested too deeply");
		free(text);
	}
}

static void every_truncation_is_refused_or_loads(void **state)
{
	static const char text[] = HEAD ".global .align 4 .b32 g[3] = {1, 2, 3};\n.func (.param .b32 r) "
					"f(.param .b32 x) { .reg .b32 %a;\n"
					"ld.param.b32 %a, [x]; st.param.b32 [r], %a; ret; }\n.visible .entry "
					"k(.param .u64 p) .maxntid 64 {\n.reg .pred %p<2>;"
					".reg .b32 %r<5>; .shared .b32 s[4]; .param .b32 q, v; mov.u32 %r1, "
					"%tid.x; setp.lt.s32 %p1|%p0, %r1, 0x1F;\n"
					"@!%p1 bra $L; st.param.b32 [q], %r1; call.uni (v), f, (q); $L: "
					"mov.b64 {%r1, _}, 0d3FF0000000000000;\nret; }\n";
	unsigned refused = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		struct ptx_error err;

		refused += ptx_check(text, n, &err) != 0;
	}
	assert_true(refused > sizeof(text) / 2);
	assert_int_equal(ptx_check(text, sizeof(text) - 1, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unsupported_instructions),
		cmocka_unit_test(wrong_operands),
		cmocka_unit_test(parameters_are_bounded),
		cmocka_unit_test(modules_that_cannot_work),
		cmocka_unit_test(deep_nesting_is_bounded),
		cmocka_unit_test(every_truncation_is_refused_or_loads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx refused", tests, ptx_test_setup, ptx_test_teardown);
}
