// SPDX-License-Identifier: Apache-2.0
// Streams, events and host functions: what is pushed, what a query costs, what waits.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

CUresult cuMemsetD32Async_ptsz(CUdeviceptr dst, unsigned int value, size_t count, CUstream stream);
CUresult cuStreamGetId_ptsz(CUstream stream, unsigned long long *id);

static CUdeviceptr memory;

static int set_up(void **state)
{
	CUcontext ctx;

	(void)state;
	return cuInit(0) || cuCtxCreate_v2(&ctx, 0, 0) || cuMemAlloc_v2(&memory, 4096);
}

static void work(CUstream s)
{
	assert_int_equal(cuMemsetD32Async(memory, 1, 4, s), 0);
}

static void one_fence_covers_all_before_it(void **state)
{
	CUstream s;

	(void)state;
	fake_reset();
	assert_int_equal(cuStreamCreate(&s, 77), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuStreamCreate(&s, 0), 0);
	assert_int_equal(cuStreamQuery(s), 0);
	assert_int_equal(cuStreamSynchronize(s), 0);
	assert_int_equal(fake.counts[OPCODE_FENCE], 0); // nothing was submitted
	work(s);
	work(s);
	fake.hold_fences = 1;
	assert_int_equal(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
	assert_int_equal(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
	assert_int_equal(fake.counts[OPCODE_FENCE], 1);
	work(s);
	assert_int_equal(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
	assert_int_equal(fake.counts[OPCODE_FENCE], 2);
	fake_release_fences();
	assert_int_equal(cuStreamQuery(s), 0);
	assert_int_equal(cuStreamSynchronize(s), 0);
	assert_int_equal(fake.counts[OPCODE_FENCE], 2);
	assert_int_equal(cuStreamDestroy_v2(s), 0);
	assert_int_equal(cuStreamDestroy_v2(s), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuStreamDestroy_v2(NULL), CUDA_ERROR_INVALID_HANDLE);
}

static void the_legacy_stream_covers_blocking_streams_only(void **state)
{
	CUstream blocking, free_stream;

	(void)state;
	assert_int_equal(cuStreamCreate(&blocking, CU_STREAM_DEFAULT), 0);
	assert_int_equal(cuStreamCreate(&free_stream, CU_STREAM_NON_BLOCKING), 0);
	assert_int_equal(cuCtxSynchronize(), 0);
	fake_reset();
	work(free_stream);
	assert_int_equal(cuStreamSynchronize(NULL), 0);
	assert_int_equal(fake.counts[OPCODE_FENCE], 0);
	work(blocking);
	assert_int_equal(cuStreamSynchronize(CU_STREAM_LEGACY), 0);
	assert_int_equal(fake.counts[OPCODE_FENCE], 1);
	assert_int_equal(cuCtxSynchronize(), 0); // both streams' own fences
	assert_int_equal(fake.counts[OPCODE_FENCE], 3);
	assert_int_equal(cuStreamDestroy_v2(blocking), 0);
	assert_int_equal(cuStreamDestroy_v2(free_stream), 0);
}

static void *thread_with_own_stream(void *arg)
{
	unsigned long long *id = arg;
	CUcontext ctx;

	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 0), 0);
	assert_int_equal(cuStreamGetId(CU_STREAM_PER_THREAD, id), 0);
	return NULL;
}

static void per_thread_forms_use_the_threads_stream(void **state)
{
	unsigned long long own, by_form, legacy, other;
	pthread_t thread;

	(void)state;
	fake_reset();
	assert_int_equal(cuStreamGetId(NULL, &legacy), 0);
	assert_int_equal(cuStreamGetId(CU_STREAM_PER_THREAD, &own), 0);
	assert_int_equal(cuStreamGetId_ptsz(NULL, &by_form), 0);
	assert_int_equal(own, by_form);
	assert_int_not_equal(own, legacy);
	assert_int_equal(cuStreamGetId(NULL, &by_form), 0);
	assert_int_equal(by_form, legacy); // the form's meaning ends with the call
	assert_int_equal(cuStreamGetId_ptsz(CU_STREAM_LEGACY, &by_form), 0);
	assert_int_equal(by_form, legacy);
	assert_int_equal(cuMemsetD32Async_ptsz(memory, 1, 4, NULL), 0);
	assert_int_equal(fake.counts[OPCODE_STREAM_CREATE], 1);
	assert_int_equal(pthread_create(&thread, NULL, thread_with_own_stream, &other), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_not_equal(own, other);
	assert_int_equal(fake.counts[OPCODE_STREAM_DESTROY], 1); // with its thread
}

static void a_destroyed_streams_work_is_waited_for(void **state)
{
	CUstream s;

	(void)state;
	assert_int_equal(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING), 0);
	assert_int_equal(cuCtxSynchronize(), 0);
	fake_reset();
	fake.hold_fences = 1;
	work(s);
	assert_int_equal(cuStreamDestroy_v2(s), 0);
	assert_int_equal(fake.counts[OPCODE_FENCE], 1);
	assert_false(vc_streams_idle());
	assert_int_equal(fake.waits, 0);
	assert_int_equal(cuCtxSynchronize(), 0);
	assert_int_equal(fake.waits, 1);
	assert_true(vc_streams_idle());
	assert_int_equal(cuCtxSynchronize(), 0);
	assert_int_equal(fake.waits, 1);
}

static void events_are_watched_once(void **state)
{
	CUevent e, never, untimed;
	CUstream s, other;
	float ms;

	(void)state;
	fake_reset();
	assert_int_equal(cuStreamCreate(&s, 0), 0);
	assert_int_equal(cuStreamCreate(&other, 0), 0);
	assert_int_equal(cuEventCreate(&e, 0), 0);
	assert_int_equal(cuEventCreate(&never, 0), 0);
	assert_int_equal(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING), 0);
	assert_int_equal(cuEventCreate(&never, 8), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuEventQuery(never), 0);
	assert_int_equal(cuEventSynchronize(never), 0);
	assert_int_equal(cuStreamWaitEvent(s, never, 0), 0);
	assert_int_equal(fake.counts[OPCODE_STREAM_WAIT_EVENT], 0);
	work(s);
	assert_int_equal(cuEventRecord(e, s), 0);
	fake.hold_fences = 1;
	assert_int_equal(cuEventQuery(e), CUDA_ERROR_NOT_READY);
	assert_int_equal(cuEventQuery(e), CUDA_ERROR_NOT_READY);
	assert_int_equal(fake.counts[OPCODE_EVENT_WATCH], 1);
	assert_int_equal(cuStreamSynchronize(other), 0); // what was waited for may have stood behind it
	assert_int_equal(cuEventQuery(e), CUDA_ERROR_NOT_READY);
	assert_int_equal(cuEventQuery(e), CUDA_ERROR_NOT_READY);
	assert_int_equal(fake.counts[OPCODE_EVENT_WATCH], 2);
	fake_release_fences();
	assert_int_equal(cuEventQuery(e), 0);
	assert_int_equal(cuEventSynchronize(e), 0);
	assert_int_equal(fake.counts[OPCODE_EVENT_WATCH], 2);
	// a stream known to be done answers for its events
	assert_int_equal(cuEventRecord(e, s), 0);
	assert_int_equal(cuStreamSynchronize(s), 0);
	assert_int_equal(cuEventQuery(e), 0);
	assert_int_equal(fake.counts[OPCODE_EVENT_WATCH], 2);
	assert_int_equal(cuEventElapsedTime(&ms, e, never), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuEventRecord(untimed, s), 0);
	assert_int_equal(cuEventElapsedTime(&ms, e, untimed), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fake.counts[OPCODE_EVENT_ELAPSED], 0);
	assert_int_equal(cuStreamWaitEvent(NULL, e, 0), 0);
	assert_int_equal(fake.counts[OPCODE_STREAM_WAIT_EVENT], 1);
	assert_int_equal(cuEventDestroy_v2(e), 0);
	assert_int_equal(cuEventQuery(e), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuStreamDestroy_v2(s), 0);
}

