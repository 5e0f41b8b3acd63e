// SPDX-License-Identifier: Apache-2.0
// How long launches stood in the ring and the guest waited, by the rounds of the loop: never more than they
// did.
#include <string.h>

#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define US	 1000ull
#define MS	 1000000ull
#define RING	 65536u
#define FUNCTION handle_make(HANDLE_FUNCTION, 1, 0)
#define MODULE	 handle_make(HANDLE_MODULE, 1, 0)

static struct vgpu_turn_page page;
static struct delay d;

static uint64_t counted(const struct vgpu_delays *delays, uint64_t ns)
{
	return atomic_load(&delays->buckets[vgpu_delay_bucket(ns)]);
}

static uint64_t all(const struct vgpu_delays *delays)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VGPU_DELAY_BUCKETS; i++)
		sum += atomic_load(&delays->buckets[i]);
	return sum;
}

static int begin(void **state)
{
	(void)state;
	memset(&page, 0, sizeof(page));
	delay_init(&d, &page);
	return 0;
}

// ---- the marks ----

static void nothing_is_known_of_an_empty_ring(void **state)
{
	(void)state;
	assert_int_equal(delay_since(&d, 0, 5 * MS), 5 * MS);
	delay_mark(&d, 64, 64, RING, 5 * MS);
	assert_int_equal(delay_since(&d, 64, 6 * MS), 6 * MS);
}

static void each_waits_since_it_was_seen(void **state)
{
	(void)state;
	delay_mark(&d, 0, 100, RING, 1 * MS);
	delay_mark(&d, 0, 300, RING, 2 * MS);
	assert_int_equal(delay_since(&d, 0, 9 * MS), 1 * MS);
	assert_int_equal(delay_since(&d, 99, 9 * MS), 1 * MS);
	assert_int_equal(delay_since(&d, 100, 9 * MS), 2 * MS);
	assert_int_equal(delay_since(&d, 299, 9 * MS), 2 * MS);
	assert_int_equal(delay_since(&d, 300, 9 * MS), 9 * MS);
}

static void a_mark_that_says_nothing_new_is_none(void **state)
{
	(void)state;
	delay_mark(&d, 0, 100, RING, 1 * MS);
	delay_mark(&d, 0, 100, RING, 2 * MS);
	assert_int_equal(delay_since(&d, 50, 9 * MS), 1 * MS);
	assert_int_equal(d.end - d.first, 1);
	delay_mark(&d, 0, 200, RING, 1 * MS + 1); // too close
	assert_int_equal(delay_since(&d, 150, 9 * MS), 9 * MS);
}

// A queue that grows for longer than there are marks: no time is longer than the truth, and the oldest is
// kept well enough.
static void marks_run_out_to_the_short_side(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 1000; i++)
		delay_mark(&d, 0, 10 * i, RING, i * MS); // records 10 i - 10 .. 10 i - 1 come at i ms
	for (uint64_t i = 1; i < 1000; i++) {
		uint64_t since = delay_since(&d, 10 * i - 5, 2000 * MS);

		assert_true(since >= i * MS);
		assert_true(since <= 2000 * MS);
	}
}

static void a_broken_ring_leaves_no_mark(void **state)
{
	(void)state;
	delay_mark(&d, 100, 100 + RING + 1, RING, 1 * MS);
	delay_mark(&d, 100, 50, RING, 2 * MS);
	delay_mark(&d, 100, UINT64_MAX, RING, 3 * MS);
	assert_int_equal(d.end, 0);
}

static void prompt_ones_are_told_together(void **state)
{
	const struct vgpu_delays *launch = &page.delays[VGPU_DELAY_LAUNCH];

	(void)state;
	for (unsigned i = 0; i < 7; i++)
		delay_launched(&d, 10 * i, MS);
	assert_int_equal(all(launch), 0);
	delay_tell(&d);
	delay_tell(&d);
	assert_int_equal(counted(launch, 0), 7);
	assert_int_equal(all(launch), 7);
	assert_int_equal(atomic_load(&launch->sum_ns), 0);
}

static void waits_are_summed_up(void **state)
{
	const struct vgpu_delays *wait = &page.delays[VGPU_DELAY_WAIT];

	(void)state;
	delay_waited(&d, 1 * MS, 4 * MS);
	delay_waited(&d, 1 * MS, 1 * MS);
	delay_waited(&d, 2 * MS, 1 * MS); // a clock that went back is no time
	assert_int_equal(counted(wait, 3 * MS), 1);
	assert_int_equal(counted(wait, 0), 2);
	assert_int_equal(atomic_load(&wait->sum_ns), 3 * MS);
}

