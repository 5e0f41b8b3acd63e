// SPDX-License-Identifier: Apache-2.0
// The life of a slot (mediator/inventory/slot_life.c) in made-up time, and the uuids of a partition
// (slot_id.c).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/inventory/slot_id.h"
#include "mediator/inventory/slot_life.h"

#define FOR   60u
#define GRACE 10u

static const struct slot_rules rules = { .reserve_for_ns = FOR, .grace_ns = GRACE };

static enum slot_change look(struct slot_life *l, int connected, int used, uint64_t now)
{
	return slot_life_look(l, connected, used, &rules, now);
}

static struct slot_life reserved_at(uint64_t now)
{
	struct slot_life l;

	slot_life_begin(&l, true, &rules, now);
	assert_int_equal(l.state, SLOT_RESERVED);
	return l;
}

static void test_a_free_slot_stays_free(void **state)
{
	struct slot_life l = { 0 };

	(void)state;
	assert_int_equal(l.state, SLOT_FREE);
	assert_int_equal(look(&l, 0, 0, UINT64_MAX), SLOT_SAME);
	assert_int_equal(look(&l, 1, 1, UINT64_MAX), SLOT_SAME);
}

static void test_from_reserved_to_free(void **state)
{
	struct slot_life l = reserved_at(1000);

	(void)state;
	assert_int_equal(look(&l, 0, 0, 1000 + FOR - 1), SLOT_SAME);
	assert_int_equal(look(&l, 1, 0, 1000 + FOR - 1), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_STARTING);
	assert_int_equal(look(&l, 1, 0, 5000), SLOT_SAME);
	assert_int_equal(look(&l, 1, 1, 5000), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_RUNNING);
	// A guest whose programs are done still has its GPU.
	assert_int_equal(look(&l, 1, 0, 9000), SLOT_SAME);
	assert_int_equal(look(&l, 0, 0, 9000), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_RELEASING);
	assert_int_equal(look(&l, 0, 0, 9000 + GRACE - 1), SLOT_SAME);
	assert_int_equal(look(&l, 0, 0, 9000 + GRACE), SLOT_OVER);
}

static void test_a_reservation_nobody_came_for_is_over(void **state)
{
	struct slot_life l = reserved_at(1000);

	(void)state;
	assert_int_equal(l.until_ns, 1000 + FOR);
	assert_int_equal(look(&l, 0, 0, 1000 + FOR), SLOT_OVER);
	// Who comes in the last moment has it.
	assert_int_equal(look(&l, 1, 0, 1000 + FOR), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_STARTING);
}

static void test_a_stub_that_comes_back_in_time(void **state)
{
	struct slot_life l = reserved_at(0);

	(void)state;
	look(&l, 1, 1, 1);
	look(&l, 0, 0, 100);
	assert_int_equal(l.state, SLOT_RELEASING);
	assert_int_equal(look(&l, 1, 0, 100 + GRACE - 1), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_STARTING);
	assert_int_equal(l.until_ns, 0);
	assert_int_equal(look(&l, 0, 0, 200), SLOT_CHANGED);
	assert_int_equal(l.until_ns, 200 + GRACE); // the whole grace, again
}

static void test_reserving_again_begins_the_time_anew(void **state)
{
	struct slot_life l = reserved_at(0);

	(void)state;
	slot_life_renew(&l, &rules, 50);
	assert_int_equal(look(&l, 0, 0, FOR), SLOT_SAME);
	assert_int_equal(look(&l, 0, 0, 50 + FOR), SLOT_OVER);
	look(&l, 1, 1, 100);
	look(&l, 0, 0, 200);
	slot_life_renew(&l, &rules, 205); // while it is releasing
	assert_int_equal(l.state, SLOT_RESERVED);
	assert_int_equal(look(&l, 0, 0, 205 + FOR - 1), SLOT_SAME);
	assert_int_equal(look(&l, 0, 0, 205 + FOR), SLOT_OVER);
}

// The VM is started again before its last stub has gone.
static void test_reserving_again_while_the_last_stub_is_there(void **state)
{
	struct slot_life l = reserved_at(0);

	(void)state;
	look(&l, 1, 1, 1);
	slot_life_renew(&l, &rules, 100);
	assert_int_equal(l.state, SLOT_RUNNING);
	look(&l, 0, 0, 101);
	assert_int_equal(look(&l, 0, 0, 100 + FOR - 1), SLOT_SAME);
	assert_int_equal(look(&l, 1, 0, 100 + FOR - 1), SLOT_CHANGED);
	look(&l, 0, 0, 300);
	assert_int_equal(look(&l, 0, 0, 300 + GRACE), SLOT_OVER); // that was for one time
}

static void test_what_is_assigned_by_hand_stays(void **state)
{
	struct slot_life l;

	(void)state;
	slot_life_begin(&l, false, &rules, 0);
	assert_int_equal(look(&l, 0, 0, UINT64_MAX), SLOT_SAME);
	look(&l, 1, 1, 10);
	assert_int_equal(l.state, SLOT_RUNNING);
	look(&l, 0, 0, 20);
	assert_int_equal(l.state, SLOT_RELEASING);
	assert_int_equal(look(&l, 0, 0, 20 + GRACE), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_RESERVED);
	slot_life_renew(&l, &rules, 30); // slot.reserve by the VM that has it anyway
	assert_false(l.by_reserve);
	assert_int_equal(look(&l, 0, 0, UINT64_MAX), SLOT_SAME);
}

