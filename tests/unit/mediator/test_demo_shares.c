// SPDX-License-Identifier: Apache-2.0
// The demo's arithmetic: which moments count, and how far a share is off.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "run/demo_shares.h"

#define SECOND 1000000000ull

// So much later, with what each tenant got (percent) and whether it was in demand.
static void later_by(uint64_t ns, struct demo_sample *s, const unsigned got[DEMO_TENANTS],
		     const unsigned in_demand[DEMO_TENANTS])
{
	s->now_ns += ns;
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		s->tenant[i].contended_gpu_ns += got[i] * ns / 100;
		s->tenant[i].contended_ns += in_demand[i] * ns / 100;
	}
}

static void later(struct demo_sample *s, const unsigned got[DEMO_TENANTS],
		  const unsigned in_demand[DEMO_TENANTS])
{
	later_by(SECOND, s, got, in_demand);
}

static void test_shares_of_common_time(void **state)
{
	static const unsigned all[] = { 100, 100, 100 }, one_pauses[] = { 100, 100, 40 };
	struct demo_shares d = { .weight = { 4, 2, 1 } };
	struct demo_sample s = { .now_ns = 7 * SECOND };

	(void)state;
	demo_shares_add(&d, &s);
	assert_int_equal(d.common_ns, 0);
	later(&s, (const unsigned[]){ 56, 28, 14 }, all);
	demo_shares_add(&d, &s);
	assert_int_equal(d.common_ns, SECOND);
	assert_true(demo_shares_error(&d) < 0.01);
	// Does not count: the third one did not want it all the time.
	later(&s, (const unsigned[]){ 80, 20, 0 }, one_pauses);
	demo_shares_add(&d, &s);
	assert_int_equal(d.common_ns, SECOND);
	assert_true(demo_shares_error(&d) < 0.01);
	// Counts, and is wrong.
	later(&s, (const unsigned[]){ 42, 42, 14 }, all);
	demo_shares_add(&d, &s);
	assert_int_equal(d.common_ns, 2 * SECOND);
	assert_true(fabs(demo_shares_achieved(&d, 0) - 0.5) < 0.001);
	assert_true(fabs(demo_shares_error(&d) - 7.14) < 0.01);
	demo_shares_add(&d, &s); // the same moment again
	assert_int_equal(d.common_ns, 2 * SECOND);
}

// Nine tenths of a second and a gap, again and again: who was away is still catching up in all of it.
static void test_short_times_do_not_count(void **state)
{
	static const unsigned all[] = { 100, 100, 100 }, one_pauses[] = { 100, 100, 40 };
	static const unsigned fair[] = { 56, 28, 14 }, unfair[] = { 40, 40, 20 };
	struct demo_shares d = { .weight = { 4, 2, 1 } };
	struct demo_sample s = { .now_ns = 7 * SECOND };

	(void)state;
	demo_shares_add(&d, &s);
	for (unsigned i = 0; i < 50; i++) {
		later_by(SECOND / 10, &s, unfair, i % 10 == 9 ? one_pauses : all);
		demo_shares_add(&d, &s);
		assert_int_equal(d.common_ns, 0);
	}
	for (unsigned i = 1; i < 30; i++) {
		later_by(SECOND / 10, &s, fair, all);
		demo_shares_add(&d, &s);
		assert_int_equal(d.common_ns, i < 10 ? 0 : i * (SECOND / 10));
	}
	assert_true(demo_shares_error(&d) < 0.01);
}

static void test_nothing_known(void **state)
{
	struct demo_shares d = { .weight = { 4, 2, 1 } };

	(void)state;
	assert_true(demo_shares_achieved(&d, 0) == 0);
	assert_true(fabs(demo_shares_target(&d, 0) - 4.0 / 7) < 1e-9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares_of_common_time),
		cmocka_unit_test(test_short_times_do_not_count),
		cmocka_unit_test(test_nothing_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