// ---- in the loop ----

static struct fixture *f;

static int setup(void **state)
{
	struct record_blob_create b = { .blob = handle_make(HANDLE_BLOB, 1, 0), .size = 8 };
	struct record_module_load m = { .module = MODULE, .blob = handle_make(HANDLE_BLOB, 1, 0) };
	struct record_function_get g = { .module = MODULE, .function = FUNCTION };

	(void)state;
	f = fixture_new(fake_backend());
	if (fixture_activate(f) || fixture_call(f, OPCODE_BLOB_CREATE, &b, sizeof(b), NULL, 0, NULL, 0) ||
	    fixture_call(f, OPCODE_MODULE_LOAD, &m, sizeof(m), NULL, 0, NULL, 0) ||
	    fixture_call(f, OPCODE_FUNCTION_GET, &g, sizeof(g), "k", 1, NULL, 0))
		return -1;
	fake.async = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static void launch(void)
{
	struct record_launch l = { .function = FUNCTION,
				   .grid_x = 1,
				   .grid_y = 1,
				   .grid_z = 1,
				   .block_x = 1,
				   .block_y = 1,
				   .block_z = 1 };

	PUSH(f, OPCODE_LAUNCH, &l);
}

static void rounds(void)
{
	assert_int_equal(fixture_run(f), 0);
}

static void launches_of_an_open_gate_are_prompt(void **state)
{
	const struct vgpu_delays *delays = &f->x.turn->delays[VGPU_DELAY_LAUNCH];

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		launch();
	rounds();
	assert_int_equal(fake.launches, 10);
	assert_int_equal(counted(delays, 0), 10);
	assert_int_equal(all(delays), 10);
	while (fake_step(1))
		rounds();
}

// The first of them is what the loop holds; the others stand in the ring behind it and wait as long.
static void all_that_a_closed_gate_keeps_waits(void **state)
{
	const struct vgpu_delays *delays = &f->x.turn->delays[VGPU_DELAY_LAUNCH];

	(void)state;
	fixture_close_gate(f);
	rounds();
	for (unsigned i = 0; i < 5; i++)
		launch();
	rounds();
	f->now_ns += 50 * MS;
	for (unsigned i = 0; i < 3; i++)
		launch();
	rounds();
	f->now_ns += 10 * MS;
	assert_int_equal(all(delays), 0);
	fixture_open_gate(f, VGPU_NO_DEADLINE);
	rounds();
	assert_int_equal(all(delays), 8);
	assert_int_equal(counted(delays, 60 * MS), 5);
	assert_int_equal(counted(delays, 10 * MS), 3);
	assert_true(atomic_load(&delays->sum_ns) >= 5 * 60 * MS + 3 * 10 * MS - 8 * 100 * US);
	while (fake_step(1))
		rounds();
}

static void a_fence_is_waited_for_until_it_is_reached(void **state)
{
	const struct vgpu_delays *delays = &f->x.turn->delays[VGPU_DELAY_WAIT];
	struct record_fence fence = { .slot = 3, .value = 1 };

	(void)state;
	launch();
	PUSH(f, OPCODE_FENCE, &fence);
	rounds();
	assert_int_equal(all(delays), 0);
	f->now_ns += 20 * MS;
	while (fake_step(1))
		rounds();
	rounds();
	assert_int_equal(atomic_load(&f->x.fences[3]), 1);
	assert_int_equal(all(delays), 1);
	assert_int_equal(counted(delays, 20 * MS), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_is_known_of_an_empty_ring, begin),
		cmocka_unit_test_setup(each_waits_since_it_was_seen, begin),
		cmocka_unit_test_setup(a_mark_that_says_nothing_new_is_none, begin),
		cmocka_unit_test_setup(marks_run_out_to_the_short_side, begin),
		cmocka_unit_test_setup(a_broken_ring_leaves_no_mark, begin),
		cmocka_unit_test_setup(prompt_ones_are_told_together, begin),
		cmocka_unit_test_setup(waits_are_summed_up, begin),
		cmocka_unit_test_setup_teardown(launches_of_an_open_gate_are_prompt, setup, teardown),
		cmocka_unit_test_setup_teardown(all_that_a_closed_gate_keeps_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fence_is_waited_for_until_it_is_reached, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
