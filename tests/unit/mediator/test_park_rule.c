// SPDX-License-Identifier: Apache-2.0
// Who has to park for whom, in simulated time: single decisions, then a device that is far too small for
// those who want it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mediator/park/rule.h"

#define MS     1000000ull
#define SECOND 1000000000ull
#define GIB    (1ull << 30)
#define NO_END UINT64_MAX
#define SEATS  6

static struct park_rule rule;
static struct park_seat seat[SEATS];
static uint64_t now, wake;

static void set_up(uint64_t device, uint64_t host)
{
	const struct park_config config = {
		.device = device,
		.host = host,
		.idle_ns = 5 * SECOND,
		.residence_ns = 2 * SECOND,
		.patience_ns = SECOND,
		.wait_ns = 6 * SECOND,
		.answer_ns = 30 * SECOND,
	};

	now = 100 * SECOND;
	park_rule_init(&rule, &config);
	for (unsigned i = 0; i < SEATS; i++)
		park_seat_add(&rule, &seat[i], now);
	now += 100 * SECOND;
}

// As the executor's page would say.
static void show(unsigned i, uint64_t held, uint64_t parked, uint64_t idle_for)
{
	park_seat_show(&seat[i], held, parked, now - idle_for, false, now);
}

static struct park_action next(void)
{
	return park_next(&rule, NO_END, now, &wake);
}

static void expect(enum park_kind kind, unsigned i)
{
	struct park_action a = next();

	assert_int_equal(a.kind, kind);
	if (kind != PARK_NOTHING)
		assert_ptr_equal(a.seat, &seat[i]);
}

static void parks(unsigned i)
{
	park_seat_show(&seat[i], seat[i].held, seat[i].held, seat[i].active_ns, false, now);
	park_seat_answered(&rule, &seat[i], now);
}

static void nobody_wants_anything(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, 10 * GIB, 0, 50 * SECOND);
	expect(PARK_NOTHING, 0);
	assert_true(wake == PARK_NEVER);
	assert_false(park_is_wanted(&rule));
}

static void the_one_that_is_idle_longest_goes_first(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 10 * SECOND);
	show(1, GIB, 0, 30 * SECOND);
	show(2, GIB, 0, 20 * SECOND);
	show(3, 5 * GIB, 0, 0);
	park_seat_want(&seat[3], 2 * GIB, 0, false, now);
	expect(PARK_ASK, 1);
	expect(PARK_ASK, 2); // both at once: one is not enough
	expect(PARK_NOTHING, 0);
	parks(1);
	expect(PARK_NOTHING, 0);
	parks(2);
	expect(PARK_ANSWER, 3);
	assert_int_equal(park_total(&rule), 2 * GIB);
	expect(PARK_NOTHING, 0);
}

static void what_is_free_need_not_be_made(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 30 * SECOND);
	show(1, GIB, 0, 20 * SECOND);
	park_seat_want(&seat[3], 2 * GIB, GIB + 1, false, now);
	expect(PARK_ASK, 0);
	expect(PARK_NOTHING, 0);
	parks(0);
	expect(PARK_ANSWER, 3);
	assert_int_equal(seat[3].granted, 2 * GIB);
	// It has not taken it yet: what another saw free is promised.
	park_seat_want(&seat[2], GIB, 2 * GIB, false, now);
	expect(PARK_ASK, 1);
	park_seat_want(&seat[3], 0, 0, false, now);
	expect(PARK_ANSWER, 2);
}

static void one_that_is_not_idle_is_left_alone(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 4 * SECOND);
	park_seat_want(&seat[3], GIB, 0, false, now);
	expect(PARK_NOTHING, 0);
	assert_true(wake <= now + SECOND);
	now += SECOND;
	show(0, GIB, 0, 5 * SECOND);
	expect(PARK_ASK, 0);
}

