// SPDX-License-Identifier: Apache-2.0
// The judgement of moved VMs, minute by minute in simulated time: what it lets pass, and what it does not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mediator/migrate/rule.h"

#define MOST	3000
#define START_S 1000000
#define SECOND	1000000000ull

static const struct migrate_config usual = {
	.minutes = 15, .errors = 3, .slower = 50, .fall = 80, .deadline_s = 86400
};

static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

// Minutes of a program: its GPU time of a launch and its GPU time, each off by up to noise percent.
struct load {
	uint64_t per_launch, held_ns, noise;
	uint64_t faults_in_10000; // minutes
};

static struct migrate_summary run(const struct load *l, unsigned minutes)
{
	static struct migrate_minute list[MOST];
	struct migrate_summary s;

	for (unsigned i = 0; i < minutes; i++) {
		uint64_t each = l->per_launch * (100 - l->noise + chance(2 * l->noise + 1)) / 100;
		uint64_t held = l->held_ns * (100 - l->noise + chance(2 * l->noise + 1)) / 100;

		list[i] = (struct migrate_minute){ held, each ? held / each : 0,
						   chance(10000) < l->faults_in_10000 };
	}
	migrate_summarize(list, minutes, &s);
	return s;
}

static struct migrate_judgement judge(const struct migrate_evidence *e, int64_t after_s)
{
	return migrate_judge(&usual, e, e->started_s + after_s);
}

static const struct load ordinary = { .per_launch = 20000, .held_ns = 20 * SECOND, .noise = 30 };

static void test_the_same_as_before_is_well(void **state)
{
	(void)state;
	for (seed = 1; seed < 500; seed += 1) {
		uint64_t again = seed;
		struct migrate_evidence e = { run(&ordinary, 600), run(&ordinary, 15), 0, 0, START_S };
		struct migrate_judgement j = judge(&e, 900);

		assert_int_equal(j.verdict, MIGRATE_GOOD);
		assert_true(j.compared);
		seed = again;
	}
}

static void test_an_error_spike_fails_at_once(void **state)
{
	struct migrate_evidence e = { run(&ordinary, 600), { 0 }, 0, 0, START_S };

	(void)state;
	e.strikes_after = 3;
	assert_int_equal(judge(&e, 1).verdict, MIGRATE_WAIT);
	e.strikes_after = 4;
	assert_int_equal(judge(&e, 1).verdict, MIGRATE_BAD);
	assert_int_equal(judge(&e, 1).cause, MIGRATE_ERRORS);
	e.strikes_after = 0;
	e.after.faults = 4;
	assert_int_equal(judge(&e, 1).cause, MIGRATE_ERRORS);
}

static void test_a_program_that_always_had_errors_may_go_on_having_them(void **state)
{
	struct load bad = ordinary;

	(void)state;
	bad.faults_in_10000 = 3000;
	for (seed = 1; seed < 500; seed += 1) {
		uint64_t again = seed;
		struct migrate_evidence e = { run(&bad, 600), run(&bad, 100), 0, 0, START_S };

		assert_int_equal(judge(&e, 6000).verdict, MIGRATE_GOOD);
		e.after.faults *= 5;
		assert_int_equal(judge(&e, 6000).cause, MIGRATE_ERRORS);
		seed = again;
	}
}

static void test_slower_fails_and_one_odd_minute_does_not(void **state)
{
	struct load slow = ordinary;
	struct migrate_evidence e;
	struct migrate_minute odd[15];

	(void)state;
	seed = 7;
	slow.per_launch *= 2;
	e = (struct migrate_evidence){ run(&ordinary, 600), run(&slow, 14), 0, 0, START_S };
	assert_int_equal(judge(&e, 900).verdict, MIGRATE_WAIT); // too few minutes yet
	e.after = run(&slow, 15);
	assert_int_equal(judge(&e, 900).verdict, MIGRATE_BAD);
	assert_int_equal(judge(&e, 900).cause, MIGRATE_SLOWER);
	for (unsigned i = 0; i < 15; i++)
		odd[i] = (struct migrate_minute){ 20 * SECOND, i < 7 ? 10 : 1000000, 0 };
	migrate_summarize(odd, 15, &e.after);
	assert_int_equal(judge(&e, 900).verdict, MIGRATE_GOOD);
}

static void test_a_little_slower_passes(void **state)
{
	struct load slow = ordinary;
	struct migrate_evidence e;

	(void)state;
	seed = 9;
	slow.per_launch = slow.per_launch * 130 / 100;
	e = (struct migrate_evidence){ run(&ordinary, 600), run(&slow, 60), 0, 0, START_S };
	assert_int_equal(judge(&e, 3600).verdict, MIGRATE_GOOD);
}

static void test_a_program_that_varies_much_is_compared_with_its_worst_minutes(void **state)
{
	struct load two = ordinary;
	static struct migrate_minute list[200];
	struct migrate_evidence e = { .started_s = START_S };

	(void)state;
	// A fifth of its minutes are of another program, whose launches are ten times as long.
	for (unsigned i = 0; i < 200; i++)
		list[i] = (struct migrate_minute){ 20 * SECOND, i % 5 ? 1000000 : 100000, 0 };
	migrate_summarize(list, 200, &e.before);
	two.per_launch = 200000;
	two.noise = 0;
	e.after = run(&two, 20);
	assert_int_equal(judge(&e, 1200).verdict, MIGRATE_GOOD);
	two.per_launch = 300000;
	e.after = run(&two, 20);
	assert_int_equal(judge(&e, 1200).cause, MIGRATE_SLOWER);
}

