// SPDX-License-Identifier: Apache-2.0
// What an operator can say of a group: pools, the latency class, caps, turn lengths; and that it can be
// changed while turns run. Simulated seconds with fixed seeds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "tests/unit/mediator/sim.h"

#define MOST	  16
#define ONE_POINT 0.01

// Up to two pools; tenant i has one program and lies in pool_of[i].
struct stage {
	struct sim sim;
	struct wfq_node pools[2], tenants[MOST];
	struct sim_proc procs[MOST];
	unsigned n;
	uint64_t mark_ns, used[MOST];
};

static int set_up(void **state)
{
	struct stage *s = test_calloc(1, sizeof(*s));

	sim_init(&s->sim, MS(8), 1);
	s->sim.wfq.config.latency_credit_ns = MS(16);
	wfq_add_group(&s->sim.wfq, &s->pools[0], NULL, 100);
	wfq_add_group(&s->sim.wfq, &s->pools[1], NULL, 100);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->procs[i].here)
			sim_leave(&s->sim, &s->procs[i]);
		wfq_remove(&s->sim.wfq, &s->tenants[i], s->sim.now_ns);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(s->pools[i].cap.kept_back, 0);
		wfq_remove(&s->sim.wfq, &s->pools[i], s->sim.now_ns);
	}
	assert_int_equal(s->sim.wfq.root.demand_count, 0);
	assert_int_equal(s->sim.wfq.root.demand_weight, 0);
	assert_int_equal(s->sim.wfq.tenants_in_demand, 0);
	assert_int_equal(s->sim.wfq.n_active, 0);
	assert_true(LIST_EMPTY(&s->sim.wfq.empty_caps) && LIST_EMPTY(&s->sim.wfq.latency_groups));
	sim_done(&s->sim);
	test_free(s);
	return 0;
}

static unsigned add(struct stage *s, unsigned pool, uint32_t weight, uint64_t kernel_ns, uint64_t gap_ns)
{
	unsigned i = s->n++;

	wfq_add_group(&s->sim.wfq, &s->tenants[i], &s->pools[pool], weight);
	s->procs[i].kernel_ns = kernel_ns;
	s->procs[i].gap_ns = gap_ns;
	sim_join(&s->sim, &s->procs[i], &s->tenants[i]);
	return i;
}

// What is used from here on counts.
static void mark(struct stage *s)
{
	s->mark_ns = s->sim.now_ns;
	for (unsigned i = 0; i < s->n; i++)
		s->used[i] = sim_used_ns(&s->sim, &s->procs[i]);
}

static void run(struct stage *s, uint64_t ns)
{
	mark(s);
	sim_run_until(&s->sim, s->sim.now_ns + ns);
}

// Of the time since the mark.
static double part(const struct stage *s, unsigned i)
{
	return (double)(sim_used_ns(&s->sim, &s->procs[i]) - s->used[i]) /
	       (double)(s->sim.now_ns - s->mark_ns);
}

static double busy(const struct stage *s)
{
	double sum = 0;

	for (unsigned i = 0; i < s->n; i++)
		sum += part(s, i);
	return sum;
}

static void assert_near(double is, double want, double tolerance)
{
	if (fabs(is - want) > tolerance)
		fail_msg("%.4f, wanted %.4f", is, want);
}

// Of all work done since the mark.
static void assert_share(const struct stage *s, unsigned i, double want)
{
	assert_near(part(s, i) / busy(s), want, ONE_POINT);
}

// ---- pools ----

static void test_pools_share_first_and_tenants_within(void **state)
{
	struct stage *s = *state;

	wfq_set_weight(&s->sim.wfq, &s->pools[0], 300, s->sim.now_ns);
	for (unsigned i = 0; i < 3; i++)
		add(s, 0, 100 << i, US(200), 0);
	add(s, 1, 1, US(5), 0); // its weight counts among its pool's tenants only
	run(s, SEC(10));
	for (unsigned i = 0; i < 3; i++)
		assert_share(s, i, 0.75 * (double)(1 << i) / 7);
	assert_share(s, 3, 0.25);
	assert_true(busy(s) >= 0.98);
}

