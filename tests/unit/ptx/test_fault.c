// SPDX-License-Identifier: Apache-2.0
/*
 * What a hostile or broken kernel does: it ends with the right fault, the process goes on, and the next
 * launch works.
 */
#include "tests/unit/ptx/ptx_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct ptx_module *m;

// A kernel k(p0, p1); t is tid.x.
#define KERNEL(body)                                                                            \
	HEAD ".entry k(.param .u64 p0, .param .u64 p1) {\n"                                     \
	     ".reg .pred %p; .reg .b32 %r<8>, %t; .reg .b64 %a, %b, %w<8>; .reg .b128 %q<2>;\n" \
	     "ld.param.u64 %a, [p0]; ld.param.u64 %b, [p1]; mov.u32 %t, %tid.x;\n" body "\nret;\n}\n"

static int setup(void **state)
{
	ptx_test_threads = 3;
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

static void still_works(void)
{
	struct ptx_module *ok = load(KERNEL("st.global.u64 [%a], %b;"));
	uint64_t *p = dev_alloc(8);

	RUN(ok, "k", SHAPE(1, 1), P(p), 42);
	assert_int_equal(*p, 42);
	ptx_module_free(ok);
}

static void expect_fault(const char *text, uint64_t p0, uint64_t p1, enum ptx_fault_kind kind, uint64_t addr)
{
	m = load(text);
	if (launch(m, "k", SHAPE(4, 64), 2, (uint64_t[]){ p0, p1 }) != -14)
		fail_msg("no fault with p0=%#llx p1=%#llx from %s", (long long)p0, (long long)p1, text);
	assert_int_equal(last_fault.kind, kind);
	if (addr != 1)
		assert_int_equal(last_fault.addr, addr);
	assert_true(last_fault.text[0]);
	ptx_module_free(m);
	m = NULL;
	still_works();
}

#define LOAD  KERNEL("ld.global.u32 %r1, [%a]; st.global.u32 [%b], %r1;")
#define STORE KERNEL("st.u64 [%a], %b;")

static void addresses_outside_of_the_windows(void **state)
{
	static int ours = 7;
	static const uint64_t bad[] = {
		0,	    4,		0x1000,	   PTX_WINDOW_ENGINE - 8, PTX_WINDOW_DEVICE + PTX_WINDOW_SIZE,
		1ull << 47, 1ull << 63, ~0ull - 7, 0x7ffffffff000
	};
	void *out = dev_alloc(8);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		expect_fault(LOAD, bad[i], P(out), PTX_FAULT_ADDRESS, bad[i]);
		expect_fault(STORE, bad[i], 1, PTX_FAULT_ADDRESS, bad[i]);
	}
	expect_fault(STORE, P(&ours) & ~7ull, 1, PTX_FAULT_ADDRESS, P(&ours) & ~7ull);
	expect_fault(STORE, P(&m) & ~7ull, 1, PTX_FAULT_ADDRESS, 1);
	assert_int_equal(ours, 7);
	// the last bytes of the reach, partly beyond
	expect_fault(KERNEL("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%a]; st.global.u32 [%b], %r4;"),
		     PTX_WINDOW_DEVICE + PTX_WINDOW_SIZE, P(out), PTX_FAULT_ADDRESS, 1);
}

static void holes_inside_of_the_windows(void **state)
{
	char *p = dev_alloc(4096);

	(void)state;
	expect_fault(LOAD, P(p) + 4096, P(p), PTX_FAULT_ADDRESS, P(p) + 4096);
	expect_fault(STORE, PTX_WINDOW_DEVICE + (1ull << 39), 1, PTX_FAULT_ADDRESS,
		     PTX_WINDOW_DEVICE + (1ull << 39));
	expect_fault(STORE, PTX_WINDOW_HOST + 4096, 1, PTX_FAULT_ADDRESS, 1);
	expect_fault(STORE, PTX_WINDOW_ENGINE + (5ull << 37), 1, PTX_FAULT_ADDRESS, 1);
	expect_fault(STORE, PTX_WINDOW_ENGINE + PTX_WINDOW_SIZE + 4096, 1, PTX_FAULT_ADDRESS, 1); // a gap
	expect_fault(KERNEL("atom.global.add.u32 %r1, [%a], 1;"), P(p) + (1 << 30), 0, PTX_FAULT_ADDRESS,
		     P(p) + (1 << 30));
	expect_fault(KERNEL("bar.sync 0; st.global.u32 [%a], %t;"), P(p) + 4096, 0, PTX_FAULT_ADDRESS,
		     P(p) + 4096);
	expect_fault(KERNEL("atom.global.exch.b128 %q0, [%a], %q1;"), P(p) + 4096, 0, PTX_FAULT_ADDRESS, 1);
}

