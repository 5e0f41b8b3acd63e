// SPDX-License-Identifier: Apache-2.0
// executor/predict.c: what is learnt, what is told apart, what is forgotten.
#include <stdlib.h>

#include "executor/predict.h"
#include "tests/unit/executor/test.h"

static struct predict p;

static int setup(void **state)
{
	(void)state;
	predict_init(&p);
	return 0;
}

static void unknown_work_is_the_fallback(void **state)
{
	(void)state;
	assert_int_equal(predict_ns(&p, predict_kernel_key(1, 100), PREDICT_UNKNOWN_NS), PREDICT_UNKNOWN_NS);
}

static void the_average_follows(void **state)
{
	uint64_t key = predict_kernel_key(5, 100);

	(void)state;
	predict_learn(&p, key, 1000);
	assert_int_equal(predict_ns(&p, key, 0), 1000);
	predict_learn(&p, key, 5000);
	assert_int_equal(predict_ns(&p, key, 0), 2000);
	for (unsigned i = 0; i < 60; i++)
		predict_learn(&p, key, 9000);
	assert_in_range(predict_ns(&p, key, 0), 8990, 9000);
}

static void grids_of_one_class_share(void **state)
{
	(void)state;
	assert_int_equal(predict_kernel_key(5, 1024), predict_kernel_key(5, 1500));
	assert_int_not_equal(predict_kernel_key(5, 1024), predict_kernel_key(5, 1536));
	assert_int_not_equal(predict_kernel_key(5, 1024), predict_kernel_key(5, 2048));
	assert_int_not_equal(predict_kernel_key(5, 1024), predict_kernel_key(6, 1024));
	assert_int_equal(predict_kernel_key(5, 0), predict_kernel_key(5, 1));
	assert_int_not_equal(predict_kernel_key(5, 1), predict_kernel_key(5, 2));
	assert_int_not_equal(predict_kernel_key(5, UINT64_MAX), predict_kernel_key(5, UINT64_MAX / 2));
	assert_int_not_equal(predict_copy_key(1, 4096), predict_copy_key(2, 4096));
	assert_int_not_equal(predict_copy_key(1, 4096), predict_copy_key(1, 8192));
}

static void a_stuck_measurement_is_bounded(void **state)
{
	(void)state;
	predict_learn(&p, 77, UINT64_MAX);
	assert_int_equal(predict_ns(&p, 77, 0), PREDICT_MAX_NS);
	for (unsigned i = 0; i < 100; i++)
		predict_learn(&p, 77, UINT64_MAX);
	assert_int_equal(predict_ns(&p, 77, 0), PREDICT_MAX_NS);
}

// Two pieces of work that are seen done at once may seem to have taken no time; the next look sets it right.
static void a_measurement_of_nothing_recovers(void **state)
{
	uint64_t key = predict_kernel_key(5, 100), each;

	(void)state;
	predict_learn(&p, key, 0);
	for (unsigned i = 0; i < 40; i++) {
		each = predict_ns(&p, key, 0);
		// As executor/track.c does it: the prediction times measured / predicted.
		predict_learn(&p, key, (uint64_t)((double)each * 50000 / (double)(each + 1)));
	}
	assert_in_range(predict_ns(&p, key, 0), 45000, 50000);
}

static void a_full_table_keeps_what_is_used(void **state)
{
	uint64_t hot = predict_kernel_key(1, 64);

	(void)state;
	for (uint64_t id = 2; id < 40000; id++) {
		predict_learn(&p, hot, 4000);
		predict_learn(&p, predict_kernel_key(id, 64), 100);
		assert_int_equal(predict_ns(&p, predict_kernel_key(id, 64), 0), 100);
	}
	assert_int_equal(predict_ns(&p, hot, 0), 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(unknown_work_is_the_fallback, setup),
		cmocka_unit_test_setup(the_average_follows, setup),
		cmocka_unit_test_setup(grids_of_one_class_share, setup),
		cmocka_unit_test_setup(a_stuck_measurement_is_bounded, setup),
		cmocka_unit_test_setup(a_measurement_of_nothing_recovers, setup),
		cmocka_unit_test_setup(a_full_table_keeps_what_is_used, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
