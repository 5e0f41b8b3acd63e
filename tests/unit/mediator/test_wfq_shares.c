// SPDX-License-Identifier: Apache-2.0
// Shares over ten simulated seconds: weights, kernel lengths from 5 us to 50 ms, programs that synchronise
// after each launch, several programs in one tenant. An error of one point is allowed; the GPU may not stand
// idle.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "tests/unit/mediator/sim.h"

#define RUN_NS	  SEC(10)
#define MOST	  16
#define ONE_POINT 0.01

struct row {
	uint32_t weight;
	uint64_t kernel_ns, kernel_max_ns, gap_ns;
};

struct result {
	double share[MOST]; // of all work done
	double busy;	    // all work done / time
	double worst_jain;  // over the seconds, weighted
};

static void run_rows(const struct row *rows, unsigned n, struct result *ret)
{
	struct wfq_node tenants[MOST];
	struct sim_proc procs[MOST] = { 0 };
	uint64_t used_before[MOST] = { 0 }, begin;
	double total = 0;
	struct sim s;

	sim_init(&s, MS(8), 1);
	ret->worst_jain = 1;
	for (unsigned i = 0; i < n; i++) {
		wfq_add_group(&s.wfq, &tenants[i], NULL, rows[i].weight);
		procs[i].kernel_ns = rows[i].kernel_ns;
		procs[i].kernel_max_ns = rows[i].kernel_max_ns;
		procs[i].gap_ns = rows[i].gap_ns;
		sim_join(&s, &procs[i], &tenants[i]);
	}
	begin = s.now_ns;
	for (uint64_t t = SEC(1); t <= RUN_NS; t += SEC(1)) {
		double second[MOST], jain;

		sim_run_until(&s, begin + t);
		for (unsigned i = 0; i < n; i++) {
			uint64_t used = sim_used_ns(&s, &procs[i]);

			second[i] = (double)(used - used_before[i]) / rows[i].weight;
			used_before[i] = used;
		}
		jain = sim_jain(second, n);
		if (jain < ret->worst_jain)
			ret->worst_jain = jain;
	}
	for (unsigned i = 0; i < n; i++) {
		total += (double)sim_used_ns(&s, &procs[i]);
		wfq_meter(&s.wfq, &procs[i].leaf, sim_used_ns(&s, &procs[i]));
	}
	wfq_account(&s.wfq, s.now_ns);
	for (unsigned i = 0; i < n; i++) {
		ret->share[i] = (double)sim_used_ns(&s, &procs[i]) / total;
		// Hold time is what is billed: never less than the work.
		assert_true(procs[i].leaf.charged_ns + MS(1) >= sim_used_ns(&s, &procs[i]));
		sim_leave(&s, &procs[i]);
		wfq_remove(&s.wfq, &tenants[i], s.now_ns);
	}
	ret->busy = total / (double)RUN_NS;
	sim_done(&s);
}

static void assert_shares(const struct row *rows, unsigned n, const struct result *r, double tolerance)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += rows[i].weight;
	for (unsigned i = 0; i < n; i++) {
		double want = rows[i].weight / sum;

		if (fabs(r->share[i] - want) > tolerance)
			fail_msg("tenant %u: share %.4f, wanted %.4f", i, r->share[i], want);
	}
}

static void test_equal_weights(void **state)
{
	const struct row rows[] = { { 100, US(200), 0, 0 }, { 100, US(200), 0, 0 } };
	struct result r;

	(void)state;
	run_rows(rows, 2, &r);
	assert_shares(rows, 2, &r, ONE_POINT);
	assert_true(r.busy >= 0.98);
	assert_true(r.worst_jain >= 0.99);
}

static void test_weights_1_2_4_8(void **state)
{
	const struct row rows[] = {
		{ 1, US(200), 0, 0 }, { 2, US(200), 0, 0 }, { 4, US(200), 0, 0 }, { 8, US(200), 0, 0 }
	};
	struct result r;

	(void)state;
	run_rows(rows, 4, &r);
	assert_shares(rows, 4, &r, ONE_POINT);
	assert_true(r.busy >= 0.98);
}

static void test_weights_10_90(void **state)
{
	const struct row rows[] = { { 10, US(23), 0, 0 }, { 90, US(212), 0, 0 } };
	struct result r;

	(void)state;
	run_rows(rows, 2, &r);
	assert_shares(rows, 2, &r, ONE_POINT);
	assert_true(r.busy >= 0.98);
}

static void test_kernel_lengths_mixed(void **state)
{
	const struct row rows[] = {
		{ 100, US(5), 0, 0 },	  { 100, US(200), 0, 0 },	{ 100, US(2500), 0, 0 },
		{ 100, US(50000), 0, 0 }, { 100, US(5), US(50000), 0 },
	};
	struct result r;

	(void)state;
	run_rows(rows, 5, &r);
	assert_shares(rows, 5, &r, ONE_POINT);
	assert_true(r.busy >= 0.98);
}

