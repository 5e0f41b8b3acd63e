// SPDX-License-Identifier: Apache-2.0
// What waits for what on a backend: events, words, streams. Cases of test_backend.c.
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "tests/unit/backends/cases.h"
#include "tests/unit/backends/harness.h"
#include "tests/unit/backends/kernels.h"

void events_are_timed(void **state)
{
	struct backend_event *start, *end, *untimed, *never;
	struct backend_stream *s;
	float ms = -1;

	(void)state;
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &s), 0);
	assert_int_equal(ops->event_create(backend, 0, &start), 0);
	assert_int_equal(ops->event_create(backend, CU_EVENT_BLOCKING_SYNC, &end), 0);
	assert_int_equal(ops->event_create(backend, CU_EVENT_DISABLE_TIMING, &untimed), 0);
	assert_int_equal(ops->event_create(backend, 0, &never), 0);
	assert_int_equal(ops->event_query(backend, never), 0);
	assert_int_equal(ops->event_record(backend, start, s, 0), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(harness_copy(device, true, at(host), false, VGPU_MIB(16), s), 0);
	assert_int_equal(ops->event_record(backend, end, s, 0), 0);
	assert_int_equal(ops->event_record(backend, untimed, s, 0), 0);
	assert_int_equal(harness_event(end), 0);
	assert_int_equal(ops->event_elapsed(backend, start, end, &ms), 0);
	assert_true(ms > 0.05f && ms < 20000);
	assert_int_equal(harness_event(untimed), 0);
	assert_int_equal(ops->event_elapsed(backend, start, untimed, &ms), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(ops->event_elapsed(backend, start, never, &ms), CUDA_ERROR_INVALID_HANDLE);
	ops->event_destroy(backend, start);
	ops->event_destroy(backend, end);
	ops->event_destroy(backend, untimed);
	ops->event_destroy(backend, never);
	ops->stream_destroy(backend, s);
}

// One stream stands at a word, the other at an event of the first: nothing moves until the word is written.
void streams_wait_for_words_and_events(void **state)
{
	_Atomic uint64_t *gate = (void *)(host + VGPU_MIB(32)), *done = gate + 1;
	struct timespec shortly = { .tv_nsec = 50000000 };
	struct backend_stream *a, *b;
	struct backend_event *e;
	float ms;

	(void)state;
	atomic_store(gate, 4);
	atomic_store(done, 0);
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &a), 0);
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &b), 0);
	assert_int_equal(ops->event_create(backend, 0, &e), 0);
	memset(host, 0x61, 4096);
	memset(host + 4096, 0, 4096);
	assert_int_equal(ops->stream_wait(backend, a, gate, 5), 0);
	assert_int_equal(harness_copy(device, true, at(host), false, 4096, a), 0);
	assert_int_equal(ops->event_record(backend, e, a, 0), 0);
	assert_int_equal(ops->stream_wait_event(backend, b, e, 0), 0);
	assert_int_equal(harness_copy(at(host) + 4096, false, device, true, 4096, b), 0);
	assert_int_equal(ops->stream_write(backend, b, done, 9), 0);
	nanosleep(&shortly, NULL);
	assert_int_equal(ops->event_query(backend, e), CUDA_ERROR_NOT_READY);
	assert_int_equal(ops->event_elapsed(backend, e, e, &ms), CUDA_ERROR_NOT_READY);
	assert_int_equal(atomic_load(done), 0);
	atomic_store(gate, 6);
	assert_true(harness_reaches(done, 9));
	assert_memory_equal(host + 4096, host, 4096);
	assert_int_equal(ops->event_query(backend, e), 0);
	ops->event_destroy(backend, e);
	ops->stream_destroy(backend, a);
	ops->stream_destroy(backend, b);
}

// Handles that go while their work is still to come.
static struct word_op word_op(uint32_t operation, uint64_t address, uint64_t value)
{
	return (struct word_op){ .operation = operation, .address = address, .value = value };
}

