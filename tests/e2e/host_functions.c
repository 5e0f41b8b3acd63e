// SPDX-License-Identifier: Apache-2.0
//
// Host functions and callbacks: they run in stream order, the stream waits for them, and CUDA calls inside a
// host function are refused.
#include "tests/e2e/check.h"

#include <pthread.h>
#include <string.h>

enum { COUNT = 200 };
static int order[COUNT], called;
static CUresult inside = CUDA_SUCCESS;
static pthread_t caller;
static volatile bool slow_done;

static void note(void *user)
{
	order[called++] = (int)(intptr_t)user;
	caller = pthread_self();
}

static void slow(void *user)
{
	(void)user;
	sleep_ms(100);
	slow_done = true;
}

static void calls_cuda(void *user)
{
	CUdeviceptr ptr;
	(void)user;
	inside = cuMemAlloc_v2(&ptr, 16);
}

static void reads_pinned(void *user)
{
	uint32_t *word = user;
	word[1] = word[0] + 1; // the kernel before wrote word 0; the kernel behind reads word 1
}

static CUresult callback_status = CUDA_ERROR_UNKNOWN;
static CUstream callback_stream;
static void *callback_user;

static void callback(CUstream stream, CUresult status, void *user)
{
	callback_stream = stream;
	callback_status = status;
	callback_user = user;
}

static void in_order(CUstream stream)
{
	int wrong = 0;
	for (int i = 0; i < COUNT; i++)
		MUST(cuLaunchHostFunc(stream, note, (void *)(intptr_t)i));
	OK(cuStreamSynchronize(stream));
	EQUAL(COUNT, called);
	for (int i = 0; i < COUNT; i++)
		wrong += order[i] != i;
	EQUAL(0, wrong);
	CHECK(!pthread_equal(caller, pthread_self()), "another thread calls them");
}

static void between_kernels(CUstream stream, CUmodule module)
{
	CUfunction step = check_function(module, "step");
	void *memory;
	uint32_t *word, what = 4;
	MUST(cuMemHostAlloc(&memory, 64, 0));
	word = memory;
	word[0] = 1;
	word[1] = 0;
	CUdeviceptr first = (CUdeviceptr)memory, second = first + 4;
	LAUNCH(step, 1, 1, stream, &first, &what);	    // word 0 = 7
	MUST(cuLaunchHostFunc(stream, reads_pinned, word)); // word 1 = 8
	LAUNCH(step, 1, 1, stream, &second, &what);	    // word 1 = 28
	OK(cuStreamSynchronize(stream));
	if (check_computes())
		CHECK(word[0] == 7 && word[1] == 28, "kernel, host function, kernel: %u %u", word[0],
		      word[1]);
	MUST(cuMemFreeHost(memory));
}

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void takes_lock(void *user)
{
	pthread_mutex_lock(&held);
	*(int *)user = 1;
	pthread_mutex_unlock(&held);
}

// A thread may ask while it holds what a host function waits for. How much may stand behind the function: a
// driver takes about 1000 pieces of work before it lets the caller wait, through us there is room for more.
static void queries_never_wait(CUstream stream)
{
	int behind = check_backend() == BACKEND_NATIVE ? 400 : 4000, ran = 0, wrong = 0;
	CUdeviceptr memory;
	CUstream other;
	CUevent event;

	MUST(cuMemAlloc_v2(&memory, 4096));
	MUST(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&event, 0));
	pthread_mutex_lock(&held);
	MUST(cuLaunchHostFunc(stream, takes_lock, &ran));
	for (int i = 0; i < behind; i++)
		wrong += cuMemsetD8Async(memory, (unsigned char)i, 64, stream) != CUDA_SUCCESS;
	EQUAL(0, wrong);
	MUST(cuEventRecord(event, stream));
	MUST(cuMemsetD8Async(memory + 64, 1, 64, other));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	pthread_mutex_unlock(&held);
	OK(cuStreamSynchronize(other));
	OK(cuStreamSynchronize(stream));
	OK(cuEventQuery(event));
	EQUAL(1, ran);
	MUST(cuEventDestroy_v2(event));
	MUST(cuStreamDestroy_v2(other));
	MUST(cuMemFree_v2(memory));
}

static void sleeps(void *user)
{
	(void)user;
	sleep_ms(300);
}

// A driver may want the work before to have run when it loads code or starts a kernel for the first time.
static void code_comes_meanwhile(CUstream stream)
{
	CUdeviceptr word;
	CUstream other;
	uint32_t seen = 0, expected = 3, what = 4;

	MUST(cuMemAlloc_v2(&word, 8));
	MUST(cuMemsetD32_v2(word, 3, 1));
	MUST(cuCtxSynchronize());
	MUST(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
	for (int i = 0; i < 3; i++) {
		CUmodule module;
		CUfunction step;

		MUST(cuMemsetD8Async(word + 4, 3, 1, stream));
		MUST(cuLaunchHostFunc(stream, sleeps, NULL));
		MUST(cuMemsetD8Async(word + 4, 3, 1, stream));
		module = check_module("basic.ptx");
		step = check_function(module, "step");
		LAUNCH(step, 1, 1, other, &word, &what);
		MUST(cuMemcpyDtoHAsync_v2(&seen, word, 4, other));
		OK(cuCtxSynchronize());
		expected = expected * 3 + 4;
		if (check_computes())
			EQUAL(expected, seen);
		OK(cuModuleUnload(module));
	}
	MUST(cuStreamDestroy_v2(other));
	MUST(cuMemFree_v2(word));
}

int main(void)
{
	CUstream stream;
	CUmodule module;
	check_context();
	module = check_module("basic.ptx");
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	in_order(stream);
	between_kernels(stream, module);
	queries_never_wait(stream);
	code_comes_meanwhile(stream);

	MUST(cuLaunchHostFunc(stream, slow, NULL));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
	CHECK(!slow_done, "the launch does not wait for the function");
	OK(cuStreamSynchronize(stream));
	CHECK(slow_done, "synchronise waits for the function");

	MUST(cuLaunchHostFunc(stream, calls_cuda, NULL));
	MUST(cuStreamSynchronize(stream));
	EQUAL(CUDA_ERROR_NOT_PERMITTED, inside);
	OK(cuCtxSynchronize());

	OK(cuStreamAddCallback(stream, callback, &inside, 0));
	OK(cuStreamSynchronize(stream));
	CHECK(callback_stream == stream && callback_user == &inside,
	      "a callback gets its stream and pointer");
	EQUAL(CUDA_SUCCESS, callback_status);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamAddCallback(stream, callback, NULL, 7));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchHostFunc(stream, NULL, NULL));
	called = 0;
	MUST(cuLaunchHostFunc(NULL, note, (void *)1));
	OK(cuCtxSynchronize());
	EQUAL(1, called);
	return check_done();
}
