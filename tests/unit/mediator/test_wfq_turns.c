// SPDX-License-Identifier: Apache-2.0
// The life of a turn, decision by decision: who gets the gate, until when, what is closed, killed and billed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/sched/wfq.h"

#define US(n) ((uint64_t)(n) * NSEC_PER_USEC)
#define MS(n) ((uint64_t)(n) * NSEC_PER_MSEC)
#define T0    MS(1000)

// Two tenants, two executors each.
struct fixture {
	struct wfq w;
	struct wfq_node a, b, a1, a2, b1, b2;
	struct wfq_node c, c1; // a third tenant, added by the tests that need it
};

static int set_up(void **state)
{
	const struct wfq_config config = {
		.turn_ns = MS(8), .min_turn_ns = MS(1), .overrun_ns = MS(250), .watchdog_ns = MS(30000)
	};
	struct fixture *f = test_calloc(1, sizeof(*f));

	wfq_init(&f->w, &config);
	f->w.accounted_ns = T0;
	wfq_add_group(&f->w, &f->a, NULL, 100);
	wfq_add_group(&f->w, &f->b, NULL, 100);
	assert_int_equal(wfq_add_leaf(&f->w, &f->a1, &f->a, 1), 0);
	assert_int_equal(wfq_add_leaf(&f->w, &f->a2, &f->a, 1), 0);
	assert_int_equal(wfq_add_leaf(&f->w, &f->b1, &f->b, 1), 0);
	assert_int_equal(wfq_add_leaf(&f->w, &f->b2, &f->b, 1), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	struct wfq_node *all[] = { &f->a1, &f->a2, &f->b1, &f->b2, &f->c1, &f->a, &f->b, &f->c };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i]->parent)
			wfq_remove(&f->w, all[i], MS(100000));
	}
	wfq_done(&f->w);
	test_free(f);
	return 0;
}

static void expect(struct wfq *w, uint64_t now, enum wfq_action_kind kind, const struct wfq_node *leaf)
{
	struct wfq_action a;

	assert_true(wfq_next(w, now, &a));
	assert_int_equal(a.kind, kind);
	assert_ptr_equal(a.leaf, leaf);
}

static void expect_until(struct wfq *w, uint64_t now, enum wfq_action_kind kind, const struct wfq_node *leaf,
			 uint64_t deadline)
{
	struct wfq_action a;

	assert_true(wfq_next(w, now, &a));
	assert_int_equal(a.kind, kind);
	assert_ptr_equal(a.leaf, leaf);
	assert_int_equal(a.deadline_ns, deadline);
}

static void expect_nothing(struct wfq *w, uint64_t now)
{
	struct wfq_action a;

	assert_false(wfq_next(w, now, &a));
}

// a1 has the gate since T0, nobody else wants it.
static void open_a1(struct fixture *f)
{
	wfq_want(&f->w, &f->a1, true, T0);
	expect_until(&f->w, T0, WFQ_OPEN, &f->a1, WFQ_NEVER);
	expect_nothing(&f->w, T0);
}

static void test_alone_there_is_no_deadline_and_no_timer(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	assert_int_equal(wfq_wakeup(&f->w), WFQ_NEVER);
	wfq_want(&f->w, &f->a1, false, T0 + MS(1));
	expect_nothing(&f->w, T0 + MS(1));
	wfq_want(&f->w, &f->a1, true, T0 + MS(2));
	expect_nothing(&f->w, T0 + MS(2));
	assert_int_equal(f->a.turns, 0);
}