static void an_allocation_waits_for_somebody_to_become_idle_and_then_no_longer(void **state)
{
	uint64_t begin;

	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 0);
	park_seat_want(&seat[3], GIB, 0, false, now);
	for (begin = now; now < begin + 6 * SECOND; now += 100 * MS) {
		show(0, GIB, 0, 0); // at work all the time
		expect(PARK_NOTHING, 0);
		assert_true(wake > now && wake <= now + SECOND);
	}
	expect(PARK_ANSWER, 3);
	assert_int_equal(seat[3].granted, 0);
}

static void an_allocation_is_refused_at_once_where_nothing_can_go(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(3, 5 * GIB, 0, 0); // its own does not count
	show(0, GIB, GIB, 50 * SECOND);
	park_seat_want(&seat[3], GIB, 0, false, now);
	expect(PARK_ANSWER, 3);
	set_up(8 * GIB, NO_END); // nor can it have more than there is
	show(0, GIB, 0, 50 * SECOND);
	park_seat_want(&seat[3], 9 * GIB, 0, false, now);
	expect(PARK_ANSWER, 3);
	set_up(0, 0); // and where nothing may be parked
	show(0, GIB, 0, 50 * SECOND);
	park_seat_want(&seat[3], GIB, 0, false, now);
	expect(PARK_ANSWER, 3);
}

static void an_allocation_waits_for_one_that_ends(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 0);
	seat[0].deaf_until_ns = PARK_NEVER;
	seat[0].ends = true;
	park_seat_want(&seat[3], GIB, 0, false, now);
	expect(PARK_NOTHING, 0);
	park_seat_remove(&rule, &seat[0]); // what it had is free
	expect(PARK_ANSWER, 3);
	assert_int_equal(seat[3].granted, GIB);
}

static void an_absurd_count_of_one_that_is_gone_does_no_harm(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, UINT64_MAX, 0, 0);
	show(1, UINT64_MAX, 0, 0);
	park_seat_want(&seat[3], GIB, UINT64_MAX, true, now);
	park_seat_remove(&rule, &seat[0]);
	park_seat_remove(&rule, &seat[1]);
	expect(PARK_ANSWER, 3);
}

static void another_mediator_goes_on_with_what_was_noted(void **state)
{
	struct park_notes waits, asked;

	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 50 * SECOND);
	show(1, GIB, 0, 20 * SECOND);
	park_seat_want(&seat[3], 2 * GIB, 0, true, now);
	expect(PARK_ASK, 0);
	parks(0);
	expect(PARK_ASK, 1);
	park_seat_note(&seat[3], &waits);
	park_seat_note(&seat[1], &asked);
	assert_int_equal(asked.asked_of, GIB);
	set_up(0, NO_END);
	show(0, GIB, GIB, 0);
	show(1, GIB, 0, 0);
	park_seat_want(&seat[3], 2 * GIB, 0, true, now);
	park_seat_remember(&seat[3], &waits, true, now);
	park_seat_remember(&seat[1], &asked, false, now);
	expect(PARK_NOTHING, 0); // it is asked already
	parks(1);
	expect(PARK_ANSWER, 3);
	// Of another request nothing is left; what was promised is nobody else's.
	park_seat_want(&seat[2], 2 * GIB, 2 * GIB, true, now);
	park_seat_remember(&seat[2], &waits, false, now);
	assert_int_equal(seat[2].freed, 0);
	park_seat_want(&seat[3], GIB, 0, false, now);
	park_seat_promise(&seat[3], GIB);
	expect(PARK_NOTHING, 0);
	park_seat_want(&seat[3], 0, 0, false, now);
	expect(PARK_ANSWER, 2);
}

static void host_memory_is_bounded(void **state)
{
	(void)state;
	set_up(0, 3 * GIB);
	show(0, 2 * GIB, 0, 50 * SECOND);
	show(1, 2 * GIB, 0, 40 * SECOND);
	show(2, GIB, 0, 30 * SECOND);
	park_seat_want(&seat[3], 5 * GIB, 0, false, now);
	expect(PARK_ASK, 0);
	expect(PARK_ASK, 2); // there is no room for the second
	expect(PARK_NOTHING, 0);
	set_up(0, NO_END);
	show(0, 2 * GIB, 0, 50 * SECOND);
	park_seat_want(&seat[3], 2 * GIB, 0, false, now);
	assert_int_equal(park_next(&rule, GIB, now, &wake).kind, PARK_ANSWER); // what the system has just now
}