static void test_an_idle_pool_is_not_waited_for(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	run(s, SEC(1));
	assert_true(part(s, 0) >= 0.999);
}

static void test_two_tenants_of_one_pool_are_contended(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 100, US(200), 0);
	run(s, SEC(1));
	wfq_account(&s->sim.wfq, s->sim.now_ns);
	assert_true(wfq_contended_ns(&s->sim.wfq, &s->tenants[0]) >= MS(990));
	assert_in_range(s->tenants[0].contended_charged_ns, MS(450), MS(550));
	assert_int_equal(wfq_share(&s->tenants[0]), 5000);
}

// ---- changes ----

static void test_weights_change_while_turns_run(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 100, US(200), 0);
	run(s, SEC(5));
	assert_share(s, 0, 0.5);
	wfq_set_weight(&s->sim.wfq, &s->tenants[0], 900, s->sim.now_ns);
	run(s, SEC(5));
	assert_share(s, 0, 0.9);
	wfq_set_weight(&s->sim.wfq, &s->tenants[0], 1, s->sim.now_ns);
	run(s, SEC(10));
	assert_share(s, 0, 0.0099);
	wfq_set_weight(&s->sim.wfq, &s->tenants[0], 100, s->sim.now_ns);
	run(s, SEC(2)); // nothing of the time at weight 1 is owed to it
	assert_share(s, 0, 0.5);
}

static void test_a_tenant_moves_while_it_runs_and_while_it_waits(void **state)
{
	struct stage *s = *state;

	for (unsigned i = 0; i < 4; i++)
		add(s, i / 2, 100, US(200), 0);
	run(s, SEC(4));
	for (unsigned i = 0; i < 4; i++)
		assert_share(s, i, 0.25);
	for (unsigned round = 0; round < 40; round++) { // whoever has the GPU in that moment
		wfq_move(&s->sim.wfq, &s->tenants[0], &s->pools[1], s->sim.now_ns);
		sim_run_until(&s->sim, s->sim.now_ns + US(700) * round);
		wfq_move(&s->sim.wfq, &s->tenants[0], &s->pools[0], s->sim.now_ns);
		sim_run_until(&s->sim, s->sim.now_ns + US(300) * round);
	}
	wfq_move(&s->sim.wfq, &s->tenants[0], &s->pools[1], s->sim.now_ns);
	run(s, SEC(6));
	assert_share(s, 1, 0.5); // alone in its pool now
	assert_share(s, 0, 0.5 / 3);
	assert_share(s, 2, 0.5 / 3);
}

static void test_turn_length_is_the_nearest_groups(void **state)
{
	struct stage *s = *state;
	uint64_t opened;

	wfq_set_turn(&s->pools[0], MS(40));
	add(s, 0, 100, US(200), 0);
	add(s, 1, 100, US(200), 0);
	run(s, SEC(4));
	assert_share(s, 0, 0.5);
	opened = s->procs[0].opened;
	assert_in_range(opened, 4000 / 82, 4000 / 70); // 41 ms of it, then as long for the other one
	wfq_set_turn(&s->tenants[0], MS(2)); // what it is owed comes as one turn, so both are shortened
	wfq_set_turn(&s->pools[1], MS(2));
	run(s, SEC(4));
	assert_true(s->procs[0].opened - opened > 350);
}

static void test_many_tenants_have_shorter_turns(void **state)
{
	struct stage *s = *state;

	s->sim.wfq.config.round_ns = MS(32);
	for (unsigned i = 0; i < 16; i++)
		add(s, 0, 100, US(100), 0);
	run(s, SEC(2));
	for (unsigned i = 0; i < 16; i++)
		assert_true(s->procs[i].longest_wait_ns <= MS(16) * 2 + MS(16)); // 1 ms of drain each
}

// ---- the latency class ----

