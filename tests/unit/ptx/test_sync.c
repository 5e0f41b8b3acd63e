// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that meet: barriers with exits and counts, warp operations with partial masks, atomics, memory
 * spaces, polling.
 */
#include "tests/unit/ptx/ptx_test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct ptx_module *m;

// A kernel k(out, in): %o is &out[tid], %i is &in[tid] (32 bit elements of this block's thread), t the
// thread, l the lane.
#define KERNEL(body)                                                                                       \
	HEAD ".extern .shared .align 16 .b8 dyn[];\n.entry k(.param .u64 p0, .param .u64 p1) {\n"          \
	     ".reg .pred %p, %q; .reg .b32 %r<12>, %t, %l, %v; .reg .b64 %o, %i, %w<8>, %out, %in; .reg "  \
	     ".f32 %f<4>; .reg .b16 %h<4>;\n"                                                              \
	     "ld.param.u64 %out, [p0]; ld.param.u64 %in, [p1]; mov.u32 %t, %tid.x; mov.u32 %l, %laneid;\n" \
	     "mul.wide.u32 %w0, %t, 4; add.u64 %o, %out, %w0; add.u64 %i, %in, %w0; ld.global.u32 %v, "    \
	     "[%i];\n" body "\nDONE: ret;\n}\n"

static uint32_t *out, *in;

static int setup(void **state)
{
	ptx_test_threads = 4;
	return ptx_test_setup(state);
}

static int after(void **state)
{
	(void)state;
	ptx_module_free(m);
	m = NULL;
	dev_free_all();
	return 0;
}

static void run(const char *text, unsigned threads, unsigned shared)
{
	ptx_module_free(m);
	m = load(text);
	out = dev_alloc(4096);
	in = dev_alloc(4096);
	for (unsigned i = 0; i < 1024; i++)
		in[i] = i * 37 % 101 + 1;
	RUN(m, "k", (&(struct shape){ { 1, 1, 1 }, { threads, 1, 1 }, shared }), P(out), P(in));
}

