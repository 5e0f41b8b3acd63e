// SPDX-License-Identifier: Apache-2.0
//
// What order streams promise: inside one stream, through events between two, and how the legacy default
// stream meets blocking and non-blocking ones. A gate that the host opens keeps work in flight.
#include <pthread.h>

#include "tests/e2e/check.h"

static CUfunction step;
static struct gate gate;
static CUdeviceptr word;

static void do_step(CUstream stream, uint32_t what)
{
	LAUNCH(step, 1, 32, stream, &word, &what);
}

static uint32_t value(void)
{
	uint32_t v = 0;
	MUST(cuCtxSynchronize());
	MUST(cuMemcpyDtoH_v2(&v, word, 4));
	MUST(cuMemsetD32_v2(word, 0, 1));
	MUST(cuCtxSynchronize());
	return v;
}

static void one_stream(CUstream s)
{
	uint32_t want = 0, at = 0, back = 0;
	for (uint32_t i = 0; i < 500; i++) {
		do_step(s, i);
		want = want * 3 + i;
	}
	EQUAL(want, value());
	// Kernel, fill, copy, kernel: all in order without any wait between.
	do_step(s, 5);
	MUST(cuMemsetD32Async(word, 7, 1, s));
	do_step(s, 1);
	MUST(cuMemcpyHtoDAsync_v2(word, &at, 4, s));
	do_step(s, 9);
	do_step(s, 1);
	MUST(cuMemcpyDtoHAsync_v2(&back, word, 4, s));
	MUST(cuStreamSynchronize(s));
	EQUAL(28, back);
	value();
}

static void queries(CUstream s)
{
	OK(cuStreamQuery(s));
	gate_close(&gate, s);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(s));
	gate_open(&gate);
	OK(cuStreamSynchronize(s));
	OK(cuStreamQuery(s));
}

// s2 waits for an event of s1 that comes behind the gate.
static void wait_event(CUstream s1, CUstream s2)
{
	CUevent event;
	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	gate_close(&gate, s1);
	do_step(s1, 2);
	OK(cuEventRecord(event, s1));
	OK(cuStreamWaitEvent(s2, event, 0));
	do_step(s2, 5);
	sleep_ms(20);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(s2));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	gate_open(&gate);
	OK(cuStreamSynchronize(s2));
	EQUAL(11, value());
	// An event that was never recorded holds nobody up.
	CUevent fresh;
	MUST(cuEventCreate(&fresh, CU_EVENT_DISABLE_TIMING));
	OK(cuStreamWaitEvent(s2, fresh, 0));
	OK(cuStreamSynchronize(s2));
	// The wait is for the record at the time of the call, not for a later one.
	OK(cuEventRecord(event, s1));
	OK(cuStreamWaitEvent(s2, event, 0));
	gate_close(&gate, s1);
	OK(cuEventRecord(event, s1));
	if (check_backend() <= BACKEND_CUDA) // the cpu backend runs one kernel at a time
		OK(cuStreamSynchronize(s2));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	gate_open(&gate);
	OK(cuStreamSynchronize(s2));
	OK(cuEventSynchronize(event));
	MUST(cuEventDestroy_v2(event));
	MUST(cuEventDestroy_v2(fresh));
}

// The legacy stream waits for blocking streams and they for it; non-blocking ones do neither.
static void legacy(void)
{
	CUstream blocking, free_one;
	MUST(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
	MUST(cuStreamCreate(&free_one, CU_STREAM_NON_BLOCKING));
	gate_close(&gate, blocking);
	do_step(blocking, 1);
	do_step(NULL, 2);
	sleep_ms(20);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(NULL));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(CU_STREAM_LEGACY));
	OK(cuStreamQuery(free_one));
	OK(cuStreamSynchronize(free_one));
	gate_open(&gate);
	OK(cuStreamSynchronize(NULL));
	EQUAL(5, value());

	gate_close(&gate, NULL);
	do_step(NULL, 1);
	do_step(blocking, 2);
	sleep_ms(20);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(blocking));
	gate_open(&gate);
	OK(cuStreamSynchronize(blocking));
	EQUAL(5, value());

	// That two kernels run at the same time is no promise of CUDA; a GPU does it.
	if (check_backend() <= BACKEND_CUDA) {
		gate_close(&gate, free_one);
		do_step(NULL, 4);
		OK(cuStreamSynchronize(NULL));
		EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(free_one));
		gate_open(&gate);
		OK(cuStreamSynchronize(free_one));
		EQUAL(4, value());
	}
	MUST(cuStreamDestroy_v2(blocking));
	MUST(cuStreamDestroy_v2(free_one));
}

static void *opens_soon(void *arg)
{
	(void)arg;
	sleep_ms(50);
	gate_open(&gate);
	return NULL;
}

// Destroying a stream at work is allowed: the work is done all the same, and waiting for the context waits
// for it.
static void destroy_at_work(void)
{
	pthread_t thread;
	CUstream s;
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	gate_close(&gate, s);
	do_step(s, 6);
	OK(cuStreamDestroy_v2(s));
	EQUAL(0, pthread_create(&thread, NULL, opens_soon, NULL));
	OK(cuCtxSynchronize());
	EQUAL(6, value());
	pthread_join(thread, NULL);
}

int main(void)
{
	CUstream s1, s2;
	CUmodule module;
	check_context();
	if (!check_computes())
		check_skip("this backend computes nothing");
	module = check_module("basic.ptx");
	step = check_function(module, "step");
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32_v2(word, 0, 1));
	MUST(cuStreamCreate(&s1, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&s2, CU_STREAM_NON_BLOCKING));
	MUST(cuCtxSynchronize());
	one_stream(s1);
	one_stream(NULL);
	gate_init(&gate, module);
	queries(s1);
	wait_event(s1, s2);
	legacy();
	destroy_at_work();
	gate_done(&gate);
	return check_done();
}
