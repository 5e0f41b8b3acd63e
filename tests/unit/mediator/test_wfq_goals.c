// SPDX-License-Identifier: Apache-2.0
// The goals for shares (ten seconds of simulated time): an error of at most one point of the GPU, and a Jain
// index of at least 0.99 in each second, for mixtures of tenants. Prints what came out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "tests/unit/mediator/sim.h"

#define SECONDS	  10
#define MOST	  64
#define ONE_POINT 0.01

struct load {
	uint32_t weight;
	uint64_t kernel_ns, kernel_max_ns, gap_ns;
};

struct outcome {
	double error, jain, busy; // greatest, least, of all
	uint64_t longest_wait_ns;
};

// What is compared is what is billed: the time that a tenant kept the GPU from others. gap_ns is below the
// grace, so it is part of that.
static void play(const struct load *loads, unsigned n, struct outcome *ret)
{
	struct wfq_node pool, tenants[MOST];
	struct sim_proc procs[MOST] = { 0 };
	uint64_t before[MOST] = { 0 }, begin, used = 0;
	double weights = 0, total = 0;
	struct sim s;

	sim_init(&s, MS(8), 1);
	s.wfq.config.round_ns = MS(250);
	wfq_add_group(&s.wfq, &pool, NULL, 100);
	for (unsigned i = 0; i < n; i++) {
		wfq_add_group(&s.wfq, &tenants[i], &pool, loads[i].weight);
		procs[i].kernel_ns = loads[i].kernel_ns;
		procs[i].kernel_max_ns = loads[i].kernel_max_ns;
		procs[i].gap_ns = loads[i].gap_ns;
		weights += loads[i].weight;
		sim_join(&s, &procs[i], &tenants[i]);
	}
	begin = s.now_ns;
	*ret = (struct outcome){ .jain = 1 };
	for (unsigned second = 1; second <= SECONDS; second++) {
		double part[MOST];

		sim_run_until(&s, begin + SEC(second));
		wfq_account(&s.wfq, s.now_ns);
		for (unsigned i = 0; i < n; i++) {
			part[i] = (double)(tenants[i].charged_ns - before[i]) / loads[i].weight;
			before[i] = tenants[i].charged_ns;
		}
		ret->jain = fmin(ret->jain, sim_jain(part, n));
	}
	for (unsigned i = 0; i < n; i++)
		total += (double)tenants[i].charged_ns;
	for (unsigned i = 0; i < n; i++) {
		double is = (double)tenants[i].charged_ns / total, want = loads[i].weight / weights;

		ret->error = fmax(ret->error, fabs(is - want));
		used += sim_used_ns(&s, &procs[i]);
		if (procs[i].longest_wait_ns > ret->longest_wait_ns)
			ret->longest_wait_ns = procs[i].longest_wait_ns;
		sim_leave(&s, &procs[i]);
		wfq_remove(&s.wfq, &tenants[i], s.now_ns);
	}
	ret->busy = (double)used / SEC(SECONDS);
	wfq_remove(&s.wfq, &pool, s.now_ns);
	sim_done(&s);
}

static void check(const char *what, const struct load *loads, unsigned n, double least_jain,
		  double least_busy)
{
	struct outcome o;

	play(loads, n, &o);
	print_message("%-34s %2u tenants: share error %.2f points, Jain per second >= %.4f, busy %.1f %%, "
		      "longest wait %.1f ms\n",
		      what, n, 100 * o.error, o.jain, 100 * o.busy, (double)o.longest_wait_ns / 1e6);
	assert_true(o.error <= ONE_POINT);
	assert_true(o.jain >= least_jain);
	assert_true(o.busy >= least_busy);
}

static void test_equal_weights(void **state)
{
	static const unsigned counts[] = { 2, 8, 16, 64 };
	struct load loads[MOST];

	(void)state;
	for (unsigned i = 0; i < MOST; i++)
		loads[i] = (struct load){ 100, US(200), 0, 0 };
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		check("kernels of 200 us", loads, counts[i], 0.99, 0.97);
}