static void test_second_one_sets_a_deadline_for_the_rest_of_the_turn(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_meter(&f->w, &f->a1, MS(3));
	wfq_want(&f->w, &f->b1, true, T0 + MS(3));
	// b1 comes with the allowance: the holder is ahead of it by more than a shortest turn, so it is cut.
	expect_until(&f->w, T0 + MS(3), WFQ_CLOSE, &f->a1, 0);
	wfq_released(&f->w, &f->a1, true, T0 + MS(4));
	expect_until(&f->w, T0 + MS(4), WFQ_OPEN, &f->b1, T0 + MS(12));
	assert_int_equal(wfq_wakeup(&f->w), T0 + MS(12));
	expect_nothing(&f->w, T0 + MS(12) - 1);
	expect(&f->w, T0 + MS(12), WFQ_CLOSE, &f->b1);
	expect_nothing(&f->w, T0 + MS(12));
	assert_int_equal(wfq_wakeup(&f->w), T0 + MS(12) + MS(250));
	wfq_released(&f->w, &f->b1, true, T0 + MS(13));
	expect(&f->w, T0 + MS(13), WFQ_OPEN, &f->a1);
}

static void test_a_turn_just_begun_is_not_cut(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_meter(&f->w, &f->a1, US(500));
	wfq_want(&f->w, &f->b1, true, T0 + US(500));
	expect_until(&f->w, T0 + US(500), WFQ_DEADLINE, &f->a1, T0 + MS(8));
}

static void test_idle_holder_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->a1, false, T0 + MS(1));
	wfq_want(&f->w, &f->b1, true, T0 + MS(2));
	expect(&f->w, T0 + MS(2), WFQ_CLOSE, &f->a1);
	expect_until(&f->w, T0 + MS(2), WFQ_OPEN, &f->b1, WFQ_NEVER);
	// Its own word that it gave the turn back comes late, with new demand.
	wfq_released(&f->w, &f->a1, true, T0 + MS(2) + US(50));
	wfq_want(&f->w, &f->a1, true, T0 + MS(2) + US(50));
	assert_int_equal(f->a1.state, WFQ_WAITING);
	assert_int_equal(wfq_contended_ns(&f->w, &f->b), 0);
}

static void test_deadline_is_lifted_when_nobody_waits_any_more(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_meter(&f->w, &f->a1, US(500));
	wfq_want(&f->w, &f->b1, true, T0 + US(500));
	expect(&f->w, T0 + US(500), WFQ_DEADLINE, &f->a1);
	wfq_remove(&f->w, &f->b1, T0 + US(600));
	expect_until(&f->w, T0 + US(600), WFQ_DEADLINE, &f->a1, WFQ_NEVER);
	expect_nothing(&f->w, T0 + MS(100));
}

static void test_early_release_hands_over_at_once(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->b1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	wfq_released(&f->w, &f->a1, false, T0 + US(700));
	expect_until(&f->w, T0 + US(700), WFQ_OPEN, &f->b1, WFQ_NEVER);
	assert_int_equal(f->a.charged_ns, US(700));
}

static void test_overshoot_is_debt(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->b1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	expect(&f->w, T0 + MS(8), WFQ_CLOSE, &f->a1);
	wfq_released(&f->w, &f->a1, true, T0 + MS(48)); // 40 ms over
	// b1 is owed 48 ms: one turn of that length instead of six.
	expect_until(&f->w, T0 + MS(48), WFQ_OPEN, &f->b1, T0 + MS(48 + 48));
	assert_int_equal(f->a.charged_ns, MS(48));
}

static void test_overrun_lets_others_go_on_and_shares_the_bill(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->b1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	expect(&f->w, T0 + MS(8), WFQ_CLOSE, &f->a1);
	expect_nothing(&f->w, T0 + MS(257));
	expect(&f->w, T0 + MS(258), WFQ_LINGER, &f->a1);
	expect(&f->w, T0 + MS(258), WFQ_OPEN, &f->b1);
	wfq_account(&f->w, T0 + MS(358));
	assert_int_equal(f->a.charged_ns, MS(258 + 50));
	assert_int_equal(f->b.charged_ns, MS(50));
	wfq_released(&f->w, &f->a1, false, T0 + MS(358));
	wfq_meter(&f->w, &f->b1, MS(100));
	wfq_account(&f->w, T0 + MS(458));
	assert_int_equal(f->a.charged_ns, MS(308));
	assert_in_range(f->b.charged_ns, MS(50), MS(150));
}

