// SPDX-License-Identifier: Apache-2.0
//
// Eight threads with a stream each, 2000 launches a thread, results exact; then the same with allocations,
// events and copies between.
#include "tests/e2e/check.h"

#include <pthread.h>

enum { THREADS = 8, LAUNCHES = 2000 };
static CUcontext context;
static CUfunction step;

static void *launches(void *argument)
{
	uint32_t seed = (uint32_t)(uintptr_t)argument, want = seed, got = 0;
	CUstream stream;
	CUdeviceptr word;
	MUST(cuCtxSetCurrent(context));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32Async(word, seed, 1, stream));
	for (uint32_t i = 0; i < LAUNCHES; i++) {
		uint32_t what = i ^ seed;
		LAUNCH(step, 1, 32, stream, &word, &what);
		want = want * 3 + what;
		if (i % 500 == 499)
			MUST(cuStreamSynchronize(stream));
	}
	MUST(cuMemcpyDtoHAsync_v2(&got, word, 4, stream));
	MUST(cuStreamSynchronize(stream));
	if (check_computes())
		EQUAL(want, got);
	MUST(cuMemFree_v2(word));
	MUST(cuStreamDestroy_v2(stream));
	return NULL;
}

static void *mixed(void *argument)
{
	uint32_t seed = (uint32_t)(uintptr_t)argument, wrong = 0;
	MUST(cuCtxSetCurrent(context));
	for (uint32_t i = 0; i < 100; i++) {
		CUdeviceptr word;
		CUstream stream;
		CUevent event;
		uint32_t what = i, got = 0;
		MUST(cuStreamCreate(&stream, i % 2));
		MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
		MUST(cuMemAlloc_v2(&word, 1000 + i));
		MUST(cuMemsetD32Async(word, seed, 1, stream));
		LAUNCH(step, 1, 1, stream, &word, &what);
		MUST(cuEventRecord(event, stream));
		MUST(cuEventSynchronize(event));
		MUST(cuMemcpyDtoH_v2(&got, word, 4));
		wrong += got != seed * 3 + i;
		MUST(cuMemFree_v2(word));
		MUST(cuEventDestroy_v2(event));
		MUST(cuStreamDestroy_v2(stream));
	}
	if (check_computes())
		EQUAL(0, wrong);
	return NULL;
}

static void run(void *(*body)(void *))
{
	pthread_t threads[THREADS];
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, body, (void *)(i * 1000 + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	context = check_context();
	step = check_function(check_module("basic.ptx"), "step");
	run(launches);
	run(mixed);
	OK(cuCtxSynchronize());
	return check_done();
}