// The executor refused the stream, hence the fence as well: a wait ends with the reason, and so does the
// next.
static void a_refused_fence_ends_the_wait(void **state)
{
	CUevent e;
	CUstream s;

	(void)state;
	fake_reset();
	assert_int_equal(cuStreamCreate(&s, 0), 0);
	assert_int_equal(cuEventCreate(&e, 0), 0);
	fake.drop_fences = 1;
	for (int i = 0; i < 2; i++) {
		work(s);
		assert_int_equal(cuEventRecord(e, s), 0);
		fake.deferred_after_wait = CUDA_ERROR_INVALID_HANDLE;
		assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_INVALID_HANDLE);
		fake.deferred_after_wait = CUDA_ERROR_INVALID_HANDLE;
		assert_int_equal(cuEventSynchronize(e), CUDA_ERROR_INVALID_HANDLE);
	}
	fake_reset();
	assert_int_equal(cuStreamSynchronize(s), 0);
	assert_int_equal(cuEventSynchronize(e), 0);
	assert_int_equal(cuEventDestroy_v2(e), 0);
	assert_int_equal(cuStreamDestroy_v2(s), 0);
}

// A place with a fence still on its way is not used again.
static void late_fences_meet_no_new_user(void **state)
{
	uint64_t pending[20];
	CUstream s;

	(void)state;
	fake_reset();
	fake.hold_fences = 1;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(cuStreamCreate(&s, 0), 0);
		pending[i] = (uintptr_t)s;
		if (i % 2) {
			work(s);
			assert_int_equal(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
		}
		assert_int_equal(cuStreamDestroy_v2(s), 0);
	}
	for (int i = 0; i < 400; i++) {
		assert_int_equal(cuStreamCreate(&s, 0), 0);
		for (int j = 1; j < 20; j += 2)
			assert_int_not_equal(handle_index((uintptr_t)s), handle_index(pending[j]));
		assert_int_equal(cuStreamQuery(s), 0);
		assert_int_equal(cuStreamDestroy_v2(s), 0);
	}
	fake_release_fences();
}

