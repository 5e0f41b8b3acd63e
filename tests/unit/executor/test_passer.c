// SPDX-License-Identifier: Apache-2.0
// Waits that are over while the loop stands in a driver's call, which comes back when the stream has gone on.
#include <string.h>
#include <unistd.h>

#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define STREAM	 handle_make(HANDLE_STREAM, 1, 1)
#define FUNCTION handle_make(HANDLE_FUNCTION, 1, 0)
#define MODULE	 handle_make(HANDLE_MODULE, 1, 0)
#define SLOT	 9

static struct fixture *f;
static struct backend_ops ops;
static int (*load)(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		   struct backend_module **ret);
static struct {
	bool ends_wait; // the guest's function ends meanwhile
	bool opens_gate;
	bool asked;  // for a turn, before the gate was opened
	bool passed; // seen by the driver
} driver;

static uint64_t passed_on(void)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < TRACK_LANES; i++) {
		uint64_t pass = atomic_load(&f->x.track.words[i].pass);

		most = pass > most ? pass : most;
	}
	return most;
}

static int load_behind_all(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
			   struct backend_module **ret)
{
	if (driver.ends_wait)
		atomic_store(&f->x.fences[SLOT], 1);
	for (int ms = 0; ms < (driver.ends_wait ? 10000 : 100) && !passed_on(); ms++) {
		if (driver.opens_gate && ms == 200) {
			driver.asked = atomic_load(&f->x.turn->demand);
			fixture_open_gate(f, VGPU_NO_DEADLINE);
		}
		usleep(1000);
	}
	driver.passed = passed_on();
	return load(b, image, image_bytes, jit, ret);
}

static int setup(void **state)
{
	struct record_stream_create s = { .stream = STREAM, .flags = CU_STREAM_NON_BLOCKING };
	struct record_stream_wait_value w = { .stream = STREAM, .slot = SLOT, .value = 1 };

	(void)state;
	memset(&driver, 0, sizeof(driver));
	ops = *fake_backend();
	load = ops.module_load;
	ops.module_load = load_behind_all;
	ops.capabilities |= BACKEND_CAP_WAITS;
	f = fixture_new(&ops);
	if (fixture_activate(f))
		return -1;
	PUSH(f, OPCODE_STREAM_CREATE, &s);
	PUSH(f, OPCODE_STREAM_WAIT_VALUE, &w);
	fake.async = true;
	return fixture_run(f);
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static void load_module(void)
{
	assert_int_equal(fixture_function(f, MODULE, FUNCTION), CUDA_SUCCESS);
	assert_int_equal(fixture_run(f), 0);
}

static void a_stream_goes_on_while_the_loop_is_held_up(void **state)
{
	(void)state;
	driver.ends_wait = true;
	load_module();
	assert_true(driver.passed);
	assert_int_equal(f->x.track.n_waits, 0); // the loop's books agree afterwards
	fake_step(UINT32_MAX);
	assert_int_equal(fixture_run(f), 0);
	assert_true(track_idle(&f->x.track));
	assert_int_equal(atomic_load(&f->x.turn->demand), 0);
}

static void a_wait_that_is_not_over_stays(void **state)
{
	(void)state;
	load_module();
	assert_false(driver.passed);
	assert_int_equal(f->x.track.n_waits, 1);
	atomic_store(&f->x.fences[SLOT], 1);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(f->x.track.n_waits, 0);
	assert_int_not_equal(passed_on(), 0);
}

static void it_goes_on_in_a_turn_only(void **state)
{
	(void)state;
	driver.ends_wait = driver.opens_gate = true;
	fixture_close_gate(f);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(atomic_load(&f->x.turn->demand), 0);
	load_module();
	assert_true(driver.asked);
	assert_true(driver.passed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_stream_goes_on_while_the_loop_is_held_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wait_that_is_not_over_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(it_goes_on_in_a_turn_only, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