static void test_watchdog_asks_for_the_kill_once(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->b1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	expect(&f->w, T0 + MS(8), WFQ_CLOSE, &f->a1);
	expect(&f->w, T0 + MS(258), WFQ_LINGER, &f->a1);
	expect(&f->w, T0 + MS(258), WFQ_OPEN, &f->b1);
	expect_nothing(&f->w, T0 + MS(30007));
	assert_int_equal(wfq_wakeup(&f->w), T0 + MS(30008));
	expect(&f->w, T0 + MS(30008), WFQ_KILL, &f->a1);
	expect_nothing(&f->w, T0 + MS(30009));
	wfq_remove(&f->w, &f->a1, T0 + MS(30010));
	expect_nothing(&f->w, T0 + MS(30010));
}

static void test_abandoned_holder_blocks_nobody(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->b1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	wfq_abandon(&f->w, &f->a1, T0 + MS(1));
	expect(&f->w, T0 + MS(1), WFQ_OPEN, &f->b1);
	wfq_remove(&f->w, &f->a1, T0 + MS(3));
	assert_int_equal(f->a.charged_ns, MS(2));
}

static void test_removed_holder_hands_over(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->b1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	wfq_remove(&f->w, &f->a1, T0 + MS(1));
	expect(&f->w, T0 + MS(1), WFQ_OPEN, &f->b1);
	assert_int_equal(f->a.charged_ns, MS(1));
}

static void test_alone_busy_time_is_billed_and_never_more_than_wall_time(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_meter(&f->w, &f->a1, MS(4));
	wfq_account(&f->w, T0 + MS(10));
	assert_int_equal(f->a.charged_ns, MS(4));
	wfq_meter(&f->w, &f->a1, MS(4000)); // a lie
	wfq_account(&f->w, T0 + MS(20));
	assert_int_equal(f->a.charged_ns, MS(20));
	wfq_meter(&f->w, &f->a1, 0); // and another
	wfq_account(&f->w, T0 + MS(30));
	assert_int_equal(f->a.charged_ns, MS(30));
	assert_int_equal(f->a.contended_charged_ns, 0);
	assert_int_equal(f->a1.charged_ns, MS(30));
}

static void test_contended_time_is_counted_apart(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_meter(&f->w, &f->a1, US(500));
	wfq_want(&f->w, &f->b1, true, T0 + US(500));
	expect(&f->w, T0 + US(500), WFQ_DEADLINE, &f->a1);
	wfq_released(&f->w, &f->a1, false, T0 + US(1500));
	expect(&f->w, T0 + US(1500), WFQ_OPEN, &f->b1);
	wfq_account(&f->w, T0 + MS(5));
	assert_int_equal(f->a.contended_charged_ns, MS(1));
	assert_int_equal(f->b.contended_charged_ns, 0);
	assert_int_equal(wfq_contended_ns(&f->w, &f->a), MS(1));
	assert_int_equal(wfq_contended_ns(&f->w, &f->b), MS(1));
}

// Two programs of one tenant take turns like any others, but that is not competition between tenants.
static void test_programs_of_one_tenant_take_turns(void **state)
{
	struct fixture *f = *state;

	open_a1(f);
	wfq_want(&f->w, &f->a2, true, T0);
	expect_until(&f->w, T0, WFQ_DEADLINE, &f->a1, T0 + MS(8));
	expect(&f->w, T0 + MS(8), WFQ_CLOSE, &f->a1);
	wfq_released(&f->w, &f->a1, true, T0 + MS(8));
	expect(&f->w, T0 + MS(8), WFQ_OPEN, &f->a2);
	wfq_account(&f->w, T0 + MS(10));
	assert_int_equal(f->a.contended_charged_ns, 0);
	assert_int_equal(wfq_contended_ns(&f->w, &f->a), 0);
}

