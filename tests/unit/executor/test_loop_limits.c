// SPDX-License-Identifier: Apache-2.0
// The loop under a tenant's limits: what waits in the ring, what goes on beside it, what the turn page shows.
#include <string.h>

#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define MS	 1000000ull
#define FUNCTION handle_make(HANDLE_FUNCTION, 1, 0)
#define MODULE	 handle_make(HANDLE_MODULE, 1, 0)

static struct fixture *f;
static uint64_t memory;

static void run(void)
{
	assert_int_equal(fixture_run(f), 0);
}

static int setup(void **state)
{
	(void)state;
	f = fixture_new(fake_backend());
	if (fixture_activate(f) || fixture_function(f, MODULE, FUNCTION))
		return -1;
	memory = fixture_alloc(f, 8 << 20);
	fake.async = true;
	f->now_ns += 1000 * MS;
	return memory ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static void launch(void)
{
	struct record_launch l = { .stream = STREAM_LEGACY,
				   .function = FUNCTION,
				   .grid_x = 1,
				   .grid_y = 1,
				   .grid_z = 1,
				   .block_x = 1,
				   .block_y = 1,
				   .block_z = 1 };

	PUSH(f, OPCODE_LAUNCH, &l);
}

static void set(uint64_t bytes)
{
	struct record_set s = { .stream = STREAM_LEGACY,
				.dst = memory,
				.dst_space = MEMORY_SPACE_DEVICE,
				.width = bytes,
				.height = 1,
				.element = 1 };

	PUSH(f, OPCODE_SET, &s);
}

static uint64_t held(enum vgpu_held_by by)
{
	return atomic_load(&f->x.turn->held_ns[by]);
}

static void pass(uint64_t ns)
{
	f->now_ns += ns;
	fake_step(10000);
	run();
}

static void launches_wait_in_the_ring(void **state)
{
	(void)state;
	atomic_store(&f->x.tenant->launches_per_s, 100);
	for (unsigned i = 0; i < 60; i++)
		launch();
	run();
	assert_int_equal(fake.launches, 11); // a burst of 100 ms, and the one that makes it more
	fake_step(1000);
	run();
	assert_int_equal(f->x.turn->demand, 0); // it does not keep the GPU meanwhile
	pass(20 * MS);
	assert_int_equal(fake.launches, 11); // half a burst comes at once
	pass(45 * MS);
	assert_in_range(fake.launches, 16, 18);
	for (unsigned i = 0; i < 100; i++)
		pass(10 * MS);
	assert_int_equal(fake.launches, 60);
	assert_in_range(held(VGPU_HELD_BY_LAUNCHES), 350 * MS, 600 * MS);
	assert_int_equal(held(VGPU_HELD_BY_COPIES) + held(VGPU_HELD_BY_QUEUE), 0);
}

static void what_was_before_a_limit_is_not_owed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		launch();
		run();
		fake_step(1);
	}
	run();
	atomic_store(&f->x.tenant->launches_per_s, 10);
	launch();
	run();
	assert_int_equal(fake.launches, 501);
}

static void sets_and_copies_pay_by_their_bytes(void **state)
{
	(void)state;
	atomic_store(&f->x.tenant->copy_bytes_per_s, 10 << 20);
	set(4 << 20);
	set(4 << 20);
	launch(); // behind the second one: the order is the guest's
	run();
	assert_int_equal(fake.launches, 0);
	pass(100 * MS);
	assert_int_equal(fake.launches, 0);
	pass(300 * MS);
	assert_int_equal(fake.launches, 1);
	assert_in_range(held(VGPU_HELD_BY_COPIES), 200 * MS, 410 * MS);
	set(1);
	launch();
	run();
	assert_int_equal(fake.launches, 1);
	atomic_store(&f->x.tenant->copy_bytes_per_s, 0);
	pass(MS);
	assert_int_equal(fake.launches, 2);
}

static void the_queue_is_no_deeper_than_said(void **state)
{
	(void)state;
	atomic_store(&f->x.tenant->queue_depth, 3);
	for (unsigned i = 0; i < 10; i++)
		launch();
	run();
	assert_int_equal(fake.launches, 3);
	assert_int_equal(f->x.turn->in_flight, 3);
	assert_int_equal(f->x.turn->demand, 1);
	for (unsigned i = 0; i < 4; i++)
		pass(MS);
	assert_int_equal(fake.launches, 10);
	assert_in_range(held(VGPU_HELD_BY_QUEUE), 3 * MS, 4 * MS);
}

static void waiting_for_a_turn_is_counted(void **state)
{
	(void)state;
	fixture_close_gate(f);
	launch();
	run();
	f->now_ns += 5 * MS;
	run();
	assert_int_equal(fake.launches, 0);
	fixture_open_gate(f, VGPU_NO_DEADLINE);
	run();
	assert_int_equal(fake.launches, 1);
	assert_in_range(held(VGPU_HELD_BY_TURN), 5 * MS, 6 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(launches_wait_in_the_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_before_a_limit_is_not_owed, setup, teardown),
		cmocka_unit_test_setup_teardown(sets_and_copies_pay_by_their_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_queue_is_no_deeper_than_said, setup, teardown),
		cmocka_unit_test_setup_teardown(waiting_for_a_turn_is_counted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
