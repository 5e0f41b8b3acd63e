// SPDX-License-Identifier: Apache-2.0
// executor/complaint.c: which lines of a driver's stderr the guest program is given.
#include <string.h>

#include "executor/complaint.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define GOOD "a.cu:7: void k(int): block: [1,0,0], thread: [31,2,0] Assertion `x > 0` failed."

static void lines(void **state)
{
	static const char *const good[] = {
		GOOD,
		"/src/b:c.cu:12: auto f()::operator()(): block: [0,0,0], thread: [0,0,0] Assertion `a::b` "
		"failed.",
		"x:1: : block: [4294967295,0,0], thread: [0,0,0] Assertion `` failed.",
	};
	static const char *const bad[] = {
		"",
		"NVRM: GPU 0000:01:00.0 has fallen off the bus",
		"block: [0,0,0], thread: [0,0,0] Assertion `x` failed.",
		":7: f: block: [0,0,0], thread: [0,0,0] Assertion `x` failed.",
		"a.cu: f: block: [0,0,0], thread: [0,0,0] Assertion `x` failed.",
		"a.cu:7: f: block: [0,0], thread: [0,0,0] Assertion `x` failed.",
		"a.cu:7: f: block: [0,0,99999999999], thread: [0,0,0] Assertion `x` failed.",
		"a.cu:7: f: block: [0,0,0], thread: [0,0,0] Assertion `x` failed. /home/operator",
		"a.cu:7: f: block: [0,0,0], thread: [0,0,0] Assertion `x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!complaint_is_assertion(good[i], strlen(good[i])))
			fail_msg("not taken: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (complaint_is_assertion(bad[i], strlen(bad[i])))
			fail_msg("taken: %s", bad[i]);
	for (size_t n = 0; n < strlen(GOOD); n++) // cut off anywhere
		assert_false(complaint_is_assertion(GOOD, n));
}

// Only those lines reach print_take, in order, and bounded.
static void taken_by_the_guest(void **state)
{
	static const char text[] = "secret /etc/host\n" GOOD "\nmore\n" GOOD "\nunfinished";
	static char answer[8000];
	struct record_print_take r = { .what = PRINT_KIND_COMPLAINTS };
	struct fixture *f = fixture_new(fake_backend());
	struct reply_tail tail = { .data = (uint8_t *)answer, .room = sizeof(answer) };
	struct reply_print_take reply;

	(void)state;
	complaint_put(&f->x, text, strlen(text));
	assert_true(atomic_load(&f->x.header->print) & CHANNEL_PRINT_COMPLAINTS);
	assert_int_equal(on_print_take(&f->x, &r, &reply, &tail), CUDA_SUCCESS);
	assert_int_equal(tail.bytes, 2 * strlen(GOOD "\n"));
	assert_memory_equal(answer, GOOD "\n" GOOD "\n", tail.bytes);
	assert_false(atomic_load(&f->x.header->print) & CHANNEL_PRINT_COMPLAINTS);
	for (unsigned i = 0; i < 100000; i++)
		complaint_put(&f->x, GOOD "\n", strlen(GOOD "\n"));
	assert_int_equal(on_print_take(&f->x, &r, &reply, &tail), CUDA_SUCCESS);
	assert_true(reply.lost > 0);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(taken_by_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
