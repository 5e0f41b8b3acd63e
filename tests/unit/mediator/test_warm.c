// SPDX-License-Identifier: Apache-2.0
// The rule of executors that are started ahead, in simulated time: a pool whose starts take a while, fail,
// are taken and grow old.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mediator/warm/rule.h"

#define MS     1000000ull
#define SECOND 1000000000ull

static struct {
	struct warm_rule rule;
	uint64_t now;
	uint64_t starts_at[64]; // when each start of now is over
	unsigned starting, ready, starts, retired, most_starting;
	uint64_t ready_since[64]; // oldest first
	uint64_t start_takes;
	bool fail, short_of_memory;
} s;

static void set_up(unsigned count, uint64_t age)
{
	__builtin_memset(&s, 0, sizeof(s));
	s.now = SECOND;
	s.start_takes = 300 * MS;
	warm_rule_init(&s.rule, count, 100 * MS, age, s.now);
}

static void drop_oldest(void)
{
	for (unsigned i = 1; i < s.ready; i++)
		s.ready_since[i - 1] = s.ready_since[i];
	s.ready--;
}

static uint64_t decide(void)
{
	uint64_t wake = 0;

	for (;;) {
		struct warm_facts f = { s.starting, s.ready, s.ready_since[0], s.short_of_memory };

		switch (warm_rule_step(&s.rule, &f, s.now, &wake)) {
		case WARM_WAIT: return wake;
		case WARM_START:
			s.starts_at[s.starting++] = s.now + s.start_takes;
			s.starts++;
			if (s.starting > s.most_starting)
				s.most_starting = s.starting;
			warm_rule_started(&s.rule, s.now);
			break;
		case WARM_RETIRE:
			assert_true(s.ready > 0);
			drop_oldest();
			s.retired++;
			break;
		}
	}
}

// Goes from event to event until that time.
static void run(uint64_t until)
{
	while (s.now < until) {
		uint64_t wake = decide(), next = until;

		if (wake < next)
			next = wake;
		for (unsigned i = 0; i < s.starting; i++)
			if (s.starts_at[i] < next)
				next = s.starts_at[i];
		assert_true(next > s.now); // it never asks to be woken for nothing
		s.now = next;
		for (unsigned i = 0; i < s.starting;) {
			if (s.starts_at[i] > s.now) {
				i++;
				continue;
			}
			s.starts_at[i] = s.starts_at[--s.starting];
			if (s.fail) {
				warm_rule_failed(&s.rule, s.now);
			} else {
				warm_rule_ready(&s.rule);
				s.ready_since[s.ready++] = s.now;
			}
		}
	}
}

static void take(void)
{
	assert_true(s.ready > 0);
	drop_oldest();
	warm_rule_taken(&s.rule, s.now);
}

static void it_fills_one_after_the_other_and_then_rests(void **state)
{
	(void)state;
	set_up(4, 0);
	run(20 * SECOND);
	assert_int_equal(s.ready, 4);
	assert_int_equal(s.starts, 4);
	assert_int_equal(s.most_starting, 1);
	assert_int_equal(decide(), WARM_NEVER);
}

static void none_is_wanted(void **state)
{
	(void)state;
	set_up(0, SECOND);
	run(20 * SECOND);
	assert_int_equal(s.starts, 0);
}

static void it_leaves_a_tenant_that_comes_alone_first(void **state)
{
	(void)state;
	set_up(1, 0);
	run(10 * SECOND);
	take();
	run(s.now + 99 * MS);
	assert_int_equal(s.starts, 1);
	run(s.now + 2 * MS);
	assert_int_equal(s.starts, 2);
}

static void failures_make_it_slow_and_a_success_fast_again(void **state)
{
	unsigned in_the_first_minute, later;

	(void)state;
	set_up(2, 0);
	s.start_takes = 10 * MS;
	s.fail = true;
	run(61 * SECOND);
	in_the_first_minute = s.starts;
	run(601 * SECOND);
	later = s.starts - in_the_first_minute;
	assert_in_range(in_the_first_minute, 5, 15);
	assert_in_range(later, 8, 10); // one a minute
	s.fail = false;
	run(s.now + 61 * SECOND);
	assert_int_equal(s.ready, 2);
	assert_int_equal(s.rule.failures, 0);
}

static void an_old_one_goes_when_its_successor_is_there(void **state)
{
	(void)state;
	set_up(1, 60 * SECOND);
	run(61 * SECOND);
	assert_int_equal(s.ready, 1);
	for (unsigned i = 0; i < 600; i++) {
		run(s.now + 100 * MS);
		assert_in_range(s.ready, 1, 2);
	}
	assert_int_equal(s.retired, 1);
	run(s.now + 3600 * SECOND);
	assert_in_range(s.starts, 55, 65);
	assert_int_equal(s.ready, 1);
}

static void nothing_is_started_while_memory_is_short(void **state)
{
	(void)state;
	set_up(2, 60 * SECOND);
	s.short_of_memory = true;
	run(600 * SECOND);
	assert_int_equal(s.starts, 0);
	s.short_of_memory = false;
	run(610 * SECOND);
	assert_int_equal(s.ready, 2);
	s.short_of_memory = true; // those that wait are not replaced when they are old
	run(700 * SECOND);
	assert_int_equal(s.ready, 0);
	assert_int_equal(s.starts, 2);
}

static void held_it_waits(void **state)
{
	(void)state;
	set_up(1, 0);
	warm_rule_hold(&s.rule, 30 * SECOND);
	run(29 * SECOND);
	assert_int_equal(s.starts, 0);
	run(31 * SECOND);
	assert_int_equal(s.starts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_fills_one_after_the_other_and_then_rests),
		cmocka_unit_test(none_is_wanted),
		cmocka_unit_test(it_leaves_a_tenant_that_comes_alone_first),
		cmocka_unit_test(failures_make_it_slow_and_a_success_fast_again),
		cmocka_unit_test(an_old_one_goes_when_its_successor_is_there),
		cmocka_unit_test(nothing_is_started_while_memory_is_short),
		cmocka_unit_test(held_it_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