// Eight that saturate, with kernels of 200 us, and one that asks for 200 us every 10 ms.
static uint64_t wait_beside_eight(struct stage *s, bool latency)
{
	unsigned i = 0;

	for (; i < 8; i++)
		add(s, i % 2, 100, US(200), 0);
	add(s, 0, 100, US(200), MS(10));
	wfq_set_latency(&s->sim.wfq, &s->tenants[i], latency);
	sim_run_until(&s->sim, s->sim.now_ns + SEC(1));
	s->procs[i].longest_wait_ns = 0;
	run(s, SEC(10));
	assert_true(part(s, i) >= (latency ? 0.016 : 0));
	return s->procs[i].longest_wait_ns;
}

static void test_latency_class_waits_for_the_work_in_flight_only(void **state)
{
	struct stage *s = *state;
	uint64_t wait = wait_beside_eight(s, true);

	// The budget and a kernel that began within it; messages: kick, close, release, open.
	assert_true(wait <= s->sim.budget_ns + US(200) + 4 * SIM_LATENCY_NS);
	assert_true(busy(s) >= 0.95);
	for (unsigned i = 0; i < 8; i++)
		assert_near(part(s, i), busy(s) / 8, 0.02);
}

static void test_the_usual_class_waits_longer(void **state)
{
	assert_true(wait_beside_eight(*state, false) >= MS(2));
}

static void test_latency_class_gets_its_share_and_no_more(void **state)
{
	struct stage *s = *state;

	for (unsigned i = 0; i < 4; i++)
		add(s, 0, 100, US(200), 0);
	wfq_set_latency(&s->sim.wfq, &s->tenants[3], true);
	for (unsigned second = 0; second < 10; second++) {
		run(s, SEC(1));
		// The share, the credit once, and what a turn's end can shift between two seconds.
		assert_true(part(s, 3) <= 0.25 + (second ? 0.01 : 0.026));
		assert_true(part(s, 3) >= 0.24);
	}
	assert_true(busy(s) >= 0.98);
}

// It synchronises after each launch: a new arrival each time, each of which may take the GPU from another.
static void test_latency_class_that_synchronises_gets_its_share_and_no_more(void **state)
{
	struct stage *s = *state;

	for (unsigned i = 0; i < 4; i++)
		add(s, i / 2, 100, US(200), i == 3 ? US(150) : 0);
	s->procs[3].kernel_ns = US(400);
	wfq_set_latency(&s->sim.wfq, &s->tenants[3], true);
	run(s, SEC(1));
	run(s, SEC(10));
	wfq_account(&s->sim.wfq, s->sim.now_ns);
	assert_true(part(s, 3) <= 0.25 + ONE_POINT);
	assert_true(s->tenants[3].charged_ns <= SEC(11) * 0.25 + MS(24));
	assert_true(part(s, 3) >= 0.15);
	assert_true(busy(s) >= 0.9);
}

// Its pool pays: the other tenant of the pool has less, the other pool not.
static void test_latency_class_pays_from_its_pools_share(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 100, US(200), 0);
	add(s, 1, 100, US(200), 0);
	wfq_set_latency(&s->sim.wfq, &s->tenants[0], true);
	run(s, SEC(10));
	assert_share(s, 0, 0.25);
	assert_share(s, 1, 0.25);
	assert_share(s, 2, 0.5);
}

static void test_two_of_the_latency_class_do_not_starve_each_other(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	for (unsigned i = 1; i < 4; i++) {
		add(s, 0, 100, US(200), MS(5) + US(330 * i));
		wfq_set_latency(&s->sim.wfq, &s->tenants[i], true);
	}
	run(s, SEC(10));
	// At worst the three come at once: two are served before it, with grace and messages.
	for (unsigned i = 1; i < 4; i++)
		assert_true(s->procs[i].longest_wait_ns <= MS(3));
}

// ---- caps ----