static _Atomic int ran;
static int order[8];

static void note(void *user)
{
	CUcontext ctx;

	(void)ctx;
	if (cuStreamQuery(NULL) != CUDA_ERROR_NOT_PERMITTED)
		return;
	order[atomic_fetch_add(&ran, 1)] = (int)(intptr_t)user;
}

static void note_status(CUstream s, CUresult status, void *user)
{
	(void)s;
	if (!status)
		note(user);
}

static void host_functions_run_in_order(void **state)
{
	CUstream s;

	(void)state;
	fake_reset();
	assert_int_equal(cuStreamCreate(&s, 0), 0);
	assert_int_equal(cuLaunchHostFunc(s, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
	fake.hold_fences = 1;
	assert_int_equal(cuLaunchHostFunc(s, note, (void *)1), 0);
	assert_int_equal(cuStreamAddCallback(s, note_status, (void *)2, 0), 0);
	assert_int_equal(cuLaunchHostFunc(s, note, (void *)3), 0);
	assert_int_equal(fake.counts[OPCODE_STREAM_WAIT_VALUE], 3);
	usleep(20000);
	assert_int_equal(atomic_load(&ran), 0); // the work in front is not done
	fake_release_fences();
	for (int i = 0; i < 2000 && atomic_load(&ran) < 3; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&ran), 3);
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 2);
	assert_int_equal(order[2], 3);
	assert_int_equal(cuStreamSynchronize(s), 0);
	assert_int_equal(cuStreamDestroy_v2(s), 0);
}

static void errors_surface_where_they_may(void **state)
{
	CUstream s;

	(void)state;
	fake_reset();
	assert_int_equal(cuStreamCreate(&s, 0), 0);
	fake.deferred = CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
	assert_int_equal(cuStreamSynchronize(s), 0); // once
	work(s);
	fake.hold_fences = 1;
	assert_int_equal(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
	fake.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
	assert_int_equal(cuStreamQuery(s), CUDA_ERROR_ILLEGAL_ADDRESS);
	assert_int_equal(cuStreamSynchronize(s), CUDA_ERROR_ILLEGAL_ADDRESS);
	assert_int_equal(cuStreamDestroy_v2(s), CUDA_ERROR_ILLEGAL_ADDRESS);
	fake_reset();
	fake.lost = CUDA_ERROR_LAUNCH_TIMEOUT;
	assert_int_equal(cuMemsetD32Async(memory, 1, 4, s), CUDA_ERROR_LAUNCH_TIMEOUT);
	fake_reset();
	assert_int_equal(cuStreamDestroy_v2(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_fence_covers_all_before_it),
		cmocka_unit_test(the_legacy_stream_covers_blocking_streams_only),
		cmocka_unit_test(per_thread_forms_use_the_threads_stream),
		cmocka_unit_test(a_destroyed_streams_work_is_waited_for),
		cmocka_unit_test(events_are_watched_once),
		cmocka_unit_test(a_refused_fence_ends_the_wait),
		cmocka_unit_test(late_fences_meet_no_new_user),
		cmocka_unit_test(host_functions_run_in_order),
		cmocka_unit_test(errors_surface_where_they_may),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
