// SPDX-License-Identifier: Apache-2.0
/*
 * Runs tables of single instructions; see op_table.h.
 */
#include "tests/unit/ptx/op_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 2048u

static uint64_t mix(uint64_t v)
{
	v ^= v >> 31;
	v *= 0x9e3779b97f4a7c15ull;
	v ^= v >> 27;
	v *= 0xbf58476d1ce4e5b9ull;
	return v ^ v >> 33;
}

uint64_t int_operand(unsigned i, unsigned which)
{
	static const uint64_t special[] = { 0,
					    1,
					    2,
					    3,
					    5,
					    7,
					    8,
					    15,
					    16,
					    31,
					    32,
					    33,
					    63,
					    64,
					    65,
					    127,
					    128,
					    255,
					    256,
					    0x7fff,
					    0x8000,
					    0xffff,
					    0x10000,
					    0x7fffffff,
					    0x80000000,
					    0xffffffff,
					    1ull << 32,
					    ~0ull,
					    ~0ull >> 1,
					    1ull << 63,
					    0x0123456789abcdefull,
					    -5ull };
	uint64_t r = mix(i * 3ull + which + 1);

	if (r & 3)
		return special[(r >> 8) % (sizeof(special) / 8)];
	return r & 4 ? mix(r) : mix(r) >> 40;
}

static uint64_t cut(uint64_t v, unsigned bits)
{
	return bits < 64 ? v & ((1ull << bits) - 1) : v;
}

static size_t put_kernel(char *to, size_t cap, unsigned i, const struct op_row *r)
{
	const char names[] = "abcd";
	const uint8_t widths[] = { r->wa, r->wb, r->wc, r->wd };
	size_t n = snprintf(
	    to, cap,
	    ".entry k%u(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 pd) {\n"
	    ".reg .pred %%p, %%q; .reg .b32 %%t<8>, %%i; .reg .b16 %%h<8>; .reg .b64 %%w<4>, %%o, %%x;\n",
	    i);

	for (int k = 0; k < 4; k++)
		n += snprintf(to + n, cap - n, ".reg .b%u %%%c;\n", widths[k], names[k]);
	n += snprintf(to + n, cap - n,
		      "mov.u32 %%i, %%tid.x; mov.u32 %%t0, %%ctaid.x; mad.lo.u32 %%i, %%t0, 256, %%i;\n"
		      "mul.wide.u32 %%o, %%i, 8;\n");
	for (int k = 0; k < 3; k++)
		n += snprintf(to + n, cap - n,
			      "ld.param.u64 %%x, [p%c]; add.u64 %%x, %%x, %%o; ld.global.b%u %%%c, [%%x];\n",
			      names[k], widths[k], names[k]);
	n += snprintf(to + n, cap - n, "%s\n", r->text);
	return n +
	       snprintf(to + n, cap - n,
			"ld.param.u64 %%x, [pd]; add.u64 %%x, %%x, %%o; st.global.b%u [%%x], %%d;\nret;\n}\n",
			r->wd);
}

static void check_row(struct ptx_module *m, unsigned i, const struct op_row *r, uint64_t *const v[4])
{
	char name[16];

	snprintf(name, sizeof(name), "k%u", i);
	memset(v[3], 0, THREADS * 8);
	RUN(m, name, SHAPE(THREADS / 256, 256), P(v[0]), P(v[1]), P(v[2]), P(v[3]));
	for (unsigned k = 0; k < THREADS; k++) {
		uint64_t a = cut(v[0][k], r->wa), b = cut(v[1][k], r->wb), c = cut(v[2][k], r->wc);
		uint64_t got = v[3][k], want = cut(r->want(a, b, c), r->wd);

		if (r->same ? !r->same(got, want) : got != want)
			fail_msg("%s with a=%#llx b=%#llx c=%#llx: got %#llx, expected %#llx", r->text,
				 (long long)a, (long long)b, (long long)c, (long long)got, (long long)want);
	}
}

void check_table(const struct op_row *rows, unsigned n, uint64_t (*operand)(unsigned i, unsigned which))
{
	size_t cap = 4096 + n * 2048ul, at;
	char *text = malloc(cap);
	struct ptx_module *m;
	uint64_t *v[4];

	assert_non_null(text);
	at = snprintf(text, cap, ".version 8.6\n.target sm_90\n.address_size 64\n");
	for (unsigned i = 0; i < n; i++)
		at += put_kernel(text + at, cap - at, i, &rows[i]);
	m = load(text);
	free(text);
	for (unsigned k = 0; k < 4; k++)
		v[k] = dev_alloc(THREADS * 8);
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < THREADS; i++)
			v[k][i] = operand(i, k);
	for (unsigned i = 0; i < n; i++)
		check_row(m, i, &rows[i], v);
	ptx_module_free(m);
	dev_free_all();
}