static void test_caps_hold_alone(void **state)
{
	static const uint32_t percents[] = { 5, 10, 20, 30, 50, 75, 95 };
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	for (unsigned i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		wfq_set_cap(&s->sim.wfq, &s->tenants[0], percents[i] * 100, MS(percents[i]), s->sim.now_ns);
		sim_run_until(&s->sim, s->sim.now_ns + SEC(1)); // what is left of the last one
		for (unsigned second = 0; second < 5; second++) {
			run(s, SEC(1));
			// Up to a bucket and an overshoot can shift between two seconds.
			assert_near(part(s, 0), percents[i] / 100.0, percents[i] / 1000.0 + 0.002);
		}
		run(s, SEC(10));
		print_message("cap %2u %%: %.3f %%\n", percents[i], 100 * part(s, 0));
		assert_near(part(s, 0), percents[i] / 100.0, 0.005);
	}
	assert_true(wfq_capped_ns(&s->tenants[0]) > SEC(40));
	wfq_set_cap(&s->sim.wfq, &s->tenants[0], 0, 0, s->sim.now_ns);
	run(s, SEC(1));
	assert_true(part(s, 0) >= 0.99);
}

// Kernels longer than the bucket: paid for afterwards.
static void test_a_cap_counts_what_could_not_be_stopped(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, MS(50), 0);
	wfq_set_cap(&s->sim.wfq, &s->tenants[0], 1000, MS(10), s->sim.now_ns);
	run(s, SEC(1));
	run(s, SEC(20));
	assert_near(part(s, 0), 0.1, 0.006);
}

static void test_what_a_cap_leaves_goes_to_the_others(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 100, US(200), 0);
	add(s, 1, 100, US(200), 0);
	wfq_set_cap(&s->sim.wfq, &s->tenants[0], 1000, MS(10), s->sim.now_ns);
	run(s, SEC(10));
	assert_near(part(s, 0), 0.1, 0.005);
	assert_near(part(s, 1), 0.4, ONE_POINT);
	assert_near(part(s, 2), 0.5, ONE_POINT);
	assert_true(busy(s) >= 0.98);
}

static void test_a_cap_above_the_share_changes_nothing(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 300, US(200), 0);
	wfq_set_cap(&s->sim.wfq, &s->tenants[0], 4000, MS(40), s->sim.now_ns);
	run(s, SEC(10));
	assert_share(s, 0, 0.25);
	assert_true(busy(s) >= 0.98);
}

static void test_a_pools_cap_holds_for_all_in_it(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 200, US(200), 0);
	wfq_set_cap(&s->sim.wfq, &s->pools[0], 3000, MS(30), s->sim.now_ns);
	run(s, SEC(10));
	assert_near(part(s, 0), 0.1, 0.005);
	assert_near(part(s, 1), 0.2, 0.005);
	wfq_move(&s->sim.wfq, &s->tenants[1], &s->pools[1], s->sim.now_ns); // it may be kept back now
	run(s, SEC(5));
	assert_near(part(s, 1), 0.7, ONE_POINT);
	assert_near(part(s, 0), 0.3, ONE_POINT);
	wfq_move(&s->sim.wfq, &s->tenants[1], &s->pools[0], s->sim.now_ns);
	run(s, SEC(5));
	assert_near(part(s, 0) + part(s, 1), 0.3, ONE_POINT);
}

static void test_a_capped_one_may_leave_at_any_time(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	wfq_set_cap(&s->sim.wfq, &s->tenants[0], 500, MS(5), s->sim.now_ns);
	run(s, MS(50));
	assert_int_equal(s->procs[0].leaf.state, WFQ_CAPPED);
	wfq_want(&s->sim.wfq, &s->procs[0].leaf, false, s->sim.now_ns);
	assert_int_equal(s->procs[0].leaf.state, WFQ_IDLE);
	wfq_want(&s->sim.wfq, &s->procs[0].leaf, true, s->sim.now_ns);
	assert_int_equal(s->procs[0].leaf.state, WFQ_CAPPED);
}

// The latency class goes first, but not beyond a cap.
static void test_a_cap_binds_the_latency_class(void **state)
{
	struct stage *s = *state;

	add(s, 0, 100, US(200), 0);
	add(s, 0, 100, US(200), 0);
	wfq_set_latency(&s->sim.wfq, &s->tenants[0], true);
	wfq_set_cap(&s->sim.wfq, &s->tenants[0], 1500, MS(15), s->sim.now_ns);
	run(s, SEC(10));
	assert_near(part(s, 0), 0.15, 0.005);
	assert_near(part(s, 1), 0.85, ONE_POINT);
}

