// SPDX-License-Identifier: Apache-2.0
//
// The per-thread default stream: through the _ptsz entry points and through the handle 2, in two threads at
// once.
#include "tests/e2e/check.h"

#include <pthread.h>
#include <string.h>

static CUresult (*launch_ptsz)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
			       unsigned, CUstream, void **, void **);
static CUresult (*query_ptsz)(CUstream);
static CUresult (*synchronize_ptsz)(CUstream);
static CUresult (*copy_ptds)(void *, CUdeviceptr, size_t);
static CUresult (*fill_ptsz)(CUdeviceptr, unsigned, size_t, CUstream);
static CUcontext context;
static CUfunction step;

static void resolve(const char *name, void *slot)
{
	void *found = driver_symbol(name);
	if (!CHECK(found != NULL, "%s is there", name))
		check_bail("no %s", name);
	memcpy(slot, &found, sizeof(found));
}

// No allocation in here: freeing waits for the whole device, also for another thread's gate.
static void *worker(void *argument)
{
	CUdeviceptr word = *(CUdeviceptr *)argument;
	uint32_t got = 0, want = 3;
	MUST(cuCtxSetCurrent(context));
	MUST(fill_ptsz(word, 3, 1, NULL));
	for (uint32_t i = 0; i < 300; i++) {
		void *arguments[] = { &word, &i };
		CUstream stream = i % 2 ? NULL : CU_STREAM_PER_THREAD;
		MUST(launch_ptsz(step, 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL));
		want = want * 3 + i;
	}
	MUST(copy_ptds(&got, word, 4));
	if (check_computes())
		EQUAL(want, got);
	MUST(synchronize_ptsz(NULL));
	return NULL;
}

// Another thread's stream has nothing to do and says so.
static void *idle(void *unused)
{
	(void)unused;
	MUST(cuCtxSetCurrent(context));
	OK(query_ptsz(NULL));
	OK(cuStreamQuery(CU_STREAM_PER_THREAD));
	OK(synchronize_ptsz(NULL));
	return NULL;
}

// While this thread's stream waits at a gate, another thread's is free. That kernels of two streams run at
// the same time is no promise of CUDA, but a GPU does it.
static void independent(CUmodule module, CUdeviceptr word)
{
	struct gate gate;
	pthread_t thread;
	gate_init(&gate, module);
	gate_close(&gate, CU_STREAM_PER_THREAD);
	EXPECT(CUDA_ERROR_NOT_READY, query_ptsz(NULL));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(CU_STREAM_PER_THREAD));
	pthread_create(&thread, NULL, idle, NULL);
	pthread_join(thread, NULL);
	if (check_backend() <= BACKEND_CUDA) {
		pthread_create(&thread, NULL, worker, &word);
		pthread_join(thread, NULL);
	}
	EXPECT(CUDA_ERROR_NOT_READY, query_ptsz(NULL));
	gate_open(&gate);
	OK(synchronize_ptsz(NULL));
	OK(query_ptsz(NULL));
	gate_done(&gate);
}

int main(void)
{
	pthread_t threads[2];
	CUdeviceptr words[2];
	CUmodule module;
	context = check_context();
	resolve("cuLaunchKernel_ptsz", &launch_ptsz);
	resolve("cuStreamQuery_ptsz", &query_ptsz);
	resolve("cuStreamSynchronize_ptsz", &synchronize_ptsz);
	resolve("cuMemcpyDtoH_v2_ptds", &copy_ptds);
	resolve("cuMemsetD32Async_ptsz", &fill_ptsz);
	module = check_module("basic.ptx");
	step = check_function(module, "step");
	for (int i = 0; i < 2; i++) {
		MUST(cuMemAlloc_v2(&words[i], 4));
		pthread_create(&threads[i], NULL, worker, &words[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (check_computes())
		independent(module, words[0]);
	return check_done();
}