static void test_kernel_lengths_and_weights_mixed(void **state)
{
	const struct row rows[] = { { 8, US(50000), 0, 0 },
				    { 4, US(5), 0, 0 },
				    { 2, US(20000), US(50000), 0 },
				    { 1, US(300), 0, 0 } };
	struct result r;

	(void)state;
	run_rows(rows, 4, &r);
	assert_shares(rows, 4, &r, ONE_POINT);
}

// The pause is part of its turn, so its work is a little less than its hold time: both are billed fairly.
static void test_synchronising_with_short_gaps_keeps_its_share(void **state)
{
	const struct row rows[] = { { 100, US(300), 0, US(10) }, { 100, US(200), 0, 0 } };
	struct result r;

	(void)state;
	run_rows(rows, 2, &r);
	assert_true(r.share[0] >= 0.48);
	assert_true(r.busy >= 0.96);
}

// Kernel 1 ms, pause 1 ms. The other one may fill the pauses; when the work is back, it waits for the rest of
// a shortest turn and for what is in flight (1 ms each): a third of the GPU is what is left of the half that
// it has alone. Without credit and shorter turns it would wait for whole turns and get an eighth.
static void test_synchronising_with_long_gaps_keeps_its_share(void **state)
{
	const struct row rows[] = { { 100, MS(1), 0, MS(1) }, { 100, US(200), 0, 0 } };
	struct result r;

	(void)state;
	run_rows(rows, 2, &r);
	assert_true(r.share[0] >= 0.32);
	assert_true(r.share[0] <= 0.51);
	assert_true(r.busy >= 0.90);
}

static void test_idle_time_is_not_saved_up(void **state)
{
	// Works 2 ms, pauses 100 ms: its demand is 2 %, and that is what it gets, at once.
	const struct row rows[] = { { 100, MS(2), 0, MS(100) }, { 100, US(200), 0, 0 } };
	struct result r;

	(void)state;
	run_rows(rows, 2, &r);
	assert_true(r.share[0] >= 0.017);
	assert_true(r.share[0] <= 0.021);
	assert_true(r.busy >= 0.98);
}

static void test_eight_tenants_are_even_in_each_second(void **state)
{
	struct row rows[8];
	struct result r;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		rows[i] = (struct row){ 100, US(20) << i, 0, 0 };
	run_rows(rows, 8, &r);
	assert_shares(rows, 8, &r, ONE_POINT);
	assert_true(r.worst_jain >= 0.99);
	assert_true(r.busy >= 0.98);
}

static void test_programs_of_a_tenant_share_its_share(void **state)
{
	struct wfq_node tenants[2];
	struct sim_proc procs[4] = { 0 };
	double total = 0, share[4];
	struct sim s;

	(void)state;
	sim_init(&s, MS(8), 7);
	for (unsigned i = 0; i < 2; i++)
		wfq_add_group(&s.wfq, &tenants[i], NULL, 100);
	for (unsigned i = 0; i < 4; i++) {
		procs[i].kernel_ns = US(100) * (i + 1);
		sim_join(&s, &procs[i], &tenants[i == 0 ? 0 : 1]);
	}
	sim_run_until(&s, s.now_ns + RUN_NS);
	for (unsigned i = 0; i < 4; i++)
		total += (double)sim_used_ns(&s, &procs[i]);
	for (unsigned i = 0; i < 4; i++)
		share[i] = (double)sim_used_ns(&s, &procs[i]) / total;
	assert_true(fabs(share[0] - 0.5) <= ONE_POINT);
	for (unsigned i = 1; i < 4; i++)
		assert_true(fabs(share[i] - 0.5 / 3) <= ONE_POINT);
	for (unsigned i = 0; i < 4; i++)
		sim_leave(&s, &procs[i]);
	for (unsigned i = 0; i < 2; i++)
		wfq_remove(&s.wfq, &tenants[i], s.now_ns);
	sim_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_weights),
		cmocka_unit_test(test_weights_1_2_4_8),
		cmocka_unit_test(test_weights_10_90),
		cmocka_unit_test(test_kernel_lengths_mixed),
		cmocka_unit_test(test_kernel_lengths_and_weights_mixed),
		cmocka_unit_test(test_synchronising_with_short_gaps_keeps_its_share),
		cmocka_unit_test(test_synchronising_with_long_gaps_keeps_its_share),
		cmocka_unit_test(test_idle_time_is_not_saved_up),
		cmocka_unit_test(test_eight_tenants_are_even_in_each_second),
		cmocka_unit_test(test_programs_of_a_tenant_share_its_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