// A 64th of a second is three kernels of 5 ms, which nobody can divide: what one more or less makes is
// allowed.
static double least(unsigned n)
{
	return n == 64 ? 0.96 : 0.99;
}

static void test_mixed_kernels(void **state)
{
	static const unsigned counts[] = { 2, 16, 64 };
	struct load loads[MOST];

	(void)state;
	for (unsigned i = 0; i < MOST; i++)
		loads[i] = (struct load){ 100, US(5) << i % 11, 0, 0 }; // 5 us to 5.1 ms
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		check("kernels of 5 us to 5 ms, one each", loads, counts[i], least(counts[i]), 0.97);
	for (unsigned i = 0; i < MOST; i++)
		loads[i] = (struct load){ 100, US(5), MS(5), 0 };
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		check("kernels of 5 us to 5 ms, at random", loads, counts[i], least(counts[i]), 0.97);
}

static void test_weights(void **state)
{
	const struct load doubling[] = {
		{ 1, US(200), 0, 0 }, { 2, US(5), 0, 0 }, { 4, MS(5), 0, 0 }, { 8, US(50), 0, 0 }
	};
	const struct load ten_ninety[] = { { 10, US(200), 0, 0 }, { 90, US(200), 0, 0 } };
	struct load loads[16];

	(void)state;
	check("weights 1:2:4:8", doubling, 4, 0.99, 0.98);
	check("weights 10:90", ten_ninety, 2, 0.99, 0.98);
	for (unsigned i = 0; i < 16; i++)
		loads[i] = (struct load){ 1u << i % 4, US(100), 0, 0 };
	// The lightest have 17 ms of a second, in four turns; one more or less of them is allowed.
	check("weights 1:2:4:8, four of each", loads, 16, 0.98, 0.98);
}

// A program that waits for each launch beside programs that do not.
static void test_synchronising_after_each_launch(void **state)
{
	struct load loads[8];

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		loads[i] = (struct load){ 100, US(200), 0, i % 2 ? US(10) : 0 };
	check("half of them wait for each launch", loads, 2, 0.99, 0.94);
	check("half of them wait for each launch", loads, 8, 0.99, 0.94);
}

// A launch of a graph is one piece of work of milliseconds.
static void test_graphs_only(void **state)
{
	struct load loads[8];

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		loads[i] = (struct load){ 100, MS(1), MS(4), 0 };
	check("graphs of 1 to 4 ms", loads, 8, 0.99, 0.98);
	loads[0] = (struct load){ 100, US(10), 0, 0 };
	check("the same beside launches of 10 us", loads, 8, 0.99, 0.98);
}

// Nobody waits for ever: at the least weight beside the greatest, a turn comes in the time that the weights
// say.
static void test_the_least_weight_does_not_starve(void **state)
{
	struct wfq_node tenants[2];
	struct sim_proc procs[2] = { { .kernel_ns = US(200) }, { .kernel_ns = US(200) } };
	struct sim s;

	(void)state;
	sim_init(&s, MS(8), 1);
	wfq_add_group(&s.wfq, &tenants[0], NULL, 1);
	wfq_add_group(&s.wfq, &tenants[1], NULL, 10000);
	sim_join(&s, &procs[0], &tenants[0]);
	sim_join(&s, &procs[1], &tenants[1]);
	sim_run_until(&s, s.now_ns + SEC(400));
	assert_in_range(procs[0].opened, 4, 8); // 8 ms of each 80 s
	assert_true(procs[0].longest_wait_ns <= SEC(110));
	for (unsigned i = 0; i < 2; i++) {
		sim_leave(&s, &procs[i]);
		wfq_remove(&s.wfq, &tenants[i], s.now_ns);
	}
	sim_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_weights), cmocka_unit_test(test_mixed_kernels),
		cmocka_unit_test(test_weights),	      cmocka_unit_test(test_synchronising_after_each_launch),
		cmocka_unit_test(test_graphs_only),   cmocka_unit_test(test_the_least_weight_does_not_starve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
