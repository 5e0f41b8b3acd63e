// SPDX-License-Identifier: Apache-2.0
// executor/ring.c against producers that keep the rules and such that do not.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "executor/ring.h"
#include "protocol/guest/calls.h"
#include "tests/unit/executor/test.h"

#define BYTES 65536u

static struct channel_header header;
static uint8_t bytes[BYTES];
static struct ring ring;
static const char *why;

static int setup(void **state)
{
	(void)state;
	memset(&header, 0, sizeof(header));
	memset(bytes, 0, sizeof(bytes));
	ring_init(&ring, &header, bytes, BYTES, 4);
	return 0;
}

static void put(uint64_t at, uint16_t opcode, uint16_t slot, uint32_t length, uint64_t cookie)
{
	struct record_header h = { opcode, slot, length, cookie };

	memcpy(bytes + at % BYTES, &h, sizeof(h));
}

static void publish(uint64_t tail)
{
	atomic_store(&header.tail, tail);
}

// Moves the empty ring's position.
static void start_at(uint64_t at)
{
	ring.head = ring.next = at;
	atomic_store(&header.head, at);
	publish(at);
}

static void empty_ring_has_nothing(void **state)
{
	(void)state;
	assert_int_equal(ring_next(&ring, &why), 0);
	assert_false(ring_has_more(&ring));
}

static void records_come_once_and_in_order(void **state)
{
	(void)state;
	put(0, OPCODE_EVENT_DESTROY, REPLY_NONE, 24, 0);
	memset(bytes + 16, 0x11, 8);
	put(32, OPCODE_PING, 3, 24, 99);
	publish(64);
	assert_int_equal(ring_next(&ring, &why), 1);
	assert_int_equal(ring.record.opcode, OPCODE_EVENT_DESTROY);
	assert_int_equal(ring_payload_bytes(&ring), 8);
	assert_int_equal(ring.payload[7], 0x11);
	assert_int_equal(ring_next(&ring, &why), 1); // still the same one
	assert_int_equal(ring.record.opcode, OPCODE_EVENT_DESTROY);
	assert_int_equal(atomic_load(&header.head), 0);
	ring_done(&ring);
	assert_int_equal(atomic_load(&header.head), 32);
	assert_int_equal(ring_next(&ring, &why), 1);
	assert_int_equal(ring.record.opcode, OPCODE_PING);
	assert_int_equal(ring.record.cookie, 99);
	ring_done(&ring);
	assert_int_equal(atomic_load(&header.head), 64);
	assert_int_equal(ring_next(&ring, &why), 0);
}

static void what_was_copied_does_not_change(void **state)
{
	(void)state;
	put(0, OPCODE_PING, 0, 24, 1);
	memset(bytes + 16, 0xaa, 8);
	publish(32);
	assert_int_equal(ring_next(&ring, &why), 1);
	memset(bytes, 0xff, 32);
	publish(UINT64_MAX);
	assert_int_equal(ring_next(&ring, &why), 1);
	assert_int_equal(ring.record.length, 24);
	assert_int_equal(ring.payload[0], 0xaa);
}

static void a_pad_leads_to_the_beginning(void **state)
{
	(void)state;
	start_at(BYTES - 32);
	put(BYTES - 32, OPCODE_PAD, REPLY_NONE, 32, 0);
	put(BYTES, OPCODE_PING, 0, 24, 5);
	publish(BYTES + 32);
	assert_int_equal(ring_next(&ring, &why), 1);
	assert_int_equal(ring.record.opcode, OPCODE_PING);
	assert_int_equal(atomic_load(&header.head), BYTES);
	ring_done(&ring);
	assert_int_equal(atomic_load(&header.head), BYTES + 32);
}

static void a_record_may_end_with_the_ring(void **state)
{
	(void)state;
	start_at(BYTES - 32);
	put(BYTES - 32, OPCODE_PING, 0, 24, 5);
	publish(BYTES);
	assert_int_equal(ring_next(&ring, &why), 1);
	ring_done(&ring);
	assert_int_equal(atomic_load(&header.head), BYTES);
}

