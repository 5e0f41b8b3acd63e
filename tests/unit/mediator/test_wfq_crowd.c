// SPDX-License-Identifier: Apache-2.0
// Many tenants that come, go, pause, overshoot and hang: nobody starves, the GPU does not stand idle, the
// books agree, and tags survive months of service. Fixed seeds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "tests/unit/mediator/sim.h"

struct crowd {
	struct sim sim;
	unsigned n;
	struct wfq_node *tenants;
	struct sim_proc *procs;
};

static void crowd_init(struct crowd *c, unsigned n, uint64_t seed)
{
	sim_init(&c->sim, MS(8), seed);
	c->n = n;
	c->tenants = test_calloc(n, sizeof(*c->tenants));
	c->procs = test_calloc(n, sizeof(*c->procs));
}

static void crowd_done(struct crowd *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (c->procs[i].here)
			sim_leave(&c->sim, &c->procs[i]);
		if (c->tenants[i].parent)
			wfq_remove(&c->sim.wfq, &c->tenants[i], c->sim.now_ns);
	}
	assert_int_equal(c->sim.wfq.root.demand_count, 0);
	assert_int_equal(c->sim.wfq.root.demand_weight, 0);
	assert_int_equal(c->sim.wfq.n_active, 0);
	sim_done(&c->sim);
	test_free(c->tenants);
	test_free(c->procs);
}

static uint64_t total_used(const struct crowd *c)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < c->n; i++)
		total += sim_used_ns(&c->sim, &c->procs[i]);
	return total;
}

// 2,000 tenants of weights 1, 2, 4, 8: each waits at most about a round. A round is everybody once, the
// heavier ones up to eight turns: 2,000 * (1 + 2 + 4 + 8) / 4 turns.
static void test_thousands_of_tenants_are_all_served(void **state)
{
	const uint64_t round = (MS(8) + MS(1) + 2 * SIM_LATENCY_NS) * 2000 * 15 / 4;
	double served[4] = { 0 };
	struct crowd c;
	uint64_t begin;

	(void)state;
	crowd_init(&c, 2000, 3);
	begin = c.sim.now_ns;
	for (unsigned i = 0; i < c.n; i++) {
		wfq_add_group(&c.sim.wfq, &c.tenants[i], NULL, 1u << i % 4);
		c.procs[i].kernel_ns = US(400 + 50 * (i % 20));
		sim_join(&c.sim, &c.procs[i], &c.tenants[i]);
	}
	// All begin with the same tag, so in the first round the light ones come too early.
	sim_run_until(&c.sim, begin + 2 * round);
	for (unsigned i = 0; i < c.n; i++)
		served[i % 4] -= (double)sim_used_ns(&c.sim, &c.procs[i]);
	sim_run_until(&c.sim, begin + 42 * round);
	for (unsigned i = 0; i < c.n; i++) {
		assert_true((double)c.procs[i].longest_wait_ns <= 1.1 * (double)round);
		assert_true(c.procs[i].opened >= 41);
		served[i % 4] += (double)sim_used_ns(&c.sim, &c.procs[i]);
	}
	for (unsigned k = 1; k < 4; k++) // of forty turns one may still be missing
		assert_true(fabs(served[k] / served[0] / (1u << k) - 1) < 0.03);
	assert_true((double)total_used(&c) >= 0.98 * 42 * (double)round);
	crowd_done(&c);
}

// The GPU never waits while somebody wants it, whoever comes and goes.
static void test_joins_and_leaves_keep_the_gpu_busy(void **state)
{
	const unsigned n = 64;
	const uint64_t length = SEC(10);
	uint64_t begin, leaving_loss = 0;
	struct crowd c;

	(void)state;
	crowd_init(&c, n, 11);
	begin = c.sim.now_ns;
	for (unsigned i = 0; i < n; i++) {
		wfq_add_group(&c.sim.wfq, &c.tenants[i], NULL, (uint32_t)(1 + sim_random(&c.sim, 100)));
		c.procs[i].kernel_ns = US(5);
		c.procs[i].kernel_max_ns = i % 8 ? US(500) : MS(50);
		c.procs[i].gap_ns = i % 3 == 0 ? US(1 + sim_random(&c.sim, 3000)) : 0;
	}
	// One at least is always there and always wants more.
	c.procs[1].gap_ns = 0;
	sim_join(&c.sim, &c.procs[1], &c.tenants[1]);
	while (c.sim.now_ns < begin + length) {
		struct sim_proc *p = &c.procs[2 + sim_random(&c.sim, n - 2)];

		if (p->here) {
			// Work that was cut off with it was not done.
			leaving_loss += p->drain_ns > c.sim.now_ns ? p->drain_ns - c.sim.now_ns : 0;
			sim_leave(&c.sim, p);
			p->submitted_ns -= p->drain_ns > c.sim.now_ns ? p->drain_ns - c.sim.now_ns : 0;
			p->drain_ns = 0;
			p->turn_id = p->released_turn = 0;
			p->demand = p->gate = p->opening = p->pausing = false;
		} else {
			sim_join(&c.sim, p, &c.tenants[p - c.procs]);
		}
		sim_run_until(&c.sim, c.sim.now_ns + sim_random(&c.sim, MS(20)));
	}
	// A third of them pauses all the time: hand-overs, graces and short turns cost a tenth here.
	assert_true((double)(total_used(&c) + leaving_loss) >= 0.88 * (double)length);
	assert_true((double)total_used(&c) <= 1.02 * (double)length);
	crowd_done(&c);
}