// ---- all at once ----

// Everything is changed at random moments, whoever has the GPU; one tenant without a cap always wants more,
// so it never stands idle for long. The books are compared in tear_down.
static void test_random_changes_keep_the_books(void **state)
{
	struct stage *s = *state;
	struct wfq *w = &s->sim.wfq;

	w->config.round_ns = MS(250);
	for (unsigned i = 0; i < 12; i++) {
		add(s, i % 2, (uint32_t)(1 + sim_random(&s->sim, 200)), US(5 + 40 * i),
		    i % 3 == 1 ? US(300 * i) : 0);
		s->procs[i].kernel_max_ns = i % 4 ? 0 : MS(3);
	}
	mark(s);
	for (unsigned step = 0; step < 4000; step++) {
		unsigned i = (unsigned)sim_random(&s->sim, 12);
		struct wfq_node *group = sim_random(&s->sim, 8) ? &s->tenants[i] : &s->pools[1];
		uint64_t now = s->sim.now_ns;
		uint32_t cap = (uint32_t)(1 + sim_random(&s->sim, 9000));

		switch (sim_random(&s->sim, 6)) {
		case 0: wfq_set_weight(w, group, (uint32_t)(1 + sim_random(&s->sim, 10000)), now); break;
		case 1: wfq_move(w, &s->tenants[i], &s->pools[i ? sim_random(&s->sim, 2) : 0], now); break;
		case 2: wfq_set_latency(w, &s->tenants[i], sim_random(&s->sim, 2)); break;
		case 3:
			if (group != &s->tenants[0])
				wfq_set_cap(w, group, sim_random(&s->sim, 2) ? cap : 0, MS(1 + cap / 100),
					    now);
			break;
		case 4:
			wfq_set_turn(group, sim_random(&s->sim, 2) ? MS(1 + sim_random(&s->sim, 20)) : 0);
			break;
		default:
			if (i && s->procs[i].drain_ns <= now && s->procs[i].leaf.state != WFQ_HOLDING &&
			    s->procs[i].leaf.state != WFQ_CLOSING)
				wfq_want(w, &s->procs[i].leaf, s->procs[i].demand, now);
			break;
		}
		sim_run_until(&s->sim, now + sim_random(&s->sim, MS(10)));
		assert_true(w->tenants_in_demand <= 12 && w->n_active <= 12);
	}
	assert_true(busy(s) >= 0.85);
	assert_true(busy(s) <= 1.001);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(s->procs[i].lingered + s->procs[i].killed, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_pools_share_first_and_tenants_within),
		T(test_an_idle_pool_is_not_waited_for),
		T(test_two_tenants_of_one_pool_are_contended),
		T(test_weights_change_while_turns_run),
		T(test_a_tenant_moves_while_it_runs_and_while_it_waits),
		T(test_turn_length_is_the_nearest_groups),
		T(test_many_tenants_have_shorter_turns),
		T(test_latency_class_waits_for_the_work_in_flight_only),
		T(test_the_usual_class_waits_longer),
		T(test_latency_class_gets_its_share_and_no_more),
		T(test_latency_class_that_synchronises_gets_its_share_and_no_more),
		T(test_latency_class_pays_from_its_pools_share),
		T(test_two_of_the_latency_class_do_not_starve_each_other),
		T(test_caps_hold_alone),
		T(test_a_cap_counts_what_could_not_be_stopped),
		T(test_what_a_cap_leaves_goes_to_the_others),
		T(test_a_cap_above_the_share_changes_nothing),
		T(test_a_pools_cap_holds_for_all_in_it),
		T(test_a_capped_one_may_leave_at_any_time),
		T(test_a_cap_binds_the_latency_class),
		T(test_random_changes_keep_the_books),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
