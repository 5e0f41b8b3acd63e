// SPDX-License-Identifier: Apache-2.0
// executor/rate.c: launches and bytes a second of all executors of a tenant together, depth of queue, what is
// counted as held back. Simulated time.
#include <string.h>

#include "executor/rate.h"
#include "tests/unit/executor/test.h"

#define MS	  1000000ull
#define SECOND	  1000000000ull
#define EXECUTORS 3

static struct vgpu_turn_page pages[EXECUTORS];
static struct vgpu_tenant_page tenant;
static struct rates rates[EXECUTORS];
static uint64_t now;

static int setup(void **state)
{
	(void)state;
	memset(pages, 0, sizeof(pages));
	memset(&tenant, 0, sizeof(tenant));
	now = 1000 * SECOND;
	for (unsigned i = 0; i < EXECUTORS; i++)
		rates_init(&rates[i], &pages[i], &tenant);
	return 0;
}

// n launches of `each` kernels as soon as they may; returns when the last one went.
static uint64_t launch(unsigned executor, unsigned n, uint64_t each)
{
	uint64_t t = now;

	for (unsigned i = 0; i < n; i++) {
		while (!rates_admit(&rates[executor], true, false, 0, t)) {
			assert_int_equal(rates[executor].held_by, VGPU_HELD_BY_LAUNCHES);
			assert_true(rates[executor].until_ns > t);
			t = rates[executor].until_ns;
		}
		atomic_fetch_add(&pages[executor].launches, each);
	}
	return t;
}

static void without_limits_nothing_is_asked(void **state)
{
	(void)state;
	assert_false(rates_are_set(&rates[0]));
	assert_int_equal(launch(0, 1000, 1), now);
	atomic_store(&tenant.queue_depth, 1);
	assert_true(rates_are_set(&rates[0]));
}

static void launches_keep_their_rate(void **state)
{
	uint64_t took;

	(void)state;
	atomic_store(&tenant.launches_per_s, 1000);
	took = launch(0, 10000, 1) - now;
	assert_in_range(took, 9800 * MS, 10000 * MS); // a burst of 100 ms at the beginning
}

static void slow_rates_are_kept_too(void **state)
{
	uint64_t took;

	(void)state;
	atomic_store(&tenant.launches_per_s, 3);
	took = launch(0, 31, 1) - now;
	assert_in_range(took, 9850 * MS, 10050 * MS);
}

static void a_graph_pays_for_its_kernels(void **state)
{
	uint64_t took;

	(void)state;
	atomic_store(&tenant.launches_per_s, 1000);
	took = launch(0, 21, 500) - now;
	assert_in_range(took, 9800 * MS, 10000 * MS);
}

static void executors_of_a_tenant_share_the_rate(void **state)
{
	uint64_t t = now, end = now + 10 * SECOND, total = 0;

	(void)state;
	atomic_store(&tenant.launches_per_s, 1000);
	for (; t < end; t += MS / 10) {
		for (unsigned i = 0; i < EXECUTORS; i++) {
			if (rates_admit(&rates[i], true, false, 0, t))
				atomic_fetch_add(&pages[i].launches, 1);
		}
	}
	for (unsigned i = 0; i < EXECUTORS; i++) {
		total += atomic_load(&pages[i].launches);
		assert_true(atomic_load(&pages[i].launches) > 2000);
	}
	assert_in_range(total, 9900, 10110);
}

static void bytes_and_launches_are_apart(void **state)
{
	(void)state;
	atomic_store(&tenant.copy_bytes_per_s, 1 << 20);
	atomic_fetch_add(&pages[0].copy_bytes, 10 << 20);
	assert_false(rates_admit(&rates[0], false, true, 0, now));
	assert_int_equal(rates[0].held_by, VGPU_HELD_BY_COPIES);
	assert_true(rates_admit(&rates[0], true, false, 0, now));  // a launch
	assert_true(rates_admit(&rates[0], false, false, 0, now)); // an event
	assert_false(rates_admit(&rates[0], true, true, 0, now));  // a graph
	assert_in_range(rates[0].until_ns - now, 9900 * MS, 10000 * MS);
	assert_true(rates_admit(&rates[0], false, true, 0, rates[0].until_ns));
}