static void test_a_reservation_becomes_an_assignment(void **state)
{
	struct slot_life l = reserved_at(0);

	(void)state;
	slot_life_keep(&l);
	assert_int_equal(look(&l, 0, 0, UINT64_MAX), SLOT_SAME);
	l = reserved_at(0);
	look(&l, 1, 0, 1);
	look(&l, 0, 0, 2);
	slot_life_keep(&l);
	assert_int_equal(look(&l, 0, 0, 2 + GRACE), SLOT_CHANGED);
	assert_int_equal(l.state, SLOT_RESERVED);
}

static void test_a_mediator_that_goes_on(void **state)
{
	struct slot_life l;

	(void)state;
	slot_life_resume(&l, true, SLOT_RESERVED, &rules, 1000);
	assert_int_equal(look(&l, 0, 0, 1000 + FOR - 1), SLOT_SAME);
	assert_int_equal(look(&l, 0, 0, 1000 + FOR), SLOT_OVER);
	slot_life_resume(&l, true, SLOT_RUNNING, &rules, 1000);
	assert_int_equal(look(&l, 1, 0, 5000), SLOT_SAME); // its sessions were adopted
	slot_life_resume(&l, true, SLOT_RUNNING, &rules, 1000);
	assert_int_equal(look(&l, 0, 0, 1001), SLOT_CHANGED); // they were not: its stub has to come back
	assert_int_equal(look(&l, 0, 0, 1001 + GRACE), SLOT_OVER);
	slot_life_resume(&l, true, SLOT_RELEASING, &rules, 1000);
	assert_int_equal(look(&l, 0, 0, 1000 + GRACE), SLOT_OVER);
	slot_life_resume(&l, false, SLOT_FREE, &rules, 1000); // of a mediator that knew no states
	assert_int_equal(l.state, SLOT_RESERVED);
	assert_int_equal(look(&l, 0, 0, UINT64_MAX), SLOT_SAME);
}

static void test_times_that_would_not_fit(void **state)
{
	struct slot_life l = reserved_at(UINT64_MAX - 1);

	(void)state;
	assert_true(l.until_ns == UINT64_MAX);
	assert_int_equal(look(&l, 0, 0, UINT64_MAX - 1), SLOT_SAME);
}

static void test_words(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SLOT_STATES; i++)
		assert_int_equal(slot_state_find(slot_state_text(i)), i);
	assert_int_equal(slot_state_find(""), SLOT_STATES);
	assert_int_equal(slot_state_find("gone"), SLOT_STATES);
}

// ---- uuids; the expected ones are what Python's uuid.uuid5() says ----

static void test_uuids_of_version_5(void **state)
{
	static const uint8_t dns[16] = { 0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
					 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };
	char uuid[VM_UUID_BYTES], again[VM_UUID_BYTES];
	static const char long_name[600];

	(void)state;
	assert_int_equal(uuid_of_name(dns, "python.org", 10, uuid), 0);
	assert_string_equal(uuid, "886313e1-3b8a-5372-9b90-0c9aee199e5d");
	assert_true(vm_uuid_parse(uuid, again));
	assert_int_equal(uuid_of_name(dns, "", 0, uuid), 0);
	assert_string_equal(uuid, "4ebd0208-8328-5d69-8c44-ec50939c0967");
	assert_true(uuid_of_name(dns, long_name, 600, uuid) < 0);
}

static void test_a_slot_has_the_same_uuid_every_time(void **state)
{
	static const char machine[] = "0123456789abcdef0123456789abcdef";
	static const char gpu[] = "GPU-30313233-3435-3637-3839-616263646566";
	char uuid[VM_UUID_BYTES], long_name[600];

	(void)state;
	assert_int_equal(slot_id(machine, gpu, "quarter", 0, uuid), 0);
	assert_string_equal(uuid, "d3257de8-9ebd-5d2f-85a2-e958aae2860a");
	assert_int_equal(slot_id(machine, gpu, "quarter", 7, uuid), 0);
	assert_string_equal(uuid, "1b76e7c3-2521-51eb-9a35-5bbaf4dedcf0");
	assert_int_equal(slot_id(machine, gpu, "half", 0, uuid), 0);
	assert_string_equal(uuid, "15533412-3f7b-51c4-aa65-c09c818a9422");
	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = 0;
	assert_true(slot_id(machine, gpu, long_name, 0, uuid) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_free_slot_stays_free),
		cmocka_unit_test(test_from_reserved_to_free),
		cmocka_unit_test(test_a_reservation_nobody_came_for_is_over),
		cmocka_unit_test(test_a_stub_that_comes_back_in_time),
		cmocka_unit_test(test_reserving_again_begins_the_time_anew),
		cmocka_unit_test(test_reserving_again_while_the_last_stub_is_there),
		cmocka_unit_test(test_what_is_assigned_by_hand_stays),
		cmocka_unit_test(test_a_reservation_becomes_an_assignment),
		cmocka_unit_test(test_a_mediator_that_goes_on),
		cmocka_unit_test(test_times_that_would_not_fit),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_uuids_of_version_5),
		cmocka_unit_test(test_a_slot_has_the_same_uuid_every_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
