// SPDX-License-Identifier: Apache-2.0
// The loop over a backend stepped by hand: what is in flight, what waits for what, when the guest hears of
// it, and what the turn page shows meanwhile.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define MS	  1000000ull
#define STREAM(i) handle_make(HANDLE_STREAM, 1, i)
#define EVENT(i)  handle_make(HANDLE_EVENT, 1, i)
#define FUNCTION  handle_make(HANDLE_FUNCTION, 1, 0)
#define MODULE	  handle_make(HANDLE_MODULE, 1, 0)

static struct fixture *f;

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
	for (uint32_t i = 1; i <= 2; i++) {
		struct record_stream_create s = { .stream = STREAM(i), .flags = CU_STREAM_NON_BLOCKING };
		struct record_event_create e = { .event = EVENT(i) };

		PUSH(f, OPCODE_STREAM_CREATE, &s);
		PUSH(f, OPCODE_EVENT_CREATE, &e);
	}
	run();
	fake.async = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	atomic_store(&f->x.header->deferred_error, 0);
	fixture_free(f);
	return 0;
}

static void launch(uint64_t stream)
{
	struct record_launch l = { .stream = stream,
				   .function = FUNCTION,
				   .grid_x = 1,
				   .grid_y = 1,
				   .grid_z = 1,
				   .block_x = 1,
				   .block_y = 1,
				   .block_z = 1 };

	PUSH(f, OPCODE_LAUNCH, &l);
}

static void fence(uint64_t stream, uint32_t slot, uint64_t value)
{
	struct record_fence r = { .stream = stream, .slot = slot, .value = value };

	PUSH(f, OPCODE_FENCE, &r);
}

static void wait_value(uint64_t stream, uint32_t slot, uint64_t value)
{
	struct record_stream_wait_value r = { .stream = stream, .slot = slot, .value = value };

	PUSH(f, OPCODE_STREAM_WAIT_VALUE, &r);
}

static void record(uint64_t event, uint64_t stream)
{
	struct record_event_record r = { .stream = stream, .event = event };

	PUSH(f, OPCODE_EVENT_RECORD, &r);
}

static void wait_event(uint64_t stream, uint64_t event)
{
	struct record_stream_wait_event r = { .stream = stream, .event = event };

	PUSH(f, OPCODE_STREAM_WAIT_EVENT, &r);
}

static void watch(uint64_t event, uint32_t slot, uint64_t value)
{
	struct record_event_watch r = { .event = event, .slot = slot, .value = value };

	PUSH(f, OPCODE_EVENT_WATCH, &r);
}

static uint64_t slot(uint32_t i)
{
	return atomic_load(&f->x.fences[i]);
}

static uint32_t in_flight(void)
{
	return atomic_load(&f->x.turn->in_flight);
}

static void work_is_in_flight_until_the_device_says_done(void **state)
{
	(void)state;
	launch(STREAM(1));
	launch(STREAM(1));
	fence(STREAM(1), 5, 77);
	run();
	assert_int_equal(in_flight(), 3);
	assert_int_equal(atomic_load(&f->x.turn->launches), 2);
	assert_int_equal(atomic_load(&f->x.turn->demand), 1);
	assert_int_equal(slot(5), 0);
	f->now_ns += 5 * MS;
	fake_step(3);
	run();
	assert_int_equal(slot(5), 77);
	assert_int_equal(in_flight(), 3); // the batch's own mark is not there yet
	fake_step(1);
	run();
	assert_int_equal(in_flight(), 0);
	assert_int_equal(atomic_load(&f->x.turn->progress), 3);
	assert_int_equal(atomic_load(&f->x.turn->demand), 0);
	assert_in_range(atomic_load(&f->x.turn->busy_ns), 5 * MS, 6 * MS);
	f->now_ns += 50 * MS;
	run();
	assert_in_range(atomic_load(&f->x.turn->busy_ns), 5 * MS, 6 * MS); // idle is not busy
}

// What setup() did was used, and is taken out as the mediator takes it.
static void features_are_shown_until_they_are_taken(void **state)
{
	const uint64_t streams = UINT64_C(1) << FEATURE_STREAMS, events = UINT64_C(1) << FEATURE_EVENTS;
	struct record_event_create again = { .event = EVENT(1) };
	struct record_stream_create more = { .stream = STREAM(3) };
	_Atomic uint64_t *shown = &f->x.turn->features;

	(void)state;
	assert_int_equal(atomic_exchange(shown, 0) & (streams | events), streams | events);
	launch(STREAM(1));
	record(EVENT(1), STREAM(1));
	PUSH(f, OPCODE_EVENT_CREATE, &again); // is refused: it is there
	run();
	assert_int_equal(atomic_load(shown), 0);
	PUSH(f, OPCODE_STREAM_CREATE, &more);
	run();
	assert_int_equal(atomic_load(shown), streams);
	fake_step(8);
	run();
}