static void one_that_parks_nothing_is_not_asked_again_at_once(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 50 * SECOND);
	park_seat_want(&seat[3], GIB, 0, false, now);
	expect(PARK_ASK, 0);
	park_seat_answered(&rule, &seat[0], now);
	expect(PARK_NOTHING, 0);
	now += 2 * SECOND;
	show(0, GIB, 0, 52 * SECOND);
	expect(PARK_ASK, 0);
}

// Variables of a module, say.
static void what_stays_of_one_that_is_parked_is_not_asked_for(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, GIB - 8192, 50 * SECOND);
	show(1, 8192, 0, 50 * SECOND);
	park_seat_want(&seat[3], GIB, 0, false, now);
	expect(PARK_ANSWER, 3);
	assert_int_equal(seat[3].granted, 0);
}

// A record came while it parked: it waits to come back, and the allocation is served first.
static void one_that_parked_a_part_parks_the_rest(void **state)
{
	(void)state;
	set_up(8 * GIB, NO_END);
	show(0, 4 * GIB, GIB, 0);
	show(1, 5 * GIB, 0, 0);
	park_seat_want(&seat[0], GIB, 0, true, now);
	park_seat_want(&seat[1], 2 * GIB, 0, false, now);
	expect(PARK_NOTHING, 0); // and not: refused
	now += SECOND;
	expect(PARK_ASK_URGENT, 0);
	parks(0);
	expect(PARK_ANSWER, 1);
	assert_int_equal(seat[1].granted, 2 * GIB);
}

static void one_that_never_answers_holds_nobody_up(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 50 * SECOND);
	park_seat_want(&seat[3], GIB, 0, true, now);
	expect(PARK_ASK, 0);
	expect(PARK_NOTHING, 0);
	assert_true(wake <= now + 30 * SECOND);
	now += 30 * SECOND;
	show(1, GIB, 0, 10 * SECOND);
	expect(PARK_ASK, 1);
}

static void those_at_work_make_room_for_one_that_comes_back_only(void **state)
{
	(void)state;
	set_up(0, NO_END);
	show(0, GIB, 0, 0);
	show(3, GIB, GIB, 0);
	park_seat_want(&seat[3], GIB, 0, true, now);
	expect(PARK_NOTHING, 0);
	now += SECOND;
	park_seat_show(&seat[0], GIB, 0, now, true, now);
	expect(PARK_ASK_URGENT, 0);
}

static void allocations_that_wait_for_one_another_do_not_wait_for_ever(void **state)
{
	(void)state;
	set_up(8 * GIB, NO_END);
	show(0, 4 * GIB, 0, 0);
	show(1, 4 * GIB, 0, 0);
	park_seat_want(&seat[0], 3 * GIB, 0, false, now);
	park_seat_want(&seat[1], 3 * GIB, 0, false, now + 1);
	expect(PARK_NOTHING, 0);
	now += SECOND;
	expect(PARK_ASK_URGENT, 1); // the later one
	parks(1);
	park_seat_want(&seat[1], 4 * GIB, 0, true, now);
	expect(PARK_ANSWER, 0);
	assert_int_equal(park_lease(&rule, &seat[0]), 7 * GIB);
}

// ---- a crowd

struct life {
	bool working;
	uint64_t until, rounds, waited_since, longest_wait, came_back;
};