static void counters_may_wrap_around(void **state)
{
	(void)state;
	start_at(UINT64_MAX - 31);
	put(BYTES - 32, OPCODE_PING, 0, 24, 5);
	put(0, OPCODE_PING, 0, 24, 6);
	publish(32);
	assert_int_equal(ring_next(&ring, &why), 1);
	ring_done(&ring);
	assert_int_equal(ring_next(&ring, &why), 1);
	assert_int_equal(ring.record.cookie, 6);
	ring_done(&ring);
	assert_int_equal(ring_next(&ring, &why), 0);
}

static void refused(void)
{
	why = NULL;
	assert_int_equal(ring_next(&ring, &why), -EPROTO);
	assert_non_null(why);
	assert_false(ring.current);
}

struct bad {
	uint64_t tail;
	struct record_header h;
};

static void broken_headers_end_the_channel(void **state)
{
	static const struct bad table[] = {
		{ BYTES + 16, { OPCODE_PING, 0, 24, 1 } },	// tail ahead of the ring
		{ UINT64_MAX - 15, { OPCODE_PING, 0, 24, 1 } }, // tail behind head
		{ 24, { OPCODE_PING, 0, 24, 1 } },		// tail not aligned
		{ 32, { OPCODE_PING, 0, 15, 1 } },		// shorter than a header
		{ 32, { OPCODE_PING, 0, 0, 1 } },
		{ 32, { OPCODE_PING, 0, 33, 1 } },	   // longer than what is published
		{ 32, { OPCODE_PING, 0, UINT32_MAX, 1 } }, // rounding it up would wrap
		{ 32, { OPCODE_PING, 0, UINT32_MAX - 14, 1 } },
		{ 32, { OPCODE_COUNT, REPLY_NONE, 24, 0 } }, // no such call
		{ 32, { UINT16_MAX, REPLY_NONE, 24, 0 } },
		{ 32, { OPCODE_PING, 4, 24, 1 } },		     // reply slot out of range
		{ 32, { OPCODE_PING, REPLY_NONE, 24, 1 } },	     // reply needed
		{ 32, { OPCODE_EVENT_DESTROY, 0, 24, 1 } },	     // reply not offered
		{ 32, { OPCODE_EVENT_DESTROY, REPLY_NONE, 24, 1 } }, // cookie without reply
		{ 32, { OPCODE_PAD, REPLY_NONE, 32, 0 } },	     // pad not to the end
		{ BYTES, { OPCODE_PAD, 0, BYTES, 0 } },		     // pad with a reply
		{ BYTES, { OPCODE_PAD, REPLY_NONE, BYTES, 1 } },     // pad with a cookie
		{ BYTES, { OPCODE_PAD, REPLY_NONE, BYTES - 16, 0 } },
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		setup(state);
		memcpy(bytes, &table[i].h, sizeof(table[i].h));
		publish(table[i].tail);
		refused();
	}
}

static void a_record_never_wraps(void **state)
{
	(void)state;
	start_at(BYTES - 16);
	put(BYTES - 16, OPCODE_PING, 0, 24, 5);
	publish(BYTES + 16);
	refused();
}

static void random_memory_never_escapes(void **state)
{
	(void)state;
	srand(1);
	for (unsigned i = 0; i < 20000; i++) {
		setup(state);
		for (unsigned k = 0; k < 256; k++)
			bytes[k] = (uint8_t)(rand() % 7 ? rand() % 48 : rand());
		publish((uint64_t)(rand() % 5000) * 16);
		for (unsigned n = 0; n < 8 && ring_next(&ring, &why) == 1; n++) {
			assert_true(ring.record.length <= VGPU_RECORD_MAX && ring.record.length >= 16);
			assert_true(ring.record.opcode && ring.record.opcode < OPCODE_COUNT);
			ring_done(&ring);
			assert_true(ring.head <= atomic_load(&header.tail));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(empty_ring_has_nothing, setup),
		cmocka_unit_test_setup(records_come_once_and_in_order, setup),
		cmocka_unit_test_setup(what_was_copied_does_not_change, setup),
		cmocka_unit_test_setup(a_pad_leads_to_the_beginning, setup),
		cmocka_unit_test_setup(a_record_may_end_with_the_ring, setup),
		cmocka_unit_test_setup(counters_may_wrap_around, setup),
		cmocka_unit_test_setup(broken_headers_end_the_channel, setup),
		cmocka_unit_test_setup(a_record_never_wraps, setup),
		cmocka_unit_test_setup(random_memory_never_escapes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
