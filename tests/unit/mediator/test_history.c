// SPDX-License-Identifier: Apache-2.0
// The last minutes of a tenant, in simulated time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mediator/history/ring.h"

#define STEP HISTORY_STEP_NS

static struct history_entry entry(const struct history *h, uint64_t n)
{
	return history_entry(h, n);
}

static void test_a_step_is_what_was_had_in_it(void **state)
{
	uint64_t now = 1000 * STEP, charged = 7 * STEP; // from before
	struct history h;

	(void)state;
	history_init(&h, charged, now);
	for (int i = 0; i < 10; i++) {
		history_look(&h, i < 5 ? 5000 : 2500, charged, now + (unsigned)i * STEP / 10);
		charged += STEP / 40; // a quarter
	}
	history_look(&h, 10000, charged, now + STEP);
	assert_int_equal(entry(&h, 1000).target, 3750);
	assert_int_equal(entry(&h, 1000).achieved, 2500);
	assert_int_equal(entry(&h, 1001).target, 0); // not over yet
}

static void test_nobody_looks_while_nothing_happens(void **state)
{
	uint64_t now = 50 * STEP;
	struct history h;

	(void)state;
	history_init(&h, 0, now);
	history_look(&h, 10000, 0, now);
	history_look(&h, 10000, STEP / 2, now + 3 * STEP);
	assert_int_equal(entry(&h, 50).achieved, 5000);
	assert_int_equal(entry(&h, 51).achieved, 0);
	assert_int_equal(entry(&h, 52).achieved, 0);
	history_look(&h, 10000, STEP / 2 + STEP / 4, now + 4 * STEP);
	assert_int_equal(entry(&h, 53).achieved, 2500);
	// Far later nothing of it is there, at whatever place of the ring.
	history_look(&h, 0, STEP, now + 1000 * STEP);
	for (uint64_t n = 0; n < 1100; n++) {
		struct history_entry e = entry(&h, n);

		assert_int_equal(e.target | e.achieved, 0);
	}
}

static void test_only_the_last_minutes(void **state)
{
	struct history h;

	(void)state;
	history_init(&h, 0, 0);
	for (uint64_t n = 0; n <= 1000; n++)
		history_look(&h, (unsigned)n, n * STEP, n * STEP);
	assert_int_equal(entry(&h, 1000 - HISTORY_STEPS).target, 0);
	for (uint64_t n = 1000 - HISTORY_STEPS + 1; n < 1000; n++) {
		assert_int_equal(entry(&h, n).target, n);
		assert_int_equal(entry(&h, n).achieved, 10000);
	}
}

static void test_never_more_than_all(void **state)
{
	struct history h;

	(void)state;
	history_init(&h, 100, STEP);
	history_look(&h, 20000, 100, STEP);
	history_look(&h, 0, 100 + 5 * STEP, 2 * STEP); // a hold that began long ago
	assert_int_equal(entry(&h, 1).target, 10000);
	assert_int_equal(entry(&h, 1).achieved, 10000);
	history_look(&h, 0, 50, 3 * STEP); // a counter does not go back, but if it did
	assert_int_equal(entry(&h, 2).achieved, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_step_is_what_was_had_in_it),
		cmocka_unit_test(test_nobody_looks_while_nothing_happens),
		cmocka_unit_test(test_only_the_last_minutes),
		cmocka_unit_test(test_never_more_than_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