static void test_heavier_one_gets_a_longer_turn_instead_of_several(void **state)
{
	struct fixture *f = *state;

	wfq_add_group(&f->w, &f->c, NULL, 300);
	assert_int_equal(wfq_add_leaf(&f->w, &f->c1, &f->c, 1), 0);
	open_a1(f);
	wfq_want(&f->w, &f->c1, true, T0);
	expect(&f->w, T0, WFQ_DEADLINE, &f->a1);
	expect(&f->w, T0 + MS(8), WFQ_CLOSE, &f->a1);
	wfq_released(&f->w, &f->a1, true, T0 + MS(8));
	expect_until(&f->w, T0 + MS(8), WFQ_OPEN, &f->c1, T0 + MS(8 + 24));
	// Somebody who used nothing yet is not kept out for that long.
	wfq_want(&f->w, &f->b1, true, T0 + US(8500));
	expect_until(&f->w, T0 + US(8500), WFQ_DEADLINE, &f->c1, T0 + MS(16));
}

static void test_a_new_tenant_cannot_claim_the_past(void **state)
{
	struct fixture *f = *state;
	uint64_t now = T0 + MS(60000);

	open_a1(f);
	wfq_meter(&f->w, &f->a1, MS(60000));
	wfq_account(&f->w, now);
	wfq_add_group(&f->w, &f->c, NULL, 100);
	assert_int_equal(wfq_add_leaf(&f->w, &f->c1, &f->c, 1), 0);
	wfq_want(&f->w, &f->c1, true, now);
	expect(&f->w, now, WFQ_CLOSE, &f->a1);
	wfq_released(&f->w, &f->a1, true, now);
	expect_until(&f->w, now, WFQ_OPEN, &f->c1, now + MS(8));
	expect(&f->w, now + MS(8), WFQ_CLOSE, &f->c1);
	wfq_released(&f->w, &f->c1, true, now + MS(8));
	expect(&f->w, now + MS(8), WFQ_OPEN, &f->a1);
}

// A waiting leaf may lose its demand (its program gave up); a released turn may be told twice.
static void test_repeated_and_late_news_do_no_harm(void **state)
{
	struct fixture *f = *state;

	wfq_released(&f->w, &f->a1, true, T0);
	open_a1(f);
	wfq_want(&f->w, &f->a1, true, T0);
	wfq_want(&f->w, &f->b1, true, T0);
	wfq_want(&f->w, &f->b1, true, T0);
	wfq_want(&f->w, &f->b1, false, T0);
	wfq_want(&f->w, &f->b1, false, T0);
	expect_nothing(&f->w, T0 + MS(20));
	wfq_released(&f->w, &f->a1, false, T0 + MS(20));
	wfq_released(&f->w, &f->a1, false, T0 + MS(20));
	expect_nothing(&f->w, T0 + MS(20));
	wfq_account(&f->w, T0); // time that stands still or goes back is no time
	assert_int_equal(wfq_wakeup(&f->w), WFQ_NEVER);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_alone_there_is_no_deadline_and_no_timer),
		T(test_second_one_sets_a_deadline_for_the_rest_of_the_turn),
		T(test_a_turn_just_begun_is_not_cut),
		T(test_idle_holder_is_not_waited_for),
		T(test_deadline_is_lifted_when_nobody_waits_any_more),
		T(test_early_release_hands_over_at_once),
		T(test_overshoot_is_debt),
		T(test_overrun_lets_others_go_on_and_shares_the_bill),
		T(test_watchdog_asks_for_the_kill_once),
		T(test_abandoned_holder_blocks_nobody),
		T(test_removed_holder_hands_over),
		T(test_alone_busy_time_is_billed_and_never_more_than_wall_time),
		T(test_contended_time_is_counted_apart),
		T(test_programs_of_one_tenant_take_turns),
		T(test_heavier_one_gets_a_longer_turn_instead_of_several),
		T(test_a_new_tenant_cannot_claim_the_past),
		T(test_repeated_and_late_news_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
