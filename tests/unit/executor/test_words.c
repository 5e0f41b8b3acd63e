// SPDX-License-Identifier: Apache-2.0
// executor/words.c: what is refused of operations on words, and that a wait that does not end keeps nothing
// but its own stream: no turn, no time, no other work.
#include <string.h>

#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define STREAM(i) handle_make(HANDLE_STREAM, 1, i)
#define MS	  1000000ull

static struct fixture *f;
static uint64_t dev; // 64 KiB

static int setup(void **state)
{
	(void)state;
	f = fixture_new(fake_backend());
	if (fixture_activate(f))
		return -1;
	dev = fixture_alloc(f, 65536);
	for (uint32_t i = 0; i < 3; i++) {
		struct record_stream_create r = { .stream = STREAM(i), .flags = CU_STREAM_NON_BLOCKING };

		PUSH(f, OPCODE_STREAM_CREATE, &r);
	}
	return fixture_run(f) || !dev;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static void run(void)
{
	assert_int_equal(fixture_run(f), 0);
}

static uint32_t in_flight(void)
{
	return atomic_load(&f->x.turn->in_flight);
}

static void push_ops(uint64_t stream, const struct word_op *ops, uint32_t n)
{
	struct record_words r = { .stream = stream, .n = n };

	fixture_push(f, OPCODE_WORDS, REPLY_NONE, &r, sizeof(r), ops, n * (uint32_t)sizeof(*ops));
}

static struct word_op op(uint32_t operation, uint64_t address, uint64_t value)
{
	return (struct word_op){ .operation = operation, .address = address, .value = value };
}

static void wait_for(uint64_t stream, uint64_t value)
{
	struct word_op w = op(CU_STREAM_MEM_OP_WAIT_VALUE_32, dev, value);

	push_ops(stream, &w, 1);
}

static void copy(uint64_t stream)
{
	struct record_copy c = {
		.stream = stream, .dst = dev, .src = dev + 64, .width = 8, .height = 1, .depth = 1
	};

	PUSH(f, OPCODE_COPY, &c);
}

static void hostile_operations(void **state)
{
	struct word_op bad[] = {
		op(CU_STREAM_MEM_OP_WRITE_VALUE_32, dev + 2, 1),
		op(CU_STREAM_MEM_OP_WRITE_VALUE_64, dev + 4, 1),
		op(CU_STREAM_MEM_OP_WRITE_VALUE_32, dev, 1ull << 32),
		op(CU_STREAM_MEM_OP_WRITE_VALUE_32, dev + 65536, 1),
		op(CU_STREAM_MEM_OP_WAIT_VALUE_64, UINT64_MAX - 7, 1),
		op(CU_STREAM_MEM_OP_WAIT_VALUE_32, 0, 1),
		op(CU_STREAM_MEM_OP_WAIT_VALUE_32, (uintptr_t)f->x.track.words, 1), // the executor's own
		op(CU_STREAM_MEM_OP_BARRIER, dev, 0),
		op(CU_STREAM_MEM_OP_BARRIER, 0, 1),
		op(0, dev, 1),
		op(7, dev, 1),
		op(UINT32_MAX, dev, 1),
		{ .operation = CU_STREAM_MEM_OP_WAIT_VALUE_32, .address = dev, .flags = 4 },
		{ .operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .address = dev, .flags = 2 },
		{ .operation = CU_STREAM_MEM_OP_BARRIER, .flags = 2 },
		{ .operation = CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES, .flags = 1 },
		{ .operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .address = dev, .space = 2 },
		{ .operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .address = dev, .space = MEMORY_SPACE_HOST },
		{ .operation = CU_STREAM_MEM_OP_WRITE_VALUE_32, .address = dev, .reserved = 1 },
	};
	struct word_op two[2] = { op(CU_STREAM_MEM_OP_WRITE_VALUE_32, dev, 1) };
	struct record_words r = { .stream = STREAM(0), .n = 2 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		two[1] = bad[i];
		push_ops(STREAM(0), two, 2);
		run();
		assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_equal(fake.words, 0); // not even the first of the two
	fixture_push(f, OPCODE_WORDS, REPLY_NONE, &r, sizeof(r), two, sizeof(two[0]));
	run();
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
}

static void a_wait_keeps_only_its_stream(void **state)
{
	(void)state;
	fake.async = true;
	copy(STREAM(0));
	wait_for(STREAM(0), 5);
	copy(STREAM(0));
	copy(STREAM(1));
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(fake.copies, 3); // given to the device, all of them
	assert_int_equal(in_flight(), 0); // but what is behind the wait does not count
	assert_int_equal(atomic_load(&f->x.turn->demand), 0);
	f->now_ns += 50 * MS;
	run();
	assert_in_range(atomic_load(&f->x.turn->busy_ns), 0, MS);
	atomic_store(&fake.word, 5);
	fake_step(UINT32_MAX);
	run(); // the device said that the wait is over; the copy may go on
	assert_int_equal(f->x.track.n_word_waits, 0);
	fake_step(UINT32_MAX);
	run();
	assert_true(track_idle(&f->x.track));
}

// While others have the GPU nothing that stood behind a wait begins, and their turn is not kept from them.
static void a_wait_gives_the_turn_back(void **state)
{
	uint64_t turn = atomic_load(&f->x.turn->turn_id) + 1;

	(void)state;
	fake.async = true;
	fixture_open_gate(f, UINT64_MAX - 1);
	wait_for(STREAM(0), 5);
	copy(STREAM(0));
	run();
	assert_int_equal(fake.copies, 1);
	fixture_close_gate(f); // the mediator's word that the turn is over
	run();
	assert_int_equal(atomic_load(&f->x.turn->released_turn), turn);
	atomic_store(&fake.word, 5);
	fake_step(UINT32_MAX);
	run();
	assert_true(fake.n_queued > 0);			      // the copy still stands behind the turn
	assert_int_equal(atomic_load(&f->x.turn->demand), 1); // and asks for it
	fixture_open_gate(f, VGPU_NO_DEADLINE);
	run();
	fake_step(UINT32_MAX);
	run();
	assert_true(track_idle(&f->x.track));
}

// The record that ends the wait comes later, in another stream, and in a later turn.
static void events_carry_the_wait(void **state)
{
	struct record_event_create create = { .event = handle_make(HANDLE_EVENT, 1, 0) };
	struct record_event_record record = { .stream = STREAM(0), .event = create.event };
	struct record_stream_wait_event wait = { .stream = STREAM(1), .event = create.event };

	(void)state;
	fake.async = true;
	PUSH(f, OPCODE_EVENT_CREATE, &create);
	wait_for(STREAM(0), 5);
	PUSH(f, OPCODE_EVENT_RECORD, &record);
	PUSH(f, OPCODE_STREAM_WAIT_EVENT, &wait);
	copy(STREAM(1));
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(in_flight(), 0);
	atomic_store(&fake.word, 5);
	for (int i = 0; i < 4; i++) {
		fake_step(UINT32_MAX);
		run();
	}
	assert_true(track_idle(&f->x.track));
}

// Waits without end fill what may be in flight, never more.
static void many_waits_have_a_bound(void **state)
{
	(void)state;
	fake.async = true;
	for (int i = 0; i < 400; i++)
		wait_for(STREAM(i % 3), 5);
	run();
	assert_true(f->x.track.records <= TRACK_MAX_RECORDS);
	atomic_store(&fake.word, 5);
	for (int i = 0; i < 1000 && !(track_idle(&f->x.track) && fake.words == 400); i++) {
		fake_step(UINT32_MAX);
		run();
	}
	assert_int_equal(fake.words, 400);
	assert_true(track_idle(&f->x.track));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hostile_operations, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wait_keeps_only_its_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wait_gives_the_turn_back, setup, teardown),
		cmocka_unit_test_setup_teardown(events_carry_the_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(many_waits_have_a_bound, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
