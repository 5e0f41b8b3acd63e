// SPDX-License-Identifier: Apache-2.0
// The watch's rules (mediator/watch/: work.c, strikes.c, health.c) in simulated time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/watch/health.h"
#include "mediator/watch/strikes.h"
#include "mediator/watch/work.h"

#define S NSEC_PER_SEC

// ---- work ----

static void test_work_that_stands_still_hangs(void **state)
{
	struct work_watch w = { 0 };

	(void)state;
	work_look(&w, true, 7, 10 * S);
	assert_false(work_hangs(&w, 5 * S, 10 * S));
	work_look(&w, true, 7, 15 * S - 1);
	assert_false(work_hangs(&w, 5 * S, 15 * S - 1));
	work_look(&w, true, 7, 15 * S);
	assert_true(work_hangs(&w, 5 * S, 15 * S));
	assert_false(work_hangs(&w, 0, 1000 * S)); // no limit
}

static void test_progress_or_rest_begins_anew(void **state)
{
	struct work_watch w = { 0 };

	(void)state;
	for (uint64_t t = 0; t < 100; t += 4) { // a completion every four seconds, for ever
		work_look(&w, true, t, t * S);
		assert_false(work_hangs(&w, 5 * S, t * S));
	}
	work_look(&w, false, 96, 101 * S); // done
	assert_false(work_hangs(&w, 5 * S, 500 * S));
	work_look(&w, true, 96, 500 * S); // the next piece, and nobody looked meanwhile
	assert_false(work_hangs(&w, 5 * S, 500 * S));
	work_look(&w, true, 95, 505 * S); // a counter that goes back is no stand-still either
	assert_false(work_hangs(&w, 5 * S, 505 * S));
	work_look(&w, true, 95, 510 * S);
	assert_true(work_hangs(&w, 5 * S, 510 * S));
}

// Looked at in the intervals that are asked for, a hang is found between the limit and an eighth more.
static void test_intervals_find_it_in_time(void **state)
{
	static const uint64_t limits[] = { NSEC_PER_MSEC, 100 * NSEC_PER_MSEC, 1 * S, 60 * S, 86400 * S };

	(void)state;
	assert_true(work_interval_ns(0) == WORK_NEVER);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint64_t limit = limits[i], step = work_interval_ns(limit), now = 0;
		struct work_watch w = { 0 };

		for (; !work_hangs(&w, limit, now); now += step)
			work_look(&w, now > 3 * step, 0, now);
		assert_in_range(now - 4 * step, limit, limit + limit / 8 + 2 * step);
	}
}

// ---- strikes ----

static const struct strike_rules three = { .most = 3, .within_ns = 60 * S, .quarantine_ns = 100 * S };

static void test_strikes_in_time_bring_quarantine(void **state)
{
	struct strike_book b = { 0 };
	uint64_t left = 0;

	(void)state;
	assert_false(strikes_add(&b, &three, STRIKE_HANG, 1 * S));
	assert_false(strikes_add(&b, &three, STRIKE_STREAM, 2 * S));
	assert_false(strikes_keep_out(&b, 2 * S, &left));
	// The first one is too old by now.
	assert_false(strikes_add(&b, &three, STRIKE_HANG, 61 * S + 1));
	assert_int_equal(strikes_counting(&b, &three, 61 * S + 1), 2);
	assert_true(strikes_add(&b, &three, STRIKE_CRASH, 62 * S));
	assert_int_equal(b.quarantine_cause, STRIKE_CRASH);
	assert_true(strikes_keep_out(&b, 62 * S, &left));
	assert_true(left == 100 * S);
	assert_false(strikes_add(&b, &three, STRIKE_HANG, 63 * S)); // it is in force already
	assert_true(strikes_keep_out(&b, 162 * S - 1, &left));
	assert_true(left == 1);
	assert_int_equal(b.counts[STRIKE_HANG], 3);
}

static void test_a_quarantine_ends_with_a_clean_sheet(void **state)
{
	struct strike_book b = { 0 };
	uint64_t left;

	(void)state;
	for (int i = 0; i < 3; i++)
		strikes_add(&b, &three, STRIKE_HANG, 1 * S);
	assert_false(strikes_keep_out(&b, 101 * S, &left));
	// Nobody looked at its end before the next strike, which counts as the first of a new sheet.
	assert_false(strikes_add(&b, &three, STRIKE_HANG, 102 * S));
	assert_int_equal(strikes_counting(&b, &three, 102 * S), 1);
	assert_false(strikes_expire(&b, 103 * S));
	strikes_add(&b, &three, STRIKE_HANG, 104 * S);
	assert_true(strikes_add(&b, &three, STRIKE_HANG, 105 * S));
	assert_false(strikes_expire(&b, 205 * S - 1));
	assert_true(strikes_expire(&b, 205 * S));
	assert_int_equal(strikes_counting(&b, &three, 205 * S), 0);
	assert_int_equal(b.counts[STRIKE_HANG], 6);
}