static void what_is_small_adds_up(void **state)
{
	uint64_t t = now;
	unsigned n = 0;

	(void)state;
	atomic_store(&tenant.copy_bytes_per_s, 3000000007ull); // less than a nanosecond a byte
	for (; t < now + SECOND; t += 10) {
		if (rates_admit(&rates[0], false, true, 0, t)) {
			atomic_fetch_add(&pages[0].copy_bytes, 101);
			n++;
		}
	}
	assert_in_range((uint64_t)n * 101, 2990000000, 3310000000);
}

static void a_limit_may_come_and_go(void **state)
{
	(void)state;
	launch(0, 100000, 1); // before there is one
	atomic_store(&tenant.launches_per_s, 10);
	assert_true(rates_admit(&rates[0], true, false, 0, now));
	atomic_fetch_add(&pages[0].launches, 1000);
	assert_false(rates_admit(&rates[0], true, false, 0, now));
	atomic_store(&tenant.launches_per_s, 0);
	assert_true(rates_admit(&rates[0], true, false, 0, now));
	// As the mediator changes a rate.
	atomic_store(&tenant.launches_due_ns, 0);
	atomic_store(&tenant.launches_per_s, 1000);
	assert_true(rates_admit(&rates[0], true, false, 0, now));
}

static void whatever_stands_in_the_page(void **state)
{
	(void)state;
	atomic_store(&tenant.launches_per_s, UINT64_MAX);
	atomic_store(&tenant.launches_due_ns, UINT64_MAX);
	atomic_fetch_add(&pages[0].launches, UINT64_MAX);
	assert_false(rates_admit(&rates[0], true, false, 0, now));
	atomic_store(&tenant.launches_due_ns, 0);
	atomic_store(&tenant.launches_per_s, 1);
	atomic_fetch_add(&pages[0].launches, UINT64_MAX / 2);
	assert_false(rates_admit(&rates[0], true, false, 0, now));
	assert_true(rates[0].until_ns > now);
}

static void the_queue_is_as_deep_as_said(void **state)
{
	(void)state;
	atomic_store(&tenant.queue_depth, 4);
	assert_true(rates_admit(&rates[0], true, false, 3, now));
	assert_false(rates_admit(&rates[0], true, false, 4, now));
	assert_int_equal(rates[0].held_by, VGPU_HELD_BY_QUEUE);
	assert_int_equal(rates[0].until_ns, UINT64_MAX);
}

static void held_time_is_counted_by_its_cause(void **state)
{
	(void)state;
	rates_account(&rates[0], &pages[0], VGPU_HELD_BY, now);
	rates_account(&rates[0], &pages[0], VGPU_HELD_BY_TURN, now + MS);
	rates_account(&rates[0], &pages[0], VGPU_HELD_BY_COPIES, now + 3 * MS);
	rates_account(&rates[0], &pages[0], VGPU_HELD_BY, now + 6 * MS);
	rates_account(&rates[0], &pages[0], VGPU_HELD_BY, now + 10 * MS);
	assert_int_equal(atomic_load(&pages[0].held_ns[VGPU_HELD_BY_TURN]), 2 * MS);
	assert_int_equal(atomic_load(&pages[0].held_ns[VGPU_HELD_BY_COPIES]), 3 * MS);
	assert_int_equal(atomic_load(&pages[0].held_ns[VGPU_HELD_BY_LAUNCHES]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(without_limits_nothing_is_asked, setup),
		cmocka_unit_test_setup(launches_keep_their_rate, setup),
		cmocka_unit_test_setup(slow_rates_are_kept_too, setup),
		cmocka_unit_test_setup(a_graph_pays_for_its_kernels, setup),
		cmocka_unit_test_setup(executors_of_a_tenant_share_the_rate, setup),
		cmocka_unit_test_setup(bytes_and_launches_are_apart, setup),
		cmocka_unit_test_setup(what_is_small_adds_up, setup),
		cmocka_unit_test_setup(a_limit_may_come_and_go, setup),
		cmocka_unit_test_setup(whatever_stands_in_the_page, setup),
		cmocka_unit_test_setup(the_queue_is_as_deep_as_said, setup),
		cmocka_unit_test_setup(held_time_is_counted_by_its_cause, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