// What stands behind a wait is let go by a stream that got its work later; who else waits for an event behind
// the wait stops too, and nobody else.
void other_streams_pass_a_wait(void **state)
{
	_Atomic uint64_t *done = (void *)(host + VGPU_MIB(32));
	struct word_op ops_a[2] = { word_op(CU_STREAM_MEM_OP_WAIT_VALUE_32, device, 3),
				    word_op(CU_STREAM_MEM_OP_WRITE_VALUE_64, device + 8, 11) };
	struct word_op let_go = word_op(CU_STREAM_MEM_OP_WRITE_VALUE_32, device, 3);
	struct backend_stream *a, *b, *c;
	struct backend_event *e;

	(void)state;
	if (!device_info.attributes[CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS])
		skip();
	for (int i = 0; i < 3; i++)
		atomic_store(&done[i], 0);
	memset(host, 0, 16);
	assert_int_equal(harness_copy(device, true, at(host), false, 16, NULL), 0);
	harness_sync();
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &a), 0);
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &b), 0);
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &c), 0);
	assert_int_equal(ops->event_create(backend, 0, &e), 0);
	assert_int_equal(ops->words(backend, ops_a, 2, a), 0);
	assert_int_equal(ops->event_record(backend, e, a, 0), 0);
	assert_int_equal(ops->stream_write(backend, a, &done[0], 1), 0);
	assert_int_equal(ops->stream_wait_event(backend, c, e, 0), 0);
	ops->event_destroy(backend, e);
	assert_int_equal(harness_copy(at(host), false, device, true, 16, c), 0);
	assert_int_equal(ops->stream_write(backend, c, &done[2], 1), 0);
	ops->stream_destroy(backend, c);
	assert_int_equal(ops->stream_write(backend, b, &done[1], 1), 0);
	assert_true(harness_reaches(&done[1], 1));
	assert_int_equal(atomic_load(&done[0]) + atomic_load(&done[2]), 0);
	assert_int_equal(ops->words(backend, &let_go, 1, b), 0);
	assert_true(harness_reaches(&done[2], 1));
	assert_int_equal(atomic_load(&done[0]), 1);
	assert_int_equal(((uint64_t *)(void *)host)[1], 11);
	ops->stream_destroy(backend, a);
	ops->stream_destroy(backend, b);
}

void destroyed_objects_finish_their_work(void **state)
{
	_Atomic uint64_t *gate = (void *)(host + VGPU_MIB(32)), *done = gate + 1;
	struct backend_stream *s;
	struct backend_event *e;

	(void)state;
	atomic_store(gate, 0);
	atomic_store(done, 0);
	assert_int_equal(ops->stream_create(backend, 0, 0, &s), 0);
	assert_int_equal(ops->event_create(backend, 0, &e), 0);
	assert_int_equal(ops->stream_wait(backend, s, gate, 1), 0);
	assert_int_equal(ops->event_record(backend, e, s, 0), 0);
	assert_int_equal(ops->stream_write(backend, s, done, 1), 0);
	ops->event_destroy(backend, e);
	ops->stream_destroy(backend, s);
	assert_int_equal(atomic_load(done), 0);
	atomic_store(gate, 1);
	assert_true(harness_reaches(done, 1));
	harness_sync();
}

void many_small_things_keep_their_order(void **state)
{
	struct backend_module *m = harness_module(ptx_variables);
	struct backend_function *f = harness_function(m, "bump");
	_Atomic uint64_t *done = (void *)(host + VGPU_MIB(32));
	uint64_t address, size;

	(void)state;
	atomic_store(done, 0);
	assert_int_equal(ops->global_get(backend, m, "counter", &address, &size), 0);
	for (unsigned i = 1; i <= 2000; i++) {
		assert_int_equal(harness_launch(f, 1, 1, NULL, 0, NULL), 0);
		assert_int_equal(ops->stream_write(backend, NULL, done, i), 0);
	}
	assert_int_equal(harness_copy(at(host), false, address, true, 4, NULL), 0);
	assert_true(harness_reaches(done, 2000));
	harness_sync();
	assert_int_equal(*(uint32_t *)host, 2041);
	ops->module_unload(backend, m);
}