static void misaligned_accesses(void **state)
{
	char *p = dev_alloc(4096);

	(void)state;
	expect_fault(LOAD, P(p) + 2, P(p), PTX_FAULT_MISALIGNED, P(p) + 2);
	expect_fault(STORE, P(p) + 4, 1, PTX_FAULT_MISALIGNED, P(p) + 4);
	expect_fault(KERNEL("st.global.v4.u32 [%a], {%t, %t, %t, %t};"), P(p) + 8, 0, PTX_FAULT_MISALIGNED,
		     P(p) + 8);
	expect_fault(KERNEL("red.global.add.u32 [%a], 1;"), P(p) + 1, 0, PTX_FAULT_MISALIGNED, P(p) + 1);
	expect_fault(
	    KERNEL(".shared .b32 s[8]; mov.u32 %r1, s; ld.shared.u32 %r2, [%r1+2]; st.global.u32 [%a], %r2;"),
	    P(p), 0, PTX_FAULT_MISALIGNED, 2);
}

static void shared_memory_is_bounded(void **state)
{
	char *p = dev_alloc(64);

	(void)state;
	expect_fault(KERNEL(".shared .b32 s[256]; cvt.u32.u64 %r1, %b; ld.shared.u32 %r2, [%r1]; "
			    "st.global.u32 [%a], %r2;"),
		     P(p), 1024, PTX_FAULT_ADDRESS, 1024);
	expect_fault(KERNEL(".shared .b32 s[256]; st.shared.u32 [%b], %t;"), 0, 1ull << 40, PTX_FAULT_ADDRESS,
		     1ull << 40);
	expect_fault(KERNEL(".shared .b32 s[256]; st.shared.u32 [%b], %t;"), 0, -4ull, PTX_FAULT_ADDRESS,
		     -4ull);
	expect_fault(KERNEL(".shared .b32 s[256]; st.shared.v4.u32 [%b], {%t,%t,%t,%t};"), 0, 1024,
		     PTX_FAULT_ADDRESS, 1024);
}

static void traps(void **state)
{
	(void)state;
	expect_fault(KERNEL("setp.eq.u32 %p, %t, 63; @%p trap;"), 0, 0, PTX_FAULT_TRAP, 0);
	expect_fault(KERNEL("T: .branchtargets A; cvt.u32.u64 %r1, %a; brx.idx %r1, T; A:"), 1, 0,
		     PTX_FAULT_TRAP, 0);
	expect_fault(KERNEL("bar.sync 17;"), 0, 0, PTX_FAULT_TRAP, 0);
	// lanes that name others but not themselves never meet
	expect_fault(
	    KERNEL("bar.warp.sync 1; bar.warp.sync 2; vote.sync.ballot.b32 %r1, %p, 4; bar.warp.sync 0;"), 0,
	    0, PTX_FAULT_TRAP, 0);
	// half of the block waits at another barrier
	expect_fault(KERNEL("setp.lt.u32 %p, %t, 32; @%p bra A; bar.sync 1; bra B; A: bar.sync 2; B:"), 0, 0,
		     PTX_FAULT_TRAP, 0);
	expect_fault(
	    HEAD
	    ".func f(.param .u64 x) { ret; }\n"
	    ".entry k(.param .u64 p0, .param .u64 p1) { .reg .b64 %a; .param .u64 q; ld.param.u64 %a, [p0];\n"
	    "P: .callprototype _ (.param .u64 _); call %a, (q), P; mov.u64 %a, f; ret; }",
	    0x41414141, 0, PTX_FAULT_TRAP, 0);
}

