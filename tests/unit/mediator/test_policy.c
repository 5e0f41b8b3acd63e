// SPDX-License-Identifier: Apache-2.0
// Policies by their table: values, units, ranges, merging; fixed shares beside weights; rates over a window.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/limit/policy.h"
#include "mediator/limit/shares.h"
#include "mediator/limit/window.h"

static struct policy p;
static char error[200];

static int set_up(void **state)
{
	(void)state;
	policy_init(&p);
	return 0;
}

static int text(enum policy_item item, const char *value)
{
	return policy_set_text(&p, item, value, error, sizeof(error));
}

static int number(enum policy_item item, double value)
{
	return policy_set_number(&p, item, value, error, sizeof(error));
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(p.value[POLICY_WEIGHT], 100);
	assert_int_equal(p.value[POLICY_CLASS], POLICY_CLASS_NORMAL);
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (i != POLICY_WEIGHT)
			assert_int_equal(p.value[i], 0);
		assert_true(strlen(policy_help(i)) > 10);
		assert_int_equal(
		    policy_find(policy_name(i), POLICY_FOR_TENANT | POLICY_FOR_POOL | POLICY_FOR_PROFILE), i);
		// What can be said of tenants can be said of profiles.
		assert_true(policy_is_for(i, POLICY_FOR_PROFILE) || !policy_is_for(i, POLICY_FOR_TENANT));
	}
	assert_int_equal(p.given, 0);
	assert_int_equal(policy_find("protocol", POLICY_FOR_TENANT | POLICY_FOR_POOL), -1);
	assert_int_equal(policy_find("share", POLICY_FOR_PROFILE), -1);
}

static void test_values_as_people_write_them(void **state)
{
	(void)state;
	assert_int_equal(text(POLICY_MEMORY, "4G"), 0);
	assert_int_equal(p.value[POLICY_MEMORY], 4ull << 30);
	assert_int_equal(text(POLICY_TURN, "20 ms"), 0);
	assert_int_equal(p.value[POLICY_TURN], 20000000);
	assert_int_equal(text(POLICY_TURN, "0"), 0);
	assert_int_equal(p.value[POLICY_TURN], 0);
	assert_int_equal(text(POLICY_GPU_CAP, "12.5"), 0);
	assert_int_equal(p.value[POLICY_GPU_CAP], 1250);
	assert_int_equal(text(POLICY_GPU_CAP, "100"), 0);
	assert_int_equal(text(POLICY_GPU_CAP, "0.01"), 0);
	assert_int_equal(p.value[POLICY_GPU_CAP], 1);
	assert_int_equal(text(POLICY_CLASS, "latency"), 0);
	assert_string_equal(policy_word(&p, POLICY_CLASS), "latency");
	assert_int_equal(text(POLICY_PROTOCOL, "cuda"), 0);
	assert_int_equal(p.value[POLICY_PROTOCOL], POLICY_PROTOCOL_CUDA);
	assert_string_equal(policy_word(&p, POLICY_PROTOCOL), "cuda");
	assert_string_equal(policy_word(&p, POLICY_PERSONALITY), "custom");
	assert_int_equal(number(POLICY_GPU_CAP, 33.33), 0);
	assert_int_equal(p.value[POLICY_GPU_CAP], 3333);
	assert_true(fabs(policy_number(&p, POLICY_GPU_CAP) - 33.33) < 1e-9);
	assert_int_equal(number(POLICY_LAUNCHES_PER_S, 1e6), 0);
	assert_int_equal(p.value[POLICY_LAUNCHES_PER_S], 1000000);
	assert_int_equal(p.given, 1u << POLICY_MEMORY | 1u << POLICY_TURN | 1u << POLICY_GPU_CAP |
				      1u << POLICY_CLASS | 1u << POLICY_LAUNCHES_PER_S |
				      1u << POLICY_PROTOCOL);
}

