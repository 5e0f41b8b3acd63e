// SPDX-License-Identifier: Apache-2.0
// How many vGPUs fit on a card (mediator/inventory/capacity.c), and their uuids (uuid.c).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "mediator/inventory/capacity.h"
#include "mediator/inventory/uuid.h"

static const struct capacity_card h100 = { .bytes = VGPU_GIB(80), .overcommit = 100, .most = 64 };

static void test_a_card_is_divided_without_a_rest(void **state)
{
	struct capacity_use use = { 0 };

	(void)state;
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(10)), 8);
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(10) + 1), 7);
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(80)), 1);
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(80) + 1), 0);
	capacity_add(&h100, VGPU_GIB(10), 8, &use);
	assert_true(capacity_holds(&h100, &use));
	assert_int_equal(capacity_fit(&h100, &use, 1), 0);
}

static void test_profiles_can_be_mixed(void **state)
{
	struct capacity_use use = { 0 };

	(void)state;
	capacity_add(&h100, VGPU_GIB(40), 1, &use);
	capacity_add(&h100, VGPU_GIB(10), 3, &use);
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(10)), 1);
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(5)), 2);
	assert_int_equal(capacity_fit(&h100, &use, VGPU_GIB(11)), 0);
}

static void test_without_a_quota_a_vgpu_takes_the_card(void **state)
{
	struct capacity_card twice = h100;
	struct capacity_use use = { 0 };

	(void)state;
	assert_int_equal(capacity_fit(&h100, &use, 0), 1);
	twice.overcommit = 200;
	assert_int_equal(capacity_fit(&twice, &use, 0), 2);
	capacity_add(&twice, 1, 1, &use);
	assert_int_equal(capacity_fit(&twice, &use, 0), 1);
}

static void test_overcommit_makes_room_but_no_larger_card(void **state)
{
	struct capacity_card c = h100;
	struct capacity_use use = { 0 };

	(void)state;
	c.overcommit = 150;
	assert_int_equal(capacity_limit(&c), VGPU_GIB(120));
	assert_int_equal(capacity_fit(&c, &use, VGPU_GIB(10)), 12);
	assert_int_equal(capacity_fit(&c, &use, VGPU_GIB(81)), 0);
	c.overcommit = 50; // the rest is somebody else's
	assert_int_equal(capacity_fit(&c, &use, VGPU_GIB(10)), 4);
	c.bytes = 199;
	assert_int_equal(capacity_limit(&c), 99);
}

static void test_the_most_vgpus(void **state)
{
	struct capacity_card c = h100;
	struct capacity_use use = { 0 };

	(void)state;
	c.most = 3;
	assert_int_equal(capacity_fit(&c, &use, 1), 3);
	capacity_add(&c, 1, 2, &use);
	assert_int_equal(capacity_fit(&c, &use, 1), 1);
	capacity_add(&c, 1, 1, &use);
	assert_int_equal(capacity_fit(&c, &use, 1), 0);
	c.most = 2; // lowered since
	assert_int_equal(capacity_fit(&c, &use, 1), 0);
	assert_false(capacity_holds(&c, &use));
}

static void test_an_unknown_card_has_no_room(void **state)
{
	const struct capacity_card none = { .bytes = 0, .overcommit = 100, .most = 64 };
	const struct capacity_use use = { 0 };

	(void)state;
	assert_int_equal(capacity_fit(&none, &use, 0), 0);
	assert_int_equal(capacity_fit(&none, &use, 1), 0);
}

static void test_sums_stop_at_the_end(void **state)
{
	const struct capacity_card c = { .bytes = UINT64_MAX, .overcommit = 1000, .most = UINT32_MAX };
	struct capacity_use use = { 0 };

	(void)state;
	assert_int_equal(capacity_limit(&c), UINT64_MAX);
	capacity_add(&c, UINT64_MAX / 2, 3, &use);
	assert_int_equal(use.bytes, UINT64_MAX);
	assert_int_equal(capacity_fit(&c, &use, 1), 0);
	use.bytes = 0;
	assert_int_equal(capacity_fit(&c, &use, 1), UINT32_MAX - 3);
}

// Whatever was made before: as many as are said to fit do, and one more does not.
static void test_what_is_said_to_fit_fits(void **state)
{
	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		struct capacity_card c = { .bytes = 1 + (uint64_t)rand(),
					   .overcommit = 1 + (uint32_t)rand() % 1000,
					   .most = 1 + (uint32_t)rand() % 100 };
		struct capacity_use use = { 0 }, more;
		uint64_t bytes = (uint64_t)rand() % (c.bytes + 10);
		uint32_t fit;

		capacity_add(&c, (uint64_t)rand() % c.bytes, (uint32_t)rand() % 5, &use);
		fit = capacity_fit(&c, &use, bytes);
		more = use;
		capacity_add(&c, bytes, fit, &more);
		assert_true(!fit || capacity_holds(&c, &more));
		capacity_add(&c, bytes, 1, &more);
		assert_true(!capacity_holds(&c, &more) || capacity_bytes(&c, bytes) > c.bytes);
	}
}

static void test_uuids(void **state)
{
	static const char *const bad[] = {
		"",
		"00000000-0000-0000-0000-000000000000",
		"01234567-89ab-cdef-0123-456789abcde",
		"01234567-89ab-cdef-0123-456789abcdef0",
		"01234567089ab-cdef-0123-456789abcdef",
		"01234567-89ab-cdef-0123-456789abcdeg",
		"../../../../../../../../../../../etc",
	};
	char uuid[VM_UUID_BYTES], again[VM_UUID_BYTES];

	(void)state;
	assert_true(vm_uuid_parse("01234567-89AB-cdef-0123-456789ABCDEF", uuid));
	assert_string_equal(uuid, "01234567-89ab-cdef-0123-456789abcdef");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(vm_uuid_parse(bad[i], uuid));
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(vm_uuid_make(uuid), 0);
		assert_int_equal(uuid[14], '4');
		assert_non_null(strchr("89ab", uuid[19]));
		assert_true(vm_uuid_parse(uuid, again));
		assert_string_equal(uuid, again);
	}
	assert_int_equal(vm_uuid_make(again), 0);
	assert_string_not_equal(uuid, again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_card_is_divided_without_a_rest),
		cmocka_unit_test(test_profiles_can_be_mixed),
		cmocka_unit_test(test_without_a_quota_a_vgpu_takes_the_card),
		cmocka_unit_test(test_overcommit_makes_room_but_no_larger_card),
		cmocka_unit_test(test_the_most_vgpus),
		cmocka_unit_test(test_an_unknown_card_has_no_room),
		cmocka_unit_test(test_sums_stop_at_the_end),
		cmocka_unit_test(test_what_is_said_to_fit_fits),
		cmocka_unit_test(test_uuids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