static void durations_are_learnt(void **state)
{
	uint64_t key = predict_kernel_key(f->x.last_function, 1);

	(void)state;
	assert_int_equal(predict_ns(&f->x.predict, key, 1), 1);
	launch(STREAM(1));
	run();
	f->now_ns += 3 * MS;
	fake_step(100);
	run();
	assert_in_range(predict_ns(&f->x.predict, key, 1), 29 * MS / 10, 32 * MS / 10);
}

static void a_closed_gate_keeps_gpu_work_and_all_behind_it(void **state)
{
	struct record_ping p = { .value = 5 };
	uint64_t kicks;

	(void)state;
	fixture_close_gate(f);
	run();
	assert_int_equal(atomic_load(&f->x.turn->released_turn), 1);
	assert_int_equal(read(f->fds[ASSIGN_KICK], &kicks, sizeof(kicks)), sizeof(kicks));
	assert_int_equal(fixture_call(f, OPCODE_PING, &p, sizeof(p), NULL, 0, NULL, 0), CUDA_SUCCESS);
	launch(STREAM(1));
	assert_int_equal(fixture_call(f, OPCODE_PING, &p, sizeof(p), NULL, 0, NULL, 0), -1000);
	assert_int_equal(fake.launches, 0);
	assert_int_equal(atomic_load(&f->x.turn->demand), 1);
	assert_int_equal(read(f->fds[ASSIGN_KICK], &kicks, sizeof(kicks)), sizeof(kicks));
	fixture_open_gate(f, VGPU_NO_DEADLINE);
	run();
	assert_int_equal(fake.launches, 1);
	assert_int_equal(
	    atomic_load(&((struct reply_slot *)(f->x.channel + f->assign.geometry.reply_offset))->cookie),
	    f->cookie);
}

static void a_turn_is_given_back_when_its_work_is_done(void **state)
{
	(void)state;
	launch(STREAM(1));
	run();
	fixture_close_gate(f);
	launch(STREAM(1));
	run();
	assert_int_equal(fake.launches, 1);
	assert_int_equal(atomic_load(&f->x.turn->released_turn), 0);
	fake_step(100);
	run();
	assert_int_equal(atomic_load(&f->x.turn->released_turn), 1);
	assert_int_equal(atomic_load(&f->x.turn->demand), 1);
}

static void the_budget_holds_under_a_deadline(void **state)
{
	(void)state;
	atomic_store(&f->x.turn->inflight_budget_ns, 350000); // unknown kernels count 100 us
	fixture_close_gate(f);
	run();
	fixture_open_gate(f, UINT64_MAX - 1);
	for (unsigned i = 0; i < 10; i++)
		launch(STREAM(1));
	run();
	assert_int_equal(fake.launches, 4);
	f->now_ns += MS;
	fake_step(100);
	run();
	assert_true(fake.launches > 4);
}

static void what_is_in_flight_is_bounded_without_a_deadline(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 700; i++)
		launch(STREAM(1 + i % 2));
	run();
	assert_int_equal(fake.launches, TRACK_MAX_RECORDS);
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(fake.launches, 700);
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(in_flight(), 0);
}

static void freeing_waits_for_work(void **state)
{
	struct record_mem_free r;

	(void)state;
	r.address = fixture_alloc(f, 100);
	launch(STREAM(1));
	PUSH(f, OPCODE_MEM_FREE, &r);
	launch(STREAM(2));
	run();
	assert_int_not_equal(fake.mapped, 0);
	assert_int_equal(fake.launches, 1); // order is kept
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(fake.mapped, 0);
	assert_int_equal(fake.launches, 2);
	assert_int_equal(fixture_deferred(f), 0);
}

static void resetting_waits_for_work(void **state)
{
	(void)state;
	launch(STREAM(1));
	fixture_push(f, OPCODE_CONTEXT_RESET, 0, NULL, 0, NULL, 0);
	run();
	assert_true(f->x.active);
	fake_step(UINT32_MAX);
	run();
	assert_false(f->x.active);
}

// ---- waiting for the guest ----

static void behind_a_host_wait_nothing_is_in_flight(void **state)
{
	(void)state;
	launch(STREAM(1));
	wait_value(STREAM(1), 9, 3);
	launch(STREAM(1));
	fence(STREAM(1), 5, 1);
	run();
	assert_int_equal(in_flight(), 1); // the launch before the wait
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(in_flight(), 0);
	assert_int_equal(atomic_load(&f->x.turn->demand), 0);
	assert_int_equal(slot(5), 0);
	atomic_store(&f->x.fences[9], 2);
	run();
	fake_step(UINT32_MAX);
	assert_int_equal(slot(5), 0);
	atomic_store(&f->x.fences[9], 4); // at least the value
	run();
	assert_int_equal(in_flight(), 3);
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(slot(5), 1);
	assert_int_equal(in_flight(), 0);
	assert_int_equal(f->x.track.n_waits, 0);
	assert_int_equal(f->x.track.records, 0);
}