// Every 10 ms: what the executors would do, then what the rule says. Each works for a while and pauses.
static void live(struct life *lives, uint64_t bytes, uint64_t work_ns, uint64_t pause_ns, uint64_t span)
{
	for (uint64_t end = now + span; now < end; now += 10 * MS) {
		uint64_t on_device = 0;

		for (unsigned i = 0; i < SEATS; i++) {
			struct life *l = &lives[i];
			struct park_seat *s = &seat[i];

			if (now >= l->until) {
				l->working = !l->working;
				l->until = now + (l->working ? work_ns : pause_ns);
				l->rounds += l->working;
			}
			if (l->working && s->parked && !s->wants && !s->granted) {
				park_seat_want(s, s->held, 0, true, now);
				l->waited_since = now;
			}
			if (s->parked && l->working)
				l->until += 10 * MS; // nothing is done meanwhile
			park_seat_show(s, bytes, s->parked, l->working && !s->parked ? now : s->active_ns,
				       l->working && !s->parked, now);
			on_device += s->held - s->parked;
		}
		assert_true(on_device <= rule.config.device);
		for (;;) {
			struct park_action a = next();
			unsigned i = (unsigned)(a.seat - seat);

			if (a.kind == PARK_NOTHING)
				break;
			if (a.kind == PARK_ANSWER) {
				assert_true(seat[i].granted > 0);
				park_seat_show(&seat[i], bytes, 0, now, true, now);
				park_seat_want(&seat[i], 0, 0, false, now);
				if (now - lives[i].waited_since > lives[i].longest_wait)
					lives[i].longest_wait = now - lives[i].waited_since;
				lives[i].came_back = now;
				continue;
			}
			assert_true(!lives[i].came_back ||
				    now - lives[i].came_back >= rule.config.residence_ns);
			if (a.kind == PARK_ASK)
				assert_false(lives[i].working && !seat[i].parked && now == seat[i].active_ns);
			parks(i);
		}
	}
}

static void begin_crowd(struct life *lives, unsigned fit, uint64_t bytes)
{
	for (unsigned i = 0; i < SEATS; i++) {
		lives[i].until = now + i * 100 * MS;
		park_seat_show(&seat[i], bytes, i < fit ? 0 : bytes, now, false, now);
	}
}

static void a_crowd_with_pauses_all_get_on(void **state)
{
	struct life lives[SEATS] = { 0 };

	(void)state;
	set_up(10 * GIB, NO_END);
	begin_crowd(lives, 2, 5 * GIB);
	live(lives, 5 * GIB, 2 * SECOND, 20 * SECOND, 600 * SECOND);
	for (unsigned i = 0; i < SEATS; i++) {
		assert_true(lives[i].rounds >= 10);
		assert_true(lives[i].longest_wait <= 15 * SECOND);
	}
}

static void a_crowd_at_work_all_the_time_goes_round(void **state)
{
	struct life lives[SEATS] = { 0 };

	(void)state;
	set_up(10 * GIB, NO_END);
	begin_crowd(lives, 2, 5 * GIB);
	live(lives, 5 * GIB, 1000 * SECOND, SECOND, 300 * SECOND);
	for (unsigned i = 0; i < SEATS; i++) // three sets of two, each there for at least the residence
		assert_in_range(lives[i].longest_wait, 0, 3 * 3 * SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_wants_anything),
		cmocka_unit_test(the_one_that_is_idle_longest_goes_first),
		cmocka_unit_test(what_is_free_need_not_be_made),
		cmocka_unit_test(one_that_is_not_idle_is_left_alone),
		cmocka_unit_test(an_allocation_waits_for_somebody_to_become_idle_and_then_no_longer),
		cmocka_unit_test(an_allocation_is_refused_at_once_where_nothing_can_go),
		cmocka_unit_test(an_allocation_waits_for_one_that_ends),
		cmocka_unit_test(an_absurd_count_of_one_that_is_gone_does_no_harm),
		cmocka_unit_test(another_mediator_goes_on_with_what_was_noted),
		cmocka_unit_test(host_memory_is_bounded),
		cmocka_unit_test(one_that_parks_nothing_is_not_asked_again_at_once),
		cmocka_unit_test(what_stays_of_one_that_is_parked_is_not_asked_for),
		cmocka_unit_test(one_that_parked_a_part_parks_the_rest),
		cmocka_unit_test(one_that_never_answers_holds_nobody_up),
		cmocka_unit_test(those_at_work_make_room_for_one_that_comes_back_only),
		cmocka_unit_test(allocations_that_wait_for_one_another_do_not_wait_for_ever),
		cmocka_unit_test(a_crowd_with_pauses_all_get_on),
		cmocka_unit_test(a_crowd_at_work_all_the_time_goes_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