static void a_barrier_orders_shared_memory(void **state)
{
	(void)state;
	run(KERNEL(".shared .b32 s[1024]; mov.u32 %r1, s; shl.b32 %r2, %t, 2; add.u32 %r3, %r1, %r2; "
		   "st.shared.u32 [%r3], %v;\n"
		   "bar.sync 0; mov.u32 %r4, %ntid.x; sub.u32 %r4, %r4, 1; sub.u32 %r4, %r4, %t; shl.b32 "
		   "%r4, %r4, 2;\n"
		   "add.u32 %r4, %r4, %r1; ld.shared.u32 %r5, [%r4]; st.global.u32 [%o], %r5;"),
	    1000, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(out[i], in[999 - i]);
}

static void threads_that_left_count_as_arrived(void **state)
{
	(void)state;
	run(KERNEL("setp.gt.u32 %p, %t, 99; @%p bra DONE; st.global.u32 [%o], 1; barrier.sync 0;\n"
		   "setp.gt.u32 %p, %t, 49; @%p exit; barrier.sync 0; st.global.u32 [%o], 2;"),
	    200, 0);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(out[i], i < 50 ? 2 : i < 100 ? 1 : 0);
}

static void exit_inside_of_a_function_ends_the_thread(void **state)
{
	(void)state;
	run(HEAD ".func leave(.param .b32 x) { .reg .pred %p; .reg .b32 %a; ld.param.b32 %a, [x]; "
		 "setp.gt.u32 %p, %a, 9;\n"
		 "@%p exit; ret; }\n"
		 ".entry k(.param .u64 p0, .param .u64 p1) { .reg .b32 %t; .reg .b64 %o, %w; .param .b32 x;\n"
		 "mov.u32 %t, %tid.x; ld.param.u64 %o, [p0]; mul.wide.u32 %w, %t, 4; add.u64 %o, %o, %w;\n"
		 "st.param.b32 [x], %t; call leave, (x); st.global.u32 [%o], 5; ret; }",
	    20, 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(out[i], i < 10 ? 5 : 0);
}

static void named_barriers_count_producers_and_consumers(void **state)
{
	(void)state;
	// warp 0 writes and arrives, warp 1 waits for both warps
	run(KERNEL(".shared .b32 s[32]; mov.u32 %r1, s; shl.b32 %r2, %l, 2; add.u32 %r1, %r1, %r2;\n"
		   "setp.gt.u32 %p, %t, 31; @%p bra C; st.shared.u32 [%r1], %v; bar.arrive 3, 64; bra DONE;\n"
		   "C: bar.sync 3, 64; ld.shared.u32 %r3, [%r1]; st.global.u32 [%o], %r3;"),
	    64, 0);
	for (unsigned i = 32; i < 64; i++)
		assert_int_equal(out[i], in[i - 32]);
}

static void barriers_reduce_predicates(void **state)
{
	unsigned odd = 0;

	(void)state;
	run(KERNEL("and.b32 %r1, %v, 1; setp.ne.u32 %p, %r1, 0; bar.red.popc.u32 %r2, 0, %p; "
		   "bar.red.and.pred %q, 0, %p;\n"
		   "@%q add.u32 %r2, %r2, 1000; bar.red.or.pred %q, 0, !%p; @%q add.u32 %r2, %r2, 2000; "
		   "st.global.u32 [%o], %r2;"),
	    96, 0);
	for (unsigned i = 0; i < 96; i++)
		odd += in[i] & 1;
	for (unsigned i = 0; i < 96; i++)
		assert_int_equal(out[i], odd + 2000);
}

static void shuffles(void **state)
{
	(void)state;
	run(KERNEL(
		"shfl.sync.up.b32 %r1|%p, %v, 3, 0, -1; selp.u32 %r2, 1000, 0, %p; add.u32 %r1, %r1, %r2;\n"
		"st.global.u32 [%o], %r1;"),
	    64, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(out[i], i % 32 >= 3 ? in[i - 3] + 1000 : in[i]);
	run(KERNEL("shfl.sync.down.b32 %r1|%p, %v, 2, 0x1807, -1; selp.u32 %r2, 1000, 0, %p; add.u32 %r1, "
		   "%r1, %r2;\n" // width 8
		   "st.global.u32 [%o], %r1;"),
	    32, 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(out[i], i % 8 < 6 ? in[i + 2] + 1000 : in[i]);
	run(KERNEL("shfl.sync.bfly.b32 %r1, %v, 5, 31, -1; st.global.u32 [%o], %r1;"), 64, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(out[i], in[i ^ 5]);
	run(KERNEL("and.b32 %r2, %t, 3; shfl.sync.idx.b32 %r1, %v, %r2, 31, -1; st.global.u32 [%o], %r1;"),
	    40, 0); // a short warp
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(out[i], in[i / 32 * 32 + i % 4]);
}

static void warps_meet_in_parts(void **state)
{
	(void)state;
	// even and odd lanes apart, in code of their own
	run(KERNEL("and.b32 %r1, %l, 1; setp.ne.u32 %p, %r1, 0; @%p bra ODD;\n"
		   "redux.sync.add.u32 %r2, %v, 0x55555555; bar.warp.sync 0x55555555; vote.sync.ballot.b32 "
		   "%r3, !%p, 0x55555555;\n"
		   "bra OUT;\nODD: redux.sync.max.s32 %r2, %v, 0xaaaaaaaa; vote.sync.ballot.b32 %r3, %p, "
		   "0xaaaaaaaa;\n"
		   "OUT: add.u32 %r2, %r2, %r3; st.global.u32 [%o], %r2;"),
	    32, 0);
	unsigned sum = 0, max = 0;

	for (unsigned i = 0; i < 32; i++) {
		if (i & 1)
			max = in[i] > max ? in[i] : max;
		else
			sum += in[i];
	}
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(out[i], i & 1 ? max + 0xaaaaaaaa : sum + 0x55555555);
	run(KERNEL("setp.gt.u32 %p, %l, 7; @%p bra DONE; activemask.b32 %r1; match.all.sync.b32 %r2|%q, 5, "
		   "%r1;\n"
		   "selp.u32 %r3, 256, 0, %q; add.u32 %r2, %r2, %r3; st.global.u32 [%o], %r2;"),
	    64, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(out[i], i % 32 < 8 ? 255 + 256 : 0);
}

static void dynamic_shared_memory_lies_after_static(void **state)
{
	(void)state;
	run(KERNEL(
		".shared .align 4 .b8 s[100]; mov.u32 %r1, dyn; shl.b32 %r2, %t, 2; add.u32 %r1, %r1, %r2;\n"
		"st.shared.u32 [%r1], %v; mov.u32 %r3, s; st.shared.u32 [%r3+96], -1; bar.sync 0; "
		"ld.shared.u32 %r4, [%r1];\n"
		"mov.u32 %r5, %dynamic_smem_size; add.u32 %r4, %r4, %r5; cvta.shared.u64 %w1, %w2; mov.u64 "
		"%w2, dyn;\n"
		"cvta.shared.u64 %w1, %w2; isspacep.shared %p, %w1; @!%p trap; isspacep.global %p, %w1; @%p "
		"trap;\n"
		"isspacep.global %p, %o; @!%p trap; mul.wide.u32 %w3, %t, 4; add.u64 %w1, %w1, %w3; ld.u32 "
		"%r5, [%w1];\n"
		"setp.ne.u32 %p, %r5, %v; @%p trap; cvta.to.shared.u64 %w1, %w1; ld.shared.u32 %r5, [%w1];\n"
		"setp.ne.u32 %p, %r5, %v; @%p trap; st.global.u32 [%o], %r4;"),
	    256, 1024);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(out[i], in[i] + 1024);
}

static void atomics_return_what_was_there(void **state)
{
	uint16_t *h;

	(void)state;
	run(KERNEL("atom.global.exch.b32 %r1, [%o], %v; atom.global.inc.u32 %r2, [%out+2000], 9; "
		   "atom.global.dec.u32 %r3, [%out+2004], 9;\n"
		   "red.global.min.s32 [%out+2008], %v; red.global.xor.b32 [%out+2012], %v; "
		   "atom.global.cas.b16 %h1, [%i], 1, 2;"),
	    1, 0);
	assert_int_equal(out[0], 1);
	assert_int_equal(out[500], 1);
	assert_int_equal(out[501], 9);
	assert_int_equal(out[502], 0);
	assert_int_equal(out[503], 1);
	run(KERNEL("mov.b32 %r1, 0x3c003800; mov.b32 {%h1, %h2}, %r1; red.global.add.noftz.f16x2 [%out], "
		   "%r1; add.u64 %w1, %out, 8;\n"
		   "atom.global.add.noftz.f16 %h3, [%w1], %h2; red.relaxed.gpu.global.add.f32 [%out+16], "
		   "0f3F000000;"),
	    64, 0);
	h = (uint16_t *)out;
	assert_int_equal(h[0], 0x5000); // 64 * 0.5
	assert_int_equal(h[1], 0x5400); // 64 * 1.0
	assert_int_equal(h[4], 0x5400);
	assert_int_equal(out[4], 0x42000000);
}

static void wide_exchanges(void **state)
{
	(void)state;
	run(HEAD ".entry k(.param .u64 p0, .param .u64 p1) { .reg .b64 %o, %a, %b; .reg .b128 %q<4>; "
		 "ld.param.u64 %o, [p0];\n"
		 "mov.b128 %q0, {%a, %b}; mov.u64 %a, 5; mov.u64 %b, 6; mov.b128 %q1, {%a, %b};\n"
		 "atom.global.cas.b128 %q2, [%o], %q0, %q1; atom.global.exch.b128 %q3, [%o+16], %q1;\n"
		 "atom.global.exch.b128 %q3, [%o+16], %q0; mov.b128 {%a, %b}, %q3; st.global.v2.u64 [%o+32], "
		 "{%a, %b}; ret; }",
	    1, 0);
	uint64_t *w = (uint64_t *)out;

	assert_int_equal(w[0], 5);
	assert_int_equal(w[1], 6);
	assert_int_equal(w[2], 0);
	assert_int_equal(w[4], 5);
	assert_int_equal(w[5], 6);
}

static void a_thread_may_poll_for_another_of_its_block(void **state)
{
	(void)state;
	run(KERNEL("setp.eq.u32 %p, %t, 63; @%p bra PUT; L: ld.acquire.gpu.global.u32 %r1, [%out+2048]; "
		   "setp.eq.u32 %q, %r1, 0;\n"
		   "@%q bra L; st.global.u32 [%o], %r1; bra DONE; PUT: st.release.gpu.global.u32 "
		   "[%out+2048], 9;"),
	    64, 0);
	for (unsigned i = 0; i < 63; i++)
		assert_int_equal(out[i], 9);
}

static void loads_and_stores_of_every_width(void **state)
{
	static const uint8_t bytes[16] = {
		0x81, 0x92, 0xa3, 0xb4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
	};

	(void)state;
	ptx_module_free(m);
	m = load(KERNEL("ld.global.s8 %r1, [%in]; ld.global.u8 %r2, [%in+1]; ld.global.s16 %r3, [%in+2]; "
			"st.global.v4.u32 [%out], {%r1, %r2, %r3, %t};\n"
			"ld.global.nc.v2.u64 {%w1, %w2}, [%in]; st.global.cs.v2.b64 [%out+16], {%w2, %w1}; "
			"st.global.u8 [%out+32], %r1;\n"
			"ld.global.v4.u8 {%r4, %r5, %r6, %r7}, [%in]; st.global.v2.u16 [%out+36], {%r4, "
			"%r7}; ldu.global.f32 %f1, [%in+4];\n"
			"st.volatile.global.f32 [%out+40], %f1; membar.gl; fence.acq_rel.sys; "
			"prefetch.global.L1 [%in];"));
	out = dev_alloc(64);
	in = dev_alloc(64);
	memcpy(in, bytes, 16);
	RUN(m, "k", SHAPE(1, 1), P(out), P(in));
	assert_int_equal(out[0], 0xffffff81);
	assert_int_equal(out[1], 0x92);
	assert_int_equal(out[2], 0xffffb4a3);
	assert_memory_equal(&out[4], bytes + 8, 8);
	assert_memory_equal(&out[6], bytes, 8);
	assert_int_equal(out[8], 0x81);
	assert_int_equal(out[9], 0x00b40081);
	assert_memory_equal(&out[10], bytes + 4, 4);
}

static void special_registers(void **state)
{
	uint32_t *r;

	(void)state;
	m = load(HEAD
		 ".entry k(.param .u64 p0) { .reg .b32 %a, %b, %c; .reg .b64 %o, %w; ld.param.u64 %o, [p0];\n"
		 "mov.u32 %a, %tid.x; mov.u32 %b, %tid.y; mov.u32 %c, %tid.z; mad.lo.u32 %a, %b, 4, %a; "
		 "mad.lo.u32 %a, %c, 12, %a;\n"
		 "mov.u32 %b, %ctaid.x; mov.u32 %c, %ctaid.y; mad.lo.u32 %b, %c, 3, %b; mad.lo.u32 %a, %b, "
		 "24, %a;\n"
		 "mul.wide.u32 %w, %a, 16; add.u64 %o, %o, %w; mov.u32 %a, %ntid.y; mov.u32 %b, %nctaid.x; "
		 "shl.b32 %a, %a, 8; or.b32 %a, %a, %b;\n"
		 "mov.u32 %b, %laneid; mov.u32 %c, %lanemask_lt; st.global.v2.u32 [%o], {%a, %b}; mov.u32 "
		 "%a, %nwarpid;\n"
		 "st.global.v2.u32 [%o+8], {%c, %a}; mov.u32 %a, %envreg3; mov.u64 %w, %globaltimer; mov.u64 "
		 "%w, %clock64; ret; }");
	r = dev_alloc(6 * 24 * 16);
	RUN(m, "k", (&(struct shape){ { 3, 2, 1 }, { 4, 3, 2 }, 0 }), P(r));
	for (unsigned i = 0; i < 6 * 24; i++) {
		assert_int_equal(r[i * 4], 3 << 8 | 3);
		assert_int_equal(r[i * 4 + 1], i % 24);
		assert_int_equal(r[i * 4 + 2], (1u << i % 24) - 1);
		assert_int_equal(r[i * 4 + 3], 1);
	}
}

static void initialised_variables_and_addresses_of_them(void **state)
{
	uint64_t addr;
	size_t size;
	float *f;

	(void)state;
	m = load(
	    HEAD
	    ".global .align 4 .u32 one = 1+2*3;\n.const .align 8 .b32 tab[2][3] = {{1, 2}, {4, 5, 6}};\n"
	    ".global .u64 ptrs[3] = {one, generic(tab)+8, 0};\n.global .f32 fs[3] = {0f3F800000, -2.5, 3};\n"
	    ".global .align 16 .b8 zero[100000];\n.visible .global .s16 small = -3;\n"
	    ".entry k(.param .u64 p0) { .reg .b64 %o, %p; .reg .b32 %a, %b; ld.param.u64 %o, [p0]; "
	    "ld.global.u64 %p, [ptrs];\n"
	    "ld.u32 %a, [%p]; ld.global.u64 %p, [ptrs+8]; ld.u32 %b, [%p+4]; add.u32 %a, %a, %b; "
	    "ld.const.u32 %b, [tab+20];\n"
	    "add.u32 %a, %a, %b; st.global.u32 [%o], %a; ret; }");
	out = dev_alloc(64);
	RUN(m, "k", SHAPE(1, 1), P(out));
	assert_int_equal(out[0], 7 + 4 + 6);
	assert_int_equal(ptx_module_global(m, "fs", &addr, &size), 0);
	f = (float *)addr;
	assert_true(f[0] == 1 && f[1] == -2.5f && size == 12);
	assert_int_equal(ptx_module_global(m, "small", &addr, &size), 0);
	assert_int_equal(*(int16_t *)addr, -3);
	assert_int_equal(ptx_kernel_info(ptx_module_kernel(m, "k"))->const_bytes, 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_barrier_orders_shared_memory, after),
		cmocka_unit_test_teardown(threads_that_left_count_as_arrived, after),
		cmocka_unit_test_teardown(exit_inside_of_a_function_ends_the_thread, after),
		cmocka_unit_test_teardown(named_barriers_count_producers_and_consumers, after),
		cmocka_unit_test_teardown(barriers_reduce_predicates, after),
		cmocka_unit_test_teardown(shuffles, after),
		cmocka_unit_test_teardown(warps_meet_in_parts, after),
		cmocka_unit_test_teardown(dynamic_shared_memory_lies_after_static, after),
		cmocka_unit_test_teardown(atomics_return_what_was_there, after),
		cmocka_unit_test_teardown(wide_exchanges, after),
		cmocka_unit_test_teardown(a_thread_may_poll_for_another_of_its_block, after),
		cmocka_unit_test_teardown(loads_and_stores_of_every_width, after),
		cmocka_unit_test_teardown(special_registers, after),
		cmocka_unit_test_teardown(initialised_variables_and_addresses_of_them, after),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx sync", tests, setup, ptx_test_teardown);
}