static void a_host_wait_passes_only_in_a_turn(void **state)
{
	(void)state;
	wait_value(STREAM(1), 9, 1);
	launch(STREAM(1));
	fence(STREAM(1), 5, 1);
	run();
	fixture_close_gate(f);
	run();
	assert_int_equal(atomic_load(&f->x.turn->released_turn), 1); // blocked work holds no turn
	atomic_store(&f->x.fences[9], 1);
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(slot(5), 0);
	assert_int_equal(atomic_load(&f->x.turn->demand), 1); // it wants one now
	fixture_open_gate(f, VGPU_NO_DEADLINE);
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(slot(5), 1);
}

static void events_carry_host_waits_along(void **state)
{
	(void)state;
	wait_value(STREAM(1), 9, 1);
	record(EVENT(1), STREAM(1));
	launch(STREAM(2));
	wait_event(STREAM(2), EVENT(1));
	launch(STREAM(2));
	run();
	assert_int_equal(in_flight(), 1);
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(in_flight(), 0);
	assert_true(f->x.track.records > 0);
	atomic_store(&f->x.fences[9], 1);
	run();
	assert_true(in_flight() >= 4);
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(f->x.track.records, 0);
}

static void the_legacy_stream_stands_behind_blocking_ones(void **state)
{
	struct record_stream_create s = { .stream = STREAM(3) };

	(void)state;
	PUSH(f, OPCODE_STREAM_CREATE, &s);
	wait_value(STREAM(3), 9, 1);
	launch(STREAM_LEGACY);
	launch(STREAM(1)); // non-blocking: does not care
	run();
	assert_int_equal(in_flight(), 1);
	atomic_store(&f->x.fences[9], 1);
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(f->x.track.records, 0);
}

static void a_destroyed_stream_finishes_its_work(void **state)
{
	struct record_stream_destroy d = { .stream = STREAM(1) };

	(void)state;
	wait_value(STREAM(1), 9, 1);
	launch(STREAM(1));
	fence(STREAM(1), 5, 1);
	PUSH(f, OPCODE_STREAM_DESTROY, &d);
	run();
	atomic_store(&f->x.fences[9], 1);
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(slot(5), 1);
	assert_int_equal(f->x.track.records, 0);
}

// ---- watches ----

static void a_watch_stores_when_the_event_is_complete(void **state)
{
	struct record_event_destroy d = { .event = EVENT(1) };

	(void)state;
	watch(EVENT(2), 1, 5); // never recorded: at once
	launch(STREAM(1));
	record(EVENT(1), STREAM(1));
	watch(EVENT(1), 2, 6);
	PUSH(f, OPCODE_EVENT_DESTROY, &d);
	run();
	assert_int_equal(slot(1), 5);
	assert_int_equal(slot(2), 0);
	fake_step(2); // the launch and the record, not the batch's mark
	run();
	assert_int_equal(slot(2), 6);
	assert_int_equal(f->x.n_watches, 0);
}

static void a_watch_holds_for_the_record_it_saw(void **state)
{
	(void)state;
	record(EVENT(1), STREAM(1));
	watch(EVENT(1), 2, 6);
	run();
	wait_value(STREAM(2), 9, 1); // never comes
	record(EVENT(1), STREAM(2));
	run();
	fake_step(UINT32_MAX);
	run();
	assert_int_equal(slot(2), 6);
}

static void many_watches_all_come(void **state)
{
	(void)state;
	launch(STREAM(1));
	record(EVENT(1), STREAM(1));
	for (uint32_t i = 0; i < 500; i++)
		watch(EVENT(1), i, i + 1);
	run();
	fake_step(2);
	run();
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(slot(i), i + 1);
}

// ---- waking ----

static void sleepers_are_woken_for_what_the_device_stores(void **state)
{
	uint32_t seen = atomic_load(&f->x.header->wake_word);

	(void)state;
	launch(STREAM(1));
	fence(STREAM(1), 5, 77);
	launch(STREAM(1));
	run();
	assert_int_equal(atomic_load(&f->x.header->wake_word), seen); // nobody sleeps
	atomic_store(&f->x.header->guest_waiters, 1);
	run();
	assert_int_equal(atomic_load(&f->x.header->wake_word), seen); // nothing came
	fake_step(2); // the fence is there, the batch's mark is not
	run();
	assert_int_equal(atomic_load(&f->x.header->wake_word), seen + 1);
	atomic_store(&f->x.header->guest_waiters, 0);
}

// ---- errors ----