static void test_gpu_time_that_falls(void **state)
{
	struct load starved = ordinary;
	struct migrate_evidence e;

	(void)state;
	seed = 3;
	starved.held_ns = SECOND;
	e = (struct migrate_evidence){ run(&ordinary, 600), run(&starved, 15), 0, 0, START_S };
	assert_int_equal(judge(&e, 900).cause, MIGRATE_HELD_FALLS);
	starved.held_ns = 10 * SECOND;
	e.after = run(&starved, 15);
	assert_int_equal(judge(&e, 900).verdict, MIGRATE_GOOD);
}

static void test_switched_off(void **state)
{
	struct migrate_config off = usual;
	struct load worse = { .per_launch = 200000, .held_ns = SECOND };
	struct migrate_evidence e = { run(&ordinary, 600), run(&worse, 15), 0, 0, START_S };

	(void)state;
	off.slower = off.fall = 0;
	assert_int_equal(judge(&e, 900).verdict, MIGRATE_BAD);
	assert_int_equal(migrate_judge(&off, &e, START_S + 900).verdict, MIGRATE_GOOD);
}

static void test_too_little_activity_waits_until_the_deadline(void **state)
{
	struct migrate_evidence e = { run(&ordinary, 600), run(&ordinary, 14), 0, 0, START_S };

	(void)state;
	assert_int_equal(judge(&e, 86399).verdict, MIGRATE_WAIT);
	assert_int_equal(judge(&e, 86400).verdict, MIGRATE_UNJUDGED);
	e.strikes_after = 4; // errors count all the same
	assert_int_equal(judge(&e, 86400).verdict, MIGRATE_BAD);
	e.strikes_after = 0;
	e.after = run(&ordinary, 15);
	assert_int_equal(judge(&e, 86400).verdict, MIGRATE_GOOD);
}

static void test_without_a_history_only_errors_count(void **state)
{
	struct load worse = { .per_launch = 2000000, .held_ns = SECOND };
	struct migrate_evidence e = { run(&ordinary, 14), run(&worse, 15), 0, 0, START_S };
	struct migrate_judgement j = judge(&e, 900);

	(void)state;
	assert_int_equal(j.verdict, MIGRATE_GOOD);
	assert_false(j.compared);
	e.before = (struct migrate_summary){ 0 };
	e.after.faults = 4;
	assert_int_equal(judge(&e, 900).cause, MIGRATE_ERRORS);
}

static void test_idle_minutes_are_no_activity_and_copies_no_launches(void **state)
{
	struct migrate_minute m[4] = { { 0, 0, 2 }, { SECOND, 0, 0 }, { 3 * SECOND, 3, 0 }, { 0, 5, 0 } };
	struct migrate_summary s;

	(void)state;
	migrate_summarize(m, 4, &s);
	assert_int_equal(s.minutes, 2);
	assert_int_equal(s.launching, 1);
	assert_int_equal(s.faults, 2);
	assert_int_equal(s.per_launch, SECOND);
	assert_int_equal(migrate_errors_per_hour(&s, 0), 6000);
	migrate_summarize(m, 0, &s);
	assert_int_equal(s.minutes, 0);
	assert_int_equal(migrate_errors_per_hour(&s, 7), 0);
}

// Counters come from executors, which a tenant may have taken over.
static void test_numbers_of_a_liar(void **state)
{
	static const uint64_t odd[] = { 0, 1, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX };
	struct migrate_minute m[20];

	(void)state;
	for (seed = 1; seed < 20000; seed++) {
		uint64_t again = seed;
		struct migrate_evidence e = { .started_s = START_S };

		for (unsigned k = 0; k < 2; k++) {
			for (unsigned i = 0; i < 20; i++)
				m[i] =
				    (struct migrate_minute){ odd[chance(5)], odd[chance(5)], odd[chance(5)] };
			migrate_summarize(m, 20, k ? &e.after : &e.before);
		}
		e.strikes_before = odd[chance(5)];
		e.strikes_after = odd[chance(5)];
		judge(&e, (int64_t)chance(100000));
		seed = again;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_same_as_before_is_well),
		cmocka_unit_test(test_an_error_spike_fails_at_once),
		cmocka_unit_test(test_a_program_that_always_had_errors_may_go_on_having_them),
		cmocka_unit_test(test_slower_fails_and_one_odd_minute_does_not),
		cmocka_unit_test(test_a_little_slower_passes),
		cmocka_unit_test(test_a_program_that_varies_much_is_compared_with_its_worst_minutes),
		cmocka_unit_test(test_gpu_time_that_falls),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_too_little_activity_waits_until_the_deadline),
		cmocka_unit_test(test_without_a_history_only_errors_count),
		cmocka_unit_test(test_idle_minutes_are_no_activity_and_copies_no_launches),
		cmocka_unit_test(test_numbers_of_a_liar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