// A kernel sets the conditions that the machine's owner knows, and no others.
static bool set_known(void *opaque, uint64_t name, uint32_t value)
{
	*(_Atomic uint32_t *)opaque = value;
	return name == 77;
}

static void conditions(void **state)
{
	static const char text[] =
	    HEAD ".extern .func cudaGraphSetConditional (.param .b64 h, .param .b32 v);\n"
		 ".entry k(.param .u64 p0, .param .u64 p1) {\n"
		 ".reg .b64 %a, %b; .reg .b32 %r; .param .b64 q; .param .b32 w;\n"
		 "ld.param.u64 %a, [p0]; ld.param.u64 %b, [p1]; cvt.u32.u64 %r, %b;\n"
		 "st.param.b64 [q], %a; st.param.b32 [w], %r; call cudaGraphSetConditional, (q, w); ret; }";
	_Atomic uint32_t value = 0;

	(void)state;
	expect_fault(text, 77, 1, PTX_FAULT_ADDRESS, 77); // there are none
	ptx_machine_conditions(ptx_test_machine, set_known, &value);
	m = load(text);
	RUN(m, "k", SHAPE(1, 1), 77, 42);
	assert_int_equal(value, 42);
	ptx_module_free(m);
	expect_fault(text, 78, 1, PTX_FAULT_ADDRESS, 78);
	ptx_machine_conditions(ptx_test_machine, NULL, NULL);
}

static void endless_recursion(void **state)
{
	(void)state;
	expect_fault(
	    HEAD
	    ".func (.param .b32 r) f(.param .b32 x);\n"
	    ".func (.param .b32 r) f(.param .b32 x) { .reg .b32 %a, %b; .param .b32 p, q; ld.param.b32 %a, "
	    "[x];\n"
	    "add.u32 %b, %a, 1; st.param.b32 [p], %b; call (q), f, (p); ld.param.b32 %b, [q];\n"
	    "mul.lo.u32 %b, %b, %a; st.param.b32 [r], %b; ret; }\n"
	    ".entry k(.param .u64 p0, .param .u64 p1) { .reg .b32 %a; .param .b32 p, q; mov.u32 %a, %tid.x;\n"
	    "st.param.b32 [p], %a; call (q), f, (p); ret; }",
	    0, 0, PTX_FAULT_ADDRESS, 1);
	expect_fault(HEAD ".func f();\n.func f() { .local .b8 big[4096]; .reg .b64 %a; mov.u64 %a, big; "
			  "st.local.u64 [%a], %a;\n"
			  "call f, (); ld.local.u64 %a, [%a]; st.local.u64 [%a], %a; ret; }\n"
			  ".entry k(.param .u64 p0, .param .u64 p1) { bar.sync 0; call f, (); ret; }",
		     0, 0, PTX_FAULT_ADDRESS, 1);
}

// A large frame on the host's stack must not step over the guard: f2 keeps the arrays of f alive and calls f
// again.
static void huge_frames_hit_the_guard(void **state)
{
	enum { CAP = 1 << 20, ARRAYS = 30 };
	char *text = malloc(CAP);
	size_t n;

	(void)state;
	assert_non_null(text);
	n = snprintf(
	    text, CAP,
	    "%s.func f(.param .u64 x);\n.func f2(.param .b8 y[16000]) { .reg .b64 %%a; .param .u64 q;\n"
	    "ld.param.u64 %%a, [y+64]; st.param.u64 [q], %%a; call f, (q); ret; }\n"
	    ".func f(.param .u64 x) { .reg .b64 %%a; ld.param.u64 %%a, [x];\n",
	    HEAD);
	for (int i = 0; i < ARRAYS; i++)
		n += snprintf(text + n, CAP - n, ".param .b8 v%d[16000];\n", i);
	for (int i = 0; i < ARRAYS; i++)
		n += snprintf(text + n, CAP - n, "st.param.u64 [v%d+64], %%a; call f2, (v%d);\n", i, i);
	snprintf(text + n, CAP - n,
		 "ret; }\n.entry k(.param .u64 p0, .param .u64 p1) { .param .u64 q; bar.sync 0; call f, (q); "
		 "ret; }");
	expect_fault(text, 0, 0, PTX_FAULT_ADDRESS, 1);
	free(text);
}

