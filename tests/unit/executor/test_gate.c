// SPDX-License-Identifier: Apache-2.0
// executor/gate.c with a turn page and a clock of the test's own.
#include "executor/gate.h"
#include "tests/unit/executor/test.h"

#define MS 1000000ull

static struct vgpu_turn_page page;
static struct gate gate;

static int setup(void **state)
{
	(void)state;
	page = (struct vgpu_turn_page){ 0 };
	atomic_store(&page.deadline_ns, VGPU_NO_DEADLINE);
	atomic_store(&page.idle_grace_ns, 50000);
	atomic_store(&page.inflight_budget_ns, 1 * MS);
	gate_init(&gate, &page);
	return 0;
}

static void open_turn(uint64_t deadline)
{
	atomic_store(&page.deadline_ns, deadline);
	atomic_fetch_add(&page.turn_id, 1);
	atomic_store(&page.gate, VGPU_GATE_OPEN);
}

static bool kicked(void)
{
	bool k = gate.kick;

	gate.kick = false;
	return k;
}

static void closed_until_opened(void **state)
{
	(void)state;
	assert_false(gate_is_free(&gate));
	assert_int_equal(gate_ask_slow(&gate, MS, 0), GATE_CLOSED);
	open_turn(VGPU_NO_DEADLINE);
	assert_true(gate_is_free(&gate));
	assert_int_equal(gate_ask_slow(&gate, MS, 100 * MS), GATE_GO);
}

static void demand_at_a_closed_gate_kicks_once(void **state)
{
	(void)state;
	gate_update(&gate, MS, true, 0);
	assert_true(kicked());
	assert_int_equal(atomic_load(&page.demand), 1);
	gate_update(&gate, 2 * MS, true, 0);
	assert_false(kicked());
}

static void alone_nobody_is_told(void **state)
{
	(void)state;
	open_turn(VGPU_NO_DEADLINE);
	gate_update(&gate, MS, true, 3);
	gate_update(&gate, 2 * MS, false, 3);
	assert_int_equal(atomic_load(&page.demand), 1);
	assert_int_equal(gate_update(&gate, 900 * MS, false, 0), UINT64_MAX);
	assert_int_equal(atomic_load(&page.demand), 0);
	assert_int_equal(atomic_load(&page.released_turn), 0);
	assert_true(gate_is_free(&gate)); // kept while idle
	assert_false(kicked());
}

static void a_closed_gate_is_given_back_when_work_is_done(void **state)
{
	(void)state;
	open_turn(VGPU_NO_DEADLINE);
	gate_update(&gate, MS, true, 5);
	atomic_store(&page.gate, VGPU_GATE_CLOSED);
	gate_update(&gate, 2 * MS, true, 5);
	assert_int_equal(atomic_load(&page.released_turn), 0);
	assert_false(kicked());
	gate_update(&gate, 3 * MS, true, 0);
	assert_int_equal(atomic_load(&page.released_turn), 1);
	assert_true(kicked());
	gate_update(&gate, 4 * MS, true, 0);
	assert_false(kicked());
}

static void a_deadline_ends_submission_then_the_turn(void **state)
{
	(void)state;
	open_turn(10 * MS);
	assert_false(gate_is_free(&gate));
	assert_int_equal(gate_ask_slow(&gate, 10 * MS - 1, 0), GATE_GO);
	assert_int_equal(gate_ask_slow(&gate, 10 * MS, 0), GATE_CLOSED);
	assert_int_equal(gate_update(&gate, 5 * MS, true, 2), 10 * MS);
	kicked();
	gate_update(&gate, 11 * MS, true, 2);
	assert_int_equal(atomic_load(&page.released_turn), 0);
	gate_update(&gate, 12 * MS, true, 0);
	assert_int_equal(atomic_load(&page.released_turn), 1);
	assert_true(kicked());
	// The gate still says open: that turn is over all the same.
	atomic_store(&page.deadline_ns, VGPU_NO_DEADLINE);
	assert_false(gate_is_free(&gate));
	assert_int_equal(gate_ask_slow(&gate, 12 * MS, 0), GATE_CLOSED);
	open_turn(30 * MS);
	assert_int_equal(gate_ask_slow(&gate, 13 * MS, 0), GATE_GO);
}