// One executor that never gives its turn back: it is killed in time, the others go on long before.
static void test_a_hung_one_stops_nobody(void **state)
{
	struct crowd c;
	uint64_t begin;

	(void)state;
	crowd_init(&c, 4, 5);
	begin = c.sim.now_ns;
	for (unsigned i = 0; i < c.n; i++) {
		wfq_add_group(&c.sim.wfq, &c.tenants[i], NULL, 100);
		c.procs[i].kernel_ns = US(100);
		c.procs[i].stuck = i == 0;
		sim_join(&c.sim, &c.procs[i], &c.tenants[i]);
	}
	sim_run_until(&c.sim, begin + SEC(29));
	assert_int_equal(c.procs[0].lingered, 1);
	assert_int_equal(c.procs[0].killed, 0);
	for (unsigned i = 1; i < c.n; i++) {
		assert_true(c.procs[i].longest_wait_ns <= MS(400));
		assert_true(sim_used_ns(&c.sim, &c.procs[i]) >= SEC(9));
	}
	sim_run_until(&c.sim, begin + SEC(31));
	assert_int_equal(c.procs[0].killed, 1);
	crowd_done(&c);
}

// A tenant that toggles its demand all the time gets no more than its share.
static void test_toggling_earns_nothing(void **state)
{
	struct crowd c;

	(void)state;
	crowd_init(&c, 3, 5);
	for (unsigned i = 0; i < c.n; i++) {
		wfq_add_group(&c.sim.wfq, &c.tenants[i], NULL, 100);
		c.procs[i].kernel_ns = i == 0 ? US(900) : US(100);
		c.procs[i].gap_ns = i == 0 ? US(150) : 0;
		sim_join(&c.sim, &c.procs[i], &c.tenants[i]);
	}
	sim_run_until(&c.sim, c.sim.now_ns + SEC(10));
	wfq_account(&c.sim.wfq, c.sim.now_ns);
	assert_true(c.tenants[0].charged_ns <= SEC(10) * 0.343);
	// Nor does it take from one more than from the other.
	assert_true(fabs((double)c.tenants[1].charged_ns - (double)c.tenants[2].charged_ns) <=
		    0.1 * NSEC_PER_SEC);
	crowd_done(&c);
}

// Turns of ten days each, as if kernels took that long: tags are moved down together several times, and the
// shares stay right.
static void test_tags_survive_years(void **state)
{
	const struct wfq_config config = {
		.turn_ns = MS(8), .min_turn_ns = MS(1), .overrun_ns = WFQ_NEVER, .watchdog_ns = WFQ_NEVER
	};
	const uint64_t days = SEC(10 * 24 * 3600);
	struct wfq_node tenants[2], leaves[2];
	unsigned rebased = 0;
	uint64_t now = 1, v = 0;
	struct wfq w;

	(void)state;
	wfq_init(&w, &config);
	for (unsigned i = 0; i < 2; i++) {
		wfq_add_group(&w, &tenants[i], NULL, i + 1);
		assert_int_equal(wfq_add_leaf(&w, &leaves[i], &tenants[i], 1), 0);
		wfq_want(&w, &leaves[i], true, now);
	}
	for (unsigned turn = 0; turn < 90; turn++) {
		struct wfq_action a;

		while (wfq_next(&w, now, &a))
			;
		assert_non_null(w.holder);
		now += days;
		wfq_released(&w, w.holder, true, now);
		rebased += w.root.v < v;
		v = w.root.v;
		assert_true(v < UINT64_C(1) << 63);
	}
	assert_true(rebased >= 2);
	assert_true(fabs((double)tenants[1].charged_ns / (double)tenants[0].charged_ns - 2) < 0.1);
	for (unsigned i = 0; i < 2; i++) {
		wfq_remove(&w, &leaves[i], now);
		wfq_remove(&w, &tenants[i], now);
	}
	wfq_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thousands_of_tenants_are_all_served),
		cmocka_unit_test(test_joins_and_leaves_keep_the_gpu_busy),
		cmocka_unit_test(test_a_hung_one_stops_nobody),
		cmocka_unit_test(test_toggling_earns_nothing),
		cmocka_unit_test(test_tags_survive_years),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
