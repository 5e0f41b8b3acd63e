// SPDX-License-Identifier: Apache-2.0
// The ring of events: order, what is lost and what is not, the limit on what programs cause.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "mediator/event/ring.h"

#define FIRST 1000ull
#define RARE  EVENT_HEALTH
#define OFTEN EVENT_SESSION_CAME

static struct event_ring ring;
static uint64_t now;

static int set_up(void **state)
{
	(void)state;
	now = 77 * NSEC_PER_SEC;
	return event_ring_init(&ring, FIRST);
}

static int tear_down(void **state)
{
	(void)state;
	event_ring_done(&ring);
	return 0;
}

static struct event *add(enum event_kind kind)
{
	return event_ring_add(&ring, kind, 5, now);
}

static unsigned count_after(uint64_t id, uint64_t *ret_first, uint64_t *ret_last)
{
	const struct event *e;
	unsigned n = 0;

	while ((e = event_ring_after(&ring, id))) {
		assert_true(e->id > id);
		id = e->id;
		*ret_first = n ? *ret_first : id;
		*ret_last = id;
		n++;
	}
	return n;
}

static void empty(void **state)
{
	(void)state;
	assert_null(event_ring_after(&ring, 0));
	assert_int_equal(event_ring_newest(&ring), FIRST - 1);
	assert_true(event_ring_has_all_after(&ring, FIRST - 1));
	assert_false(event_ring_has_all_after(&ring, FIRST - 2)); // of the mediator before
	assert_false(event_ring_has_all_after(&ring, FIRST));
}

static void one_order_of_both(void **state)
{
	uint64_t first, last;
	struct event *e;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		e = add(i % 3 ? OFTEN : RARE);
		assert_int_equal(e->id, FIRST + i);
		assert_int_equal(e->kind, i % 3 ? OFTEN : RARE);
		assert_int_equal(e->at_ms, 5);
		assert_int_equal(e->text[0], 0);
	}
	assert_int_equal(count_after(0, &first, &last), 20);
	assert_int_equal(first, FIRST);
	assert_int_equal(last, FIRST + 19);
	assert_int_equal(count_after(FIRST + 9, &first, &last), 10);
	assert_int_equal(first, FIRST + 10);
	assert_int_equal(event_ring_newest(&ring), FIRST + 19);
}

static void old_ones_make_room(void **state)
{
	uint64_t first, last;

	(void)state;
	for (unsigned i = 0; i < VGPU_MAX_HELD_EVENTS; i++)
		add(RARE);
	assert_true(event_ring_has_all_after(&ring, FIRST - 1));
	add(RARE);
	assert_false(event_ring_has_all_after(&ring, FIRST - 1));
	assert_true(event_ring_has_all_after(&ring, FIRST));
	assert_int_equal(count_after(0, &first, &last), VGPU_MAX_HELD_EVENTS);
	assert_int_equal(first, FIRST + 1);
	assert_int_equal(last, FIRST + VGPU_MAX_HELD_EVENTS);
}

static void programs_push_nothing_else_out(void **state)
{
	uint64_t first, last;
	const struct event *e;

	(void)state;
	add(RARE)->text[0] = 'x';
	for (unsigned i = 0; i < 3 * VGPU_MAX_HELD_EVENTS; i++) {
		if (!add(OFTEN))
			now += NSEC_PER_SEC;
	}
	assert_false(event_ring_has_all_after(&ring, FIRST));
	e = event_ring_after(&ring, 0);
	assert_int_equal(e->id, FIRST);
	assert_int_equal(e->text[0], 'x');
	assert_int_equal(count_after(0, &first, &last), VGPU_MAX_HELD_EVENTS + 1);
	assert_int_equal(last, event_ring_newest(&ring));
}

static void a_limit_a_second(void **state)
{
	unsigned taken = 0;

	(void)state;
	for (unsigned i = 0; i < 5 * VGPU_MAX_OFTEN_EVENTS_PER_S; i++)
		taken += add(OFTEN) != NULL;
	assert_int_equal(taken, VGPU_MAX_OFTEN_EVENTS_PER_S);
	assert_int_equal(ring.left_out, 4 * VGPU_MAX_OFTEN_EVENTS_PER_S);
	assert_non_null(add(RARE));
	now += NSEC_PER_SEC;
	assert_non_null(add(OFTEN));
	// Those left out had no ids: nobody misses them.
	assert_int_equal(event_ring_newest(&ring), FIRST + VGPU_MAX_OFTEN_EVENTS_PER_S + 1);
}

static void kinds(void **state)
{
	(void)state;
	for (unsigned i = 0; i < EVENT_KINDS; i++) {
		assert_true(strlen(event_word(i)) > 3 && strchr(event_word(i), '.'));
		assert_true(strlen(event_help(i)) > 10);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(event_word(i), event_word(j));
	}
	assert_true(event_comes_often(EVENT_CHANNEL_CAME));
	assert_false(event_comes_often(EVENT_OPERATOR));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(empty),
		TEST(one_order_of_both),
		TEST(old_ones_make_room),
		TEST(programs_push_nothing_else_out),
		TEST(a_limit_a_second),
		TEST(kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