static void test_what_is_no_value(void **state)
{
	static const struct {
		enum policy_item item;
		const char *value;
	} bad[] = {
		{ POLICY_WEIGHT, "0" },	       { POLICY_WEIGHT, "10001" },     { POLICY_WEIGHT, "" },
		{ POLICY_WEIGHT, "-1" },       { POLICY_GPU_CAP, "100.01" },   { POLICY_GPU_CAP, "1.005" },
		{ POLICY_GPU_CAP, "1.2.3" },   { POLICY_GPU_CAP, "." },	       { POLICY_GPU_CAP, "" },
		{ POLICY_GPU_CAP, "5%" },      { POLICY_GPU_CAP, "inf" },      { POLICY_SHARE, "99.01" },
		{ POLICY_CLASS, "" },	       { POLICY_CLASS, "Latency" },    { POLICY_PRIORITY, "1" },
		{ POLICY_TURN, "8" },	       { POLICY_TURN, "99us" },	       { POLICY_TURN, "11s" },
		{ POLICY_PROTOCOL, "nvidia" }, { POLICY_PROTOCOL, "" },	       { POLICY_PERSONALITY, "any" },
		{ POLICY_QUEUE_DEPTH, "513" }, { POLICY_MEMORY, "16777216T" },
	};
	static const struct {
		enum policy_item item;
		double value;
	} bad_numbers[] = {
		{ POLICY_WEIGHT, 1.5 },	  { POLICY_WEIGHT, -1 },       { POLICY_WEIGHT, NAN },
		{ POLICY_MEMORY, 1e300 }, { POLICY_MEMORY, INFINITY }, { POLICY_GPU_CAP, 0.001 },
		{ POLICY_CLASS, 1 },	  { POLICY_PRIORITY, 100 },    { POLICY_COPY_PER_S, -0.5 },
		{ POLICY_TURN, 99999 },	  { POLICY_GPU_CAP, 100.5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(text(bad[i].item, bad[i].value) < 0);
		assert_ptr_equal(strstr(error, policy_name(bad[i].item)), error);
	}
	for (size_t i = 0; i < sizeof(bad_numbers) / sizeof(bad_numbers[0]); i++)
		assert_true(number(bad_numbers[i].item, bad_numbers[i].value) < 0);
	assert_int_equal(p.given, 0);
}

static void test_names_by_whom(void **state)
{
	(void)state;
	assert_int_equal(policy_find("share", POLICY_FOR_TENANT), -1);
	assert_int_equal(policy_find("memory", POLICY_FOR_POOL), -1);
	assert_int_equal(policy_find("weight", POLICY_FOR_POOL), POLICY_WEIGHT);
	assert_int_equal(policy_find("", POLICY_FOR_POOL), -1);
}

static void test_merging(void **state)
{
	struct policy change;

	(void)state;
	policy_init(&change);
	assert_int_equal(text(POLICY_MEMORY, "1G"), 0);
	assert_int_equal(policy_set_text(&change, POLICY_PRIORITY, "high", error, sizeof(error)), 0);
	policy_merge(&p, &change);
	assert_int_equal(p.value[POLICY_WEIGHT], 200);
	assert_int_equal(p.value[POLICY_MEMORY], 1 << 30);
	assert_int_equal(p.given, 1u << POLICY_WEIGHT | 1u << POLICY_MEMORY);
	policy_init(&change);
	policy_merge(&p, &change);
	assert_int_equal(p.value[POLICY_WEIGHT], 200);
}

static void test_weights_alone_stay(void **state)
{
	struct share_part parts[] = { { 0, 1, 0 }, { 0, 10000, 0 }, { 0, 7, 0 } };

	(void)state;
	assert_int_equal(shares_to_weights(parts, 3), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(parts[i].ret, parts[i].weight);
}

static void test_shares_are_of_the_whole(void **state)
{
	struct share_part parts[] = { { 3000, 100, 0 }, { 0, 300, 0 }, { 0, 100, 0 }, { 1000, 1, 0 } };

	(void)state;
	assert_int_equal(shares_to_weights(parts, 4), 0);
	assert_int_equal(parts[0].ret, 300000);
	assert_int_equal(parts[1].ret, 450000);
	assert_int_equal(parts[2].ret, 150000);
	assert_int_equal(parts[3].ret, 100000);
}

static void test_shares_that_do_not_fit(void **state)
{
	struct share_part whole[] = { { 6000, 1, 0 }, { 4000, 1, 0 } };
	struct share_part none_left[] = { { 6000, 1, 0 }, { 4000, 1, 0 }, { 0, 100, 0 } };
	struct share_part more[] = { { 6000, 1, 0 }, { 4001, 1, 0 } };
	struct share_part least[] = { { 9900, 1, 0 }, { 0, 1, 0 }, { 0, 10000, 0 }, { 0, 10000, 0 } };

	(void)state;
	assert_int_equal(shares_to_weights(whole, 2), 0);
	assert_true(shares_to_weights(none_left, 3) < 0);
	assert_int_equal(none_left[2].ret, 0);
	assert_true(shares_to_weights(more, 2) < 0);
	assert_int_equal(shares_to_weights(least, 4), 0);
	assert_int_equal(least[1].ret, 1);
}

static void test_window(void **state)
{
	struct window w;
	uint64_t ns, t = 100 * NSEC_PER_SEC;

	(void)state;
	window_init(&w, 50, t);
	assert_int_equal(window_look(&w, 50, t, &ns), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(window_look(&w, 60, t + NSEC_PER_SEC / 2, &ns), 10);
	assert_int_equal(ns, NSEC_PER_SEC / 2);
	// The mark follows at a distance of one to two looks that are a second apart.
	for (unsigned i = 1; i <= 10; i++) {
		assert_int_equal(window_look(&w, 50 + 100 * i, t + i * NSEC_PER_SEC, &ns), 100);
		assert_int_equal(ns, NSEC_PER_SEC);
	}
	assert_int_equal(window_look(&w, 1050 + 70, t + 10 * NSEC_PER_SEC + NSEC_PER_SEC / 2, &ns), 170);
}

static void test_stored_values_are_checked_like_others(void **state)
{
	(void)state;
	policy_init(&p);
	assert_int_equal(policy_set_value(&p, POLICY_WEIGHT, 300), 0);
	assert_int_equal(policy_set_value(&p, POLICY_GPU_CAP, 1250), 0);
	assert_int_equal(policy_set_value(&p, POLICY_CLASS, POLICY_CLASS_LATENCY), 0);
	assert_int_equal(p.given, 1u << POLICY_WEIGHT | 1u << POLICY_GPU_CAP | 1u << POLICY_CLASS);
	assert_true(policy_number(&p, POLICY_GPU_CAP) == 12.5);
	assert_int_equal(policy_set_value(&p, POLICY_WEIGHT, 0), -EINVAL);
	assert_int_equal(policy_set_value(&p, POLICY_GPU_CAP, 10001), -EINVAL);
	assert_int_equal(policy_set_value(&p, POLICY_CLASS, 2), -EINVAL);
	assert_int_equal(policy_set_value(&p, POLICY_PROTOCOL, 3), -EINVAL);
	assert_int_equal(policy_set_value(&p, POLICY_PERSONALITY, UINT64_MAX), -EINVAL);
	assert_int_equal(policy_set_value(&p, POLICY_PRIORITY, 100), -EINVAL);
	assert_int_equal(p.value[POLICY_WEIGHT], 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, set_up),
		cmocka_unit_test_setup(test_values_as_people_write_them, set_up),
		cmocka_unit_test_setup(test_what_is_no_value, set_up),
		cmocka_unit_test_setup(test_names_by_whom, set_up),
		cmocka_unit_test_setup(test_merging, set_up),
		cmocka_unit_test(test_weights_alone_stay),
		cmocka_unit_test(test_shares_are_of_the_whole),
		cmocka_unit_test(test_shares_that_do_not_fit),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_stored_values_are_checked_like_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