static void the_budget_bounds_what_is_in_flight(void **state)
{
	(void)state;
	open_turn(100 * MS);
	assert_int_equal(gate_ask_slow(&gate, MS, 1 * MS - 1), GATE_GO);
	assert_int_equal(gate_ask_slow(&gate, MS, 1 * MS), GATE_BUDGET_FULL);
	atomic_store(&page.inflight_budget_ns, 0);
	assert_int_equal(gate_ask_slow(&gate, MS, 0), GATE_GO); // one thing always goes
	assert_int_equal(gate_ask_slow(&gate, MS, 1), GATE_BUDGET_FULL);
}

static void idle_under_a_deadline_is_given_back_after_the_grace(void **state)
{
	(void)state;
	open_turn(100 * MS);
	gate_update(&gate, 1 * MS, true, 0);
	kicked();
	assert_int_equal(gate_update(&gate, 2 * MS, false, 0), 2 * MS + 50000);
	gate_update(&gate, 2 * MS + 49999, false, 0);
	assert_int_equal(atomic_load(&page.released_turn), 0);
	gate_update(&gate, 2 * MS + 49999, true, 0); // work came: the grace starts anew
	gate_update(&gate, 3 * MS, false, 0);
	gate_update(&gate, 3 * MS + 50000, false, 0);
	assert_int_equal(atomic_load(&page.released_turn), 1);
	assert_int_equal(atomic_load(&page.demand), 0);
	assert_true(kicked());
}

// Who holds the turn needs nothing of the mediator: only the end of the turn is told.
static void demand_within_a_turn_is_not_told(void **state)
{
	(void)state;
	open_turn(100 * MS);
	gate_update(&gate, MS, false, 0);
	assert_false(kicked());
	gate_update(&gate, MS + 1, true, 0);
	assert_int_equal(atomic_load(&page.demand), 1);
	assert_false(kicked());
}

static void a_deadline_may_come_later(void **state)
{
	(void)state;
	open_turn(VGPU_NO_DEADLINE);
	gate_update(&gate, MS, true, 1);
	atomic_store(&page.deadline_ns, 5 * MS);
	assert_false(gate_is_free(&gate));
	assert_int_equal(gate_update(&gate, 2 * MS, true, 1), 5 * MS);
	gate_update(&gate, 6 * MS, true, 0);
	assert_int_equal(atomic_load(&page.released_turn), 1);
}

// Opened and closed again before the executor looked.
static void a_turn_missed_altogether_is_given_back(void **state)
{
	(void)state;
	atomic_store(&page.turn_id, 1);
	gate_update(&gate, MS, false, 0);
	gate_update(&gate, 2 * MS, false, 0);
	assert_int_equal(atomic_load(&page.released_turn), 1);
	assert_true(kicked());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(closed_until_opened, setup),
		cmocka_unit_test_setup(demand_at_a_closed_gate_kicks_once, setup),
		cmocka_unit_test_setup(alone_nobody_is_told, setup),
		cmocka_unit_test_setup(a_closed_gate_is_given_back_when_work_is_done, setup),
		cmocka_unit_test_setup(a_deadline_ends_submission_then_the_turn, setup),
		cmocka_unit_test_setup(the_budget_bounds_what_is_in_flight, setup),
		cmocka_unit_test_setup(idle_under_a_deadline_is_given_back_after_the_grace, setup),
		cmocka_unit_test_setup(demand_within_a_turn_is_not_told, setup),
		cmocka_unit_test_setup(a_deadline_may_come_later, setup),
		cmocka_unit_test_setup(a_turn_missed_altogether_is_given_back, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