static void test_quarantine_without_an_end_and_by_hand(void **state)
{
	static const struct strike_rules hard = { .most = 1, .within_ns = S, .quarantine_ns = 0 };
	struct strike_book b = { 0 };
	uint64_t left;

	(void)state;
	assert_false(strikes_release(&b));
	assert_true(strikes_add(&b, &hard, STRIKE_SANDBOX, 5 * S));
	assert_true(strikes_keep_out(&b, UINT64_MAX - 1, &left));
	assert_true(left == STRIKES_FOREVER);
	assert_true(strikes_release(&b));
	assert_false(strikes_keep_out(&b, 6 * S, &left));

	strikes_quarantine(&b, 10 * S, 7 * S);
	assert_int_equal(b.quarantine_cause, STRIKE_OPERATOR);
	assert_true(strikes_keep_out(&b, 16 * S, &left));
	assert_false(strikes_keep_out(&b, 17 * S, &left));
	strikes_quarantine(&b, 0, 20 * S);
	assert_true(strikes_keep_out(&b, 20 * S, &left) && left == STRIKES_FOREVER);
	strikes_quarantine(&b, UINT64_MAX, 20 * S); // longer than time goes on
	assert_true(strikes_keep_out(&b, 20 * S, &left) && left == STRIKES_FOREVER);
}

static void test_without_a_rule_strikes_are_only_counted(void **state)
{
	static const struct strike_rules none = { .most = 0, .within_ns = 600 * S };
	struct strike_book b = { 0 };
	uint64_t left;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_false(strikes_add(&b, &none, STRIKE_MEMORY, S));
	assert_false(strikes_keep_out(&b, S, &left));
	assert_int_equal(b.counts[STRIKE_MEMORY], 1000);
	assert_int_equal(strikes_counting(&b, &none, S), STRIKES_KEPT);
}

// Any mix of strikes: in quarantine exactly if `most` of them lie within the time, by a plain count.
static void test_a_long_life_agrees_with_a_plain_count(void **state)
{
	static uint64_t at[5000];
	struct strike_book b = { 0 };
	uint64_t now = S, left, random = 88172645463325252ull;
	unsigned n = 0, quarantines = 0;

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		unsigned near = 1;
		bool begins;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		now += random % (60 * S);
		if (strikes_expire(&b, now))
			n = 0;
		for (unsigned k = n; k > 0 && now - at[k - 1] <= three.within_ns; k--)
			near++;
		begins = !strikes_keep_out(&b, now, &left) && near >= three.most;
		assert_int_equal(strikes_add(&b, &three, random % STRIKE_OPERATOR, now), begins);
		at[n++] = now;
		quarantines += begins;
	}
	assert_in_range(quarantines, 100, 2000);
}

// ---- the card ----

static void test_xids_of_programs_say_nothing_of_the_card(void **state)
{
	struct health h = { 0 };

	(void)state;
	assert_true(health_reading(&h, 1));
	assert_int_equal(h.state, DEVICE_HEALTH_HEALTHY);
	assert_false(health_xid(&h, 31, 2));
	assert_false(health_xid(&h, 13, 2));
	assert_false(health_xid(&h, 43, 2));
	assert_int_equal(h.program_xids, 3);
	assert_int_equal(h.state, DEVICE_HEALTH_HEALTHY);
}

static void test_a_degraded_card_recovers_in_time(void **state)
{
	struct health h = { 0 };

	(void)state;
	health_reading(&h, 1);
	assert_true(health_xid(&h, 48, 10 * S));
	assert_int_equal(h.state, DEVICE_HEALTH_DEGRADED);
	assert_false(health_reading(&h, 11 * S));  // readings that go well do not make it well
	assert_false(health_xid(&h, 999, 20 * S)); // of an unknown number: the device's
	assert_false(health_expire(&h, 60 * S, 80 * S - 1));
	assert_true(health_expire(&h, 60 * S, 80 * S));
	assert_int_equal(h.state, DEVICE_HEALTH_HEALTHY);
	assert_int_equal(h.last_xid, 999);
}

static void test_a_lost_card_comes_back_with_a_reading(void **state)
{
	struct health h = { 0 };

	(void)state;
	health_reading(&h, 1);
	assert_true(health_xid(&h, 79, 2));
	assert_int_equal(h.state, DEVICE_HEALTH_LOST);
	assert_false(health_lost(&h, 3));
	assert_false(health_xid(&h, 48, 4)); // it is worse already
	assert_false(health_expire(&h, 1, 1000));
	assert_true(health_reading(&h, 5));
	assert_int_equal(h.state, DEVICE_HEALTH_HEALTHY);
	assert_int_equal(h.losses, 1);
	assert_true(health_lost(&h, 6));
	assert_int_equal(h.losses, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_work_that_stands_still_hangs),
		cmocka_unit_test(test_progress_or_rest_begins_anew),
		cmocka_unit_test(test_intervals_find_it_in_time),
		cmocka_unit_test(test_strikes_in_time_bring_quarantine),
		cmocka_unit_test(test_a_quarantine_ends_with_a_clean_sheet),
		cmocka_unit_test(test_quarantine_without_an_end_and_by_hand),
		cmocka_unit_test(test_without_a_rule_strikes_are_only_counted),
		cmocka_unit_test(test_a_long_life_agrees_with_a_plain_count),
		cmocka_unit_test(test_xids_of_programs_say_nothing_of_the_card),
		cmocka_unit_test(test_a_degraded_card_recovers_in_time),
		cmocka_unit_test(test_a_lost_card_comes_back_with_a_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