static void a_fault_is_sticky(void **state)
{
	struct record_mem_alloc a = { .size = 100 };
	struct record_ping p = { 0 };
	struct record_device_info d;
	uint32_t seen = atomic_load(&f->x.header->wake_word);

	(void)state;
	atomic_store(&f->x.header->guest_waiters, 1);
	launch(STREAM(1));
	fence(STREAM(1), 5, 1);
	record(EVENT(1), STREAM(1));
	watch(EVENT(1), 6, 1);
	run();
	fake.error = CUDA_ERROR_ILLEGAL_ADDRESS;
	run();
	assert_int_equal(atomic_load(&f->x.header->sticky_error), CUDA_ERROR_ILLEGAL_ADDRESS);
	assert_int_not_equal(atomic_load(&f->x.header->wake_word), seen);
	assert_int_equal(in_flight(), 0);
	assert_int_equal(f->x.n_watches, 0);
	assert_int_equal(atomic_load(&f->x.turn->faults), 1);
	launch(STREAM(1));
	launch(STREAM(99));
	assert_int_equal(fixture_call(f, OPCODE_MEM_ALLOC, &a, sizeof(a), NULL, 0, NULL, 0),
			 CUDA_ERROR_ILLEGAL_ADDRESS);
	assert_int_equal(fake.launches, 1); // dropped
	assert_int_equal(fixture_deferred(f), 0);
	assert_int_equal(fixture_call(f, OPCODE_PING, &p, sizeof(p), NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(fixture_call(f, OPCODE_DEVICE_INFO, &d, 0, NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(fixture_call(f, OPCODE_CONTEXT_RESET, NULL, 0, NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(fixture_activate(f), CUDA_ERROR_ILLEGAL_ADDRESS);
	atomic_store(&f->x.header->guest_waiters, 0);
}

static void a_fault_at_a_closed_gate_frees_the_ring(void **state)
{
	struct record_ping p = { 0 };

	(void)state;
	fixture_close_gate(f);
	run();
	launch(STREAM(1));
	run();
	fake.error = CUDA_ERROR_ILLEGAL_ADDRESS;
	assert_int_equal(fixture_call(f, OPCODE_PING, &p, sizeof(p), NULL, 0, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&f->x.turn->demand), 0);
}

static void a_bad_record_ends_the_loop(void **state)
{
	struct record_fence r = { .slot = VGPU_FENCE_SLOTS };

	(void)state;
	PUSH(f, OPCODE_FENCE, &r);
	assert_int_equal(fixture_run(f), -EPROTO);
	assert_string_equal(f->why, "fence: slot");
}

static void slots_are_bounded_by_the_geometry_too(void **state)
{
	(void)state;
	fence(STREAM(1), f->assign.geometry.fence_slots, 1);
	run();
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
	wait_value(STREAM(1), f->assign.geometry.fence_slots, 1);
	run();
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
	watch(EVENT(1), f->assign.geometry.fence_slots, 1);
	run();
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
}

static void refused_fences_keep_nobody_waiting(void **state)
{
	(void)state;
	fence(STREAM(77), 5, 3); // no such stream
	watch(EVENT(77), 6, 4);
	run();
	assert_int_equal(slot(5), 3);
	assert_int_equal(slot(6), 4);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_HANDLE);
	fence(STREAM(77), 5, 2); // never backwards
	record(EVENT(1), STREAM(1));
	run();
	fake_step(UINT32_MAX);
	watch(EVENT(1), 6, 1);
	run();
	assert_int_equal(slot(5), 3);
	assert_int_equal(slot(6), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(refused_fences_keep_nobody_waiting),
		TEST(work_is_in_flight_until_the_device_says_done),
		TEST(features_are_shown_until_they_are_taken),
		TEST(durations_are_learnt),
		TEST(a_closed_gate_keeps_gpu_work_and_all_behind_it),
		TEST(a_turn_is_given_back_when_its_work_is_done),
		TEST(the_budget_holds_under_a_deadline),
		TEST(what_is_in_flight_is_bounded_without_a_deadline),
		TEST(freeing_waits_for_work),
		TEST(resetting_waits_for_work),
		TEST(behind_a_host_wait_nothing_is_in_flight),
		TEST(a_host_wait_passes_only_in_a_turn),
		TEST(events_carry_host_waits_along),
		TEST(the_legacy_stream_stands_behind_blocking_ones),
		TEST(a_destroyed_stream_finishes_its_work),
		TEST(a_watch_stores_when_the_event_is_complete),
		TEST(a_watch_holds_for_the_record_it_saw),
		TEST(many_watches_all_come),
		TEST(sleepers_are_woken_for_what_the_device_stores),
		TEST(a_fault_is_sticky),
		TEST(a_fault_at_a_closed_gate_frees_the_ring),
		TEST(a_bad_record_ends_the_loop),
		TEST(slots_are_bounded_by_the_geometry_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
