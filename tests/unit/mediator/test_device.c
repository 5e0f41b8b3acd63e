// SPDX-License-Identifier: Apache-2.0
// The mediator's pure parts about the device, in made-up time: what is told of the card and when
// (mediator/device/board.c), shares of the last second (usage.c), who a peer is (peer.c), rates
// (mediator/limit/bucket.h).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "mediator/device/board.h"
#include "mediator/device/peer.h"
#include "mediator/device/usage.h"
#include "mediator/limit/bucket.h"

#define MS NSEC_PER_MSEC
#define T0 (1000 * NSEC_PER_SEC)

// ---- usage ----

static void usage_needs_two_looks(void **state)
{
	struct usage u = { 0 };
	uint32_t share;

	(void)state;
	assert_false(usage_share(&u, T0, 0, &share));
	usage_note(&u, T0, 500);
	assert_false(usage_share(&u, T0, 500, &share));
	assert_false(usage_share(&u, T0 + 99 * MS, 500, &share));
	assert_true(usage_share(&u, T0 + 100 * MS, 500 + 25 * MS, &share));
	assert_int_equal(share, 2500);
}

static void usage_is_of_about_the_last_second(void **state)
{
	struct usage u = { 0 };
	uint64_t now = T0, busy = 0;
	uint32_t share;

	(void)state;
	// Busy for 10 s, then idle: two seconds later nothing of it is left.
	for (int i = 0; i < 100; i++, now += 100 * MS, busy += 100 * MS)
		usage_note(&u, now, busy);
	assert_true(usage_share(&u, now, busy, &share));
	assert_int_equal(share, USAGE_WHOLE);
	for (int i = 0; i < 6; i++, now += 100 * MS)
		usage_note(&u, now, busy);
	assert_true(usage_share(&u, now, busy, &share));
	assert_in_range(share, 3000, 6000);
	for (int i = 0; i < 14; i++, now += 100 * MS)
		usage_note(&u, now, busy);
	assert_true(usage_share(&u, now, busy, &share));
	assert_int_equal(share, 0);
}

static void an_old_look_says_nothing(void **state)
{
	struct usage u = { 0 };
	uint32_t share;

	(void)state;
	usage_note(&u, T0, 0);
	assert_true(usage_share(&u, T0 + USAGE_LONGEST_NS, 15 * MS, &share));
	assert_int_equal(share, 100);
	assert_false(usage_share(&u, T0 + USAGE_LONGEST_NS + 1, 15 * MS, &share));
}

static void usage_is_never_more_than_all(void **state)
{
	struct usage u = { 0 };
	uint32_t share;

	(void)state;
	usage_note(&u, T0, 10);
	assert_true(usage_share(&u, T0 + 200 * MS, UINT64_MAX, &share));
	assert_int_equal(share, USAGE_WHOLE);
	assert_false(usage_share(&u, T0 + 200 * MS, 9, &share)); // a count that fell is none
}

static void looks_in_quick_succession_keep_the_window_long(void **state)
{
	struct usage u = { 0 };
	uint64_t now = T0;
	uint32_t share;

	(void)state;
	for (int i = 0; i < 2000; i++, now += MS) // busy in the first of these two seconds
		usage_note(&u, now, i < 1000 ? (uint64_t)i * MS : 1000 * MS);
	assert_true(usage_share(&u, now, 1000 * MS, &share));
	assert_in_range(share, 0, 1500);
}

// ---- board ----

static struct link_sensor_ready ready(uint32_t readings)
{
	struct link_sensor_ready m = { .readings = readings, .backend = "cuda" };

	strncpy(m.identity.name, "NVIDIA H100\n80GB", sizeof(m.identity.name) - 1);
	m.identity.total_memory = 80;
	return m;
}

static struct link_sensed sensed(void)
{
	struct link_sensed m = { .texts = { .serial = "1234\x7f" } };

	device_value_set(&m.values, DEVICE_TEMPERATURE, 45);
	device_value_set(&m.values, DEVICE_POWER_LIMIT_MOST, 700000);
	device_value_set(&m.values, DEVICE_CARD_GPU_UTILISATION, 99);
	device_value_set(&m.values, DEVICE_CARD_MEMORY_FREE, 1234);
	return m;
}

static void nothing_is_known_at_first(void **state)
{
	struct board b = { 0 };
	struct device_state s;
	uint64_t free_bytes;

	(void)state;
	board_tell(&b, true, T0, &s);
	assert_int_equal(s.source, DEVICE_UNKNOWN);
	assert_true(s.age_ns == UINT64_MAX);
	assert_true(s.values.valid[0] == 0 && s.values.valid[1] == 0);
	assert_false(board_memory_free(&b, T0, &free_bytes));
	assert_false(board_fresh(&b, UINT64_MAX, T0));
}