static void *stop_later(void *arg)
{
	(void)arg;
	usleep(50000);
	ptx_machine_stop(ptx_test_machine);
	return NULL;
}

static void expect_stop(const char *text, uint64_t p0)
{
	pthread_t t;

	m = load(text);
	pthread_create(&t, NULL, stop_later, NULL);
	assert_int_equal(launch(m, "k", SHAPE(100, 64), 2, (uint64_t[]){ p0, 0 }), -125);
	pthread_join(t, NULL);
	assert_int_equal(last_fault.kind, PTX_FAULT_STOPPED);
	ptx_module_free(m);
	m = NULL;
	still_works();
}

static void endless_loops_can_be_stopped(void **state)
{
	char *p = dev_alloc(64);

	(void)state;
	expect_stop(KERNEL("L: bra L;"), 0);
	expect_stop(KERNEL("bar.sync 0; L: add.u32 %r1, %r1, 1; bra.uni L;"), 0);
	expect_stop(KERNEL("L: bar.sync 0; bra L;"), 0);
	expect_stop(KERNEL("L: ld.volatile.global.u32 %r1, [%a]; setp.eq.u32 %p, %r1, 0; @%p bra L;"), P(p));
	expect_stop(KERNEL("L: nanosleep.u32 100; bra L;"), 0);
	expect_stop(KERNEL("T: .branchtargets T0; T0: brx.idx 0, T;"), 0);
	expect_stop(KERNEL("L: atom.global.cas.b32 %r1, [%a], 1, 2; setp.ne.u32 %p, %r1, 1; @%p bra L;"),
		    P(p));
}

static void bad_launches_are_refused(void **state)
{
	uint32_t one[3] = { 1, 1, 1 }, zero[3] = { 0, 1, 1 }, many[3] = { 1024, 2, 1 };
	const struct ptx_kernel *k;
	uint64_t args[2] = { 0 };
	struct ptx_fault fault;

	(void)state;
	m = load(HEAD ".entry k(.param .u64 p0, .param .u64 p1) .reqntid 32, 2 { ret; }");
	k = ptx_module_kernel(m, "k");
	assert_int_equal(ptx_kernel_info(k)->max_threads, 64);
	assert_int_equal(ptx_launch(ptx_test_machine, k, zero, one, 0, args, 16, &fault), -22);
	assert_int_equal(ptx_launch(ptx_test_machine, k, one, zero, 0, args, 16, &fault), -22);
	assert_int_equal(ptx_launch(ptx_test_machine, k, one, many, 0, args, 16, &fault), -22);
	assert_int_equal(ptx_launch(ptx_test_machine, k, one, one, 0, args, 16, &fault), -22);
	assert_int_equal(ptx_launch(ptx_test_machine, k, one, (uint32_t[]){ 32, 2, 1 }, 0, args, 8, &fault),
			 -22);
	assert_int_equal(
	    ptx_launch(ptx_test_machine, k, one, (uint32_t[]){ 32, 2, 1 }, 300000, args, 16, &fault), -22);
	assert_int_equal(ptx_launch(ptx_test_machine, k, one, (uint32_t[]){ 32, 2, 1 }, 0, args, 16, &fault),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(addresses_outside_of_the_windows, after),
		cmocka_unit_test_teardown(holes_inside_of_the_windows, after),
		cmocka_unit_test_teardown(misaligned_accesses, after),
		cmocka_unit_test_teardown(shared_memory_is_bounded, after),
		cmocka_unit_test_teardown(traps, after),
		cmocka_unit_test_teardown(conditions, after),
		cmocka_unit_test_teardown(endless_recursion, after),
		cmocka_unit_test_teardown(huge_frames_hit_the_guard, after),
		cmocka_unit_test_teardown(endless_loops_can_be_stopped, after),
		cmocka_unit_test_teardown(bad_launches_are_refused, after),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx fault", tests, setup, ptx_test_teardown);
}