static void identity_comes_before_readings_and_stays(void **state)
{
	struct link_sensor_ready r = ready(1);
	struct link_sensed m = sensed();
	struct board b = { 0 };
	struct device_state s;

	(void)state;
	board_identity(&b, &r);
	board_tell(&b, false, T0, &s);
	assert_int_equal(s.source, DEVICE_IDENTITY);
	assert_string_equal(s.identity.name, "NVIDIA H100?80GB");
	assert_int_equal(s.identity.total_memory, 80);
	board_readings(&b, &m, T0);
	board_tell(&b, false, T0 + 5, &s);
	assert_int_equal(s.source, DEVICE_CARD);
	assert_int_equal(s.age_ns, 5);
	assert_string_equal(s.texts.serial, "1234?");
	assert_string_equal(s.backend, "cuda");
}

static void old_readings_are_not_told_but_fixed_facts_are(void **state)
{
	struct link_sensor_ready r = ready(1);
	struct link_sensed m = sensed();
	struct board b = { 0 };
	struct device_state s;
	uint64_t free_bytes = 0;

	(void)state;
	board_identity(&b, &r);
	board_readings(&b, &m, T0);
	board_tell(&b, false, T0 + DEVICE_READING_NS, &s);
	assert_true(device_value_known(&s.values, DEVICE_TEMPERATURE));
	assert_int_equal(s.values.value[DEVICE_TEMPERATURE], 45);
	assert_true(board_memory_free(&b, T0 + DEVICE_READING_NS, &free_bytes));
	assert_int_equal(free_bytes, 1234);
	device_value_set(&b.values, DEVICE_MIG_MODE, 1);
	assert_false(board_memory_free(&b, T0, &free_bytes));
	device_value_clear(&b.values, DEVICE_MIG_MODE);
	board_tell(&b, false, T0 + DEVICE_READING_NS + 1, &s);
	assert_false(device_value_known(&s.values, DEVICE_TEMPERATURE));
	assert_int_equal(s.values.value[DEVICE_TEMPERATURE], 0);
	assert_true(device_value_known(&s.values, DEVICE_POWER_LIMIT_MOST));
	assert_false(board_memory_free(&b, T0 + DEVICE_READING_NS + 1, &free_bytes));
}

static void a_reading_that_is_gone_is_gone_a_fixed_one_is_kept(void **state)
{
	struct link_sensor_ready r = ready(1);
	struct link_sensed m = sensed(), none = { 0 };
	struct board b = { 0 };
	struct device_state s;

	(void)state;
	board_identity(&b, &r);
	board_readings(&b, &m, T0);
	board_readings(&b, &none, T0 + 1);
	board_tell(&b, true, T0 + 1, &s);
	assert_false(device_value_known(&s.values, DEVICE_TEMPERATURE));
	assert_false(device_value_known(&s.values, DEVICE_CARD_MEMORY_FREE));
	assert_true(device_value_known(&s.values, DEVICE_POWER_LIMIT_MOST));
}

static void what_others_do_is_for_operators(void **state)
{
	struct link_sensor_ready r = ready(1);
	struct link_sensed m = sensed();
	struct board b = { 0 };
	struct device_state s;

	(void)state;
	board_identity(&b, &r);
	board_readings(&b, &m, T0);
	board_tell(&b, false, T0, &s);
	for (unsigned i = DEVICE_CARD_GPU_UTILISATION; i <= DEVICE_CARD_PCIE_SENT; i++)
		assert_false(device_value_known(&s.values, i));
	board_tell(&b, true, T0, &s);
	assert_true(device_value_known(&s.values, DEVICE_CARD_GPU_UTILISATION));
	assert_true(device_value_known(&s.values, DEVICE_CARD_MEMORY_FREE));
}

static void numbers_out_of_range_and_not_the_sensors_to_tell_are_dropped(void **state)
{
	struct link_sensor_ready r = ready(1);
	struct link_sensed m = sensed();
	struct board b = { 0 };
	struct device_state s;

	(void)state;
	device_value_set(&m.values, DEVICE_TEMPERATURE, 1001);
	device_value_set(&m.values, DEVICE_CARD_GPU_UTILISATION, 101);
	device_value_set(&m.values, DEVICE_MEMORY_USED, 5);
	device_value_set(&m.values, DEVICE_GPU_BUSY, 5);
	m.values.valid[1] |= 1ull << 63; // a value that this mediator does not know
	m.values.value[127] = 9;
	board_identity(&b, &r);
	board_readings(&b, &m, T0);
	board_tell(&b, true, T0, &s);
	assert_false(device_value_known(&s.values, DEVICE_TEMPERATURE));
	assert_false(device_value_known(&s.values, DEVICE_CARD_GPU_UTILISATION));
	assert_false(device_value_known(&s.values, DEVICE_MEMORY_USED));
	assert_false(device_value_known(&s.values, DEVICE_GPU_BUSY));
	assert_true(s.values.valid[1] >> 63 == 0 && s.values.value[127] == 0);
}

static void a_lost_card_is_lost_until_it_is_read_again(void **state)
{
	struct link_sensor_ready r = ready(1);
	struct link_sensed m = sensed(), lost = { .lost = 1 };
	struct board b = { 0 };
	struct device_state s;

	(void)state;
	board_identity(&b, &r);
	board_readings(&b, &m, T0);
	board_readings(&b, &lost, T0 + 1);
	board_tell(&b, false, T0 + 1, &s);
	assert_int_equal(s.source, DEVICE_LOST);
	assert_string_equal(s.texts.serial, "1234?");
	assert_false(device_value_known(&s.values, DEVICE_TEMPERATURE));
	board_identity(&b, &r);
	board_tell(&b, false, T0 + 2, &s);
	assert_int_equal(s.source, DEVICE_LOST);
	board_readings(&b, &m, T0 + 3);
	board_tell(&b, false, T0 + 3, &s);
	assert_int_equal(s.source, DEVICE_CARD);
}

// ---- peers ----

static struct peer peer(const char *pids, ino_t ns)
{
	struct peer p = { .ns = ns };

	peer_parse_pids(&p, pids);
	return p;
}

static void pids_are_read_from_a_pidfds_fdinfo(void **state)
{
	struct peer p = peer("pos:\t0\nflags:\t02000002\nPid:\t4711\nNSpid:\t4711\t12\t1\n", 0);

	(void)state;
	assert_int_equal(p.depth, 3);
	assert_int_equal(p.pids[0], 4711);
	assert_int_equal(p.pids[2], 1);
	p = peer("Pid:\t4711\nNSpid:\t4711\n", 0);
	assert_int_equal(p.depth, 1);
	p = peer("pos:\t0\nPid:\t-1\nNSpid:\t-1\n", 0); // dead
	assert_int_equal(p.depth, 0);
	p = peer("pos:\t0\nPid:\t0\n", 0); // not visible from here
	assert_int_equal(p.depth, 0);
	p = peer("Pid:\t1\nNSpid:\t1\t2\t3\t4\t5\t6\t7\t8\t9\n", 0);
	assert_int_equal(p.depth, 0);
	p = peer("", 0);
	assert_int_equal(p.depth, 0);
}

static void a_pid_is_told_as_the_asker_sees_it(void **state)
{
	struct peer outside = peer("\nNSpid:\t100\n", 1), inside = peer("\nNSpid:\t200\t7\n", 2);
	struct peer sibling = peer("\nNSpid:\t201\t8\n", 2), elsewhere = peer("\nNSpid:\t300\t8\n", 3);
	struct peer unknown = peer("", 0), hidden = peer("\nNSpid:\t400\t9\n", 0);
	pid_t pid = 0;

	(void)state;
	assert_true(peer_sees(&outside, &inside, &pid));
	assert_int_equal(pid, 200);
	assert_true(peer_sees(&inside, &sibling, &pid));
	assert_int_equal(pid, 8);
	assert_false(peer_sees(&inside, &elsewhere, &pid));
	assert_false(peer_sees(&inside, &outside, &pid));
	assert_false(peer_sees(&inside, &hidden, &pid));
	assert_false(peer_sees(&hidden, &inside, &pid));
	assert_false(peer_sees(&unknown, &outside, &pid));
	assert_false(peer_sees(&outside, &unknown, &pid));
}

static void names_are_clean(void **state)
{
	struct peer p = { 0 };

	(void)state;
	peer_set_name(&p, "py\x1b[1mthon\n", 11);
	assert_string_equal(p.name, "py?[1mthon");
	peer_set_name(&p, "a name that is too long\n", 24);
	assert_string_equal(p.name, "a name that is ");
	peer_set_name(&p, "", 0);
	assert_string_equal(p.name, "");
}

// ---- rates ----

static void a_bucket_gives_a_seconds_worth_and_fills_up(void **state)
{
	struct bucket b;
	unsigned got = 0;

	(void)state;
	bucket_init(&b, T0);
	while (bucket_take(&b, 100, T0))
		got++;
	assert_int_equal(got, 100);
	assert_false(bucket_take(&b, 100, T0 + 9 * MS));
	assert_true(bucket_take(&b, 100, T0 + 10 * MS));
	for (got = 0; bucket_take(&b, 100, T0 + 3600 * NSEC_PER_SEC);)
		got++;
	assert_int_equal(got, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_needs_two_looks),
		cmocka_unit_test(usage_is_of_about_the_last_second),
		cmocka_unit_test(an_old_look_says_nothing),
		cmocka_unit_test(usage_is_never_more_than_all),
		cmocka_unit_test(looks_in_quick_succession_keep_the_window_long),
		cmocka_unit_test(nothing_is_known_at_first),
		cmocka_unit_test(identity_comes_before_readings_and_stays),
		cmocka_unit_test(old_readings_are_not_told_but_fixed_facts_are),
		cmocka_unit_test(a_reading_that_is_gone_is_gone_a_fixed_one_is_kept),
		cmocka_unit_test(what_others_do_is_for_operators),
		cmocka_unit_test(numbers_out_of_range_and_not_the_sensors_to_tell_are_dropped),
		cmocka_unit_test(a_lost_card_is_lost_until_it_is_read_again),
		cmocka_unit_test(pids_are_read_from_a_pidfds_fdinfo),
		cmocka_unit_test(a_pid_is_told_as_the_asker_sees_it),
		cmocka_unit_test(names_are_clean),
		cmocka_unit_test(a_bucket_gives_a_seconds_worth_and_fills_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
