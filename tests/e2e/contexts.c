// SPDX-License-Identifier: Apache-2.0
//
// Contexts: the stack of a thread, the primary context's count and reset, created contexts, limits, and what
// calls answer without a context or with a destroyed one.
#include "tests/e2e/check.h"

#include <pthread.h>

static void without_context(void)
{
	CUcontext context = (CUcontext)1;
	CUdeviceptr ptr;
	CUstream stream;
	CUevent event;
	CUmodule module;
	CUdevice device;
	size_t n;
	unsigned flags;
	void *host;

	OK(cuCtxGetCurrent(&context));
	CHECK(!context, "no context is current at first");
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxGetDevice(&device));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxGetFlags(&flags));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxGetLimit(&n, CU_LIMIT_STACK_SIZE));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent_v2(&context));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&ptr, 4));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuMemAllocHost_v2(&host, 4));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuMemGetInfo_v2(&n, &n));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuStreamCreate(&stream, 0));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuStreamSynchronize(NULL));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuEventCreate(&event, 0));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuModuleLoadData(&module, ".version 7.0"));
}

static void primary(CUcontext *out)
{
	CUcontext a = NULL, b = NULL, current = NULL;
	CUdevice device = -1;
	unsigned flags = 99, version = 0;
	int active = 99;

	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(0, active);
	EXPECT(CUDA_ERROR_INVALID_DEVICE, cuDevicePrimaryCtxRetain(&a, 77));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuDevicePrimaryCtxRetain(NULL, 0));
	OK(cuDevicePrimaryCtxRetain(&a, 0));
	OK(cuDevicePrimaryCtxRetain(&b, 0));
	CHECK(a && a == b, "the primary context is one");
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(1, active);
	OK(cuCtxGetCurrent(&current));
	CHECK(!current, "retain does not make it current");
	OK(cuCtxSetCurrent(a));
	OK(cuCtxGetCurrent(&current));
	CHECK(current == a, "set current");
	OK(cuCtxGetDevice(&device));
	EQUAL(0, device);
	OK(cuCtxGetApiVersion(a, &version));
	CHECK(version >= 3020, "API version %u", version);
	OK(cuDevicePrimaryCtxRelease_v2(0));
	OK(cuCtxSynchronize());
	*out = a;
}

static void stack(CUcontext primary_context)
{
	CUcontext made = NULL, got = NULL;
	unsigned long long id_a = 0, id_b = 0;

	OK(cuCtxCreate_v2(&made, CU_CTX_SCHED_BLOCKING_SYNC, 0));
	CHECK(made && made != primary_context, "a created context is another one");
	OK(cuCtxGetCurrent(&got));
	CHECK(got == made, "create makes it current");
	OK(cuCtxGetId(primary_context, &id_a));
	OK(cuCtxGetId(made, &id_b));
	CHECK(id_a != id_b, "ids %llu and %llu differ", id_a, id_b);
	OK(cuCtxPopCurrent_v2(&got));
	CHECK(got == made, "pop gives the top");
	OK(cuCtxGetCurrent(&got));
	CHECK(got == primary_context, "below lies the primary one");
	OK(cuCtxPushCurrent_v2(made));
	OK(cuCtxPushCurrent_v2(primary_context));
	OK(cuCtxPopCurrent_v2(&got));
	OK(cuCtxGetCurrent(&got));
	CHECK(got == made, "push and pop nest");
	OK(cuCtxDestroy_v2(made));
	OK(cuCtxGetCurrent(&got));
	CHECK(got != made, "a destroyed context leaves the stack's top");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuCtxPushCurrent_v2(NULL));
	EXPECT(CUDA_ERROR_INVALID_DEVICE, cuCtxCreate_v2(&made, 0, 55));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuCtxCreate_v2(NULL, 0, 0));
	OK(cuCtxSetCurrent(primary_context));
}

static void limits(void)
{
	size_t value = 0;
	OK(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
	CHECK(value >= 1024, "stack size %zu", value);
	OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
	OK(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
	CHECK(value >= 4096, "stack size %zu after setting 4096", value);
	OK(cuCtxGetLimit(&value, CU_LIMIT_MALLOC_HEAP_SIZE));
	OK(cuCtxGetLimit(&value, CU_LIMIT_PRINTF_FIFO_SIZE));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuCtxGetLimit(&value, 77));
}

static void *other_thread(void *primary_context)
{
	CUcontext got = (CUcontext)1;
	OK(cuCtxGetCurrent(&got));
	CHECK(!got, "another thread has no context of its own");
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
	OK(cuCtxSetCurrent(primary_context));
	OK(cuCtxSynchronize());
	return NULL;
}

static void reset(CUcontext context)
{
	CUdeviceptr ptr, again;
	int active = 9;
	unsigned flags;

	OK(cuMemAlloc_v2(&ptr, 1000));
	OK(cuDevicePrimaryCtxReset_v2(0));
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(0, active);
	OK(cuDevicePrimaryCtxRetain(&context, 0));
	OK(cuCtxSetCurrent(context));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(ptr));
	OK(cuMemAlloc_v2(&again, 1000));
	OK(cuMemFree_v2(again));
	// The reset took the memory, not the references: the one from before and the new one.
	OK(cuDevicePrimaryCtxRelease_v2(0));
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(1, active);
	OK(cuDevicePrimaryCtxRelease_v2(0));
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(0, active);
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease_v2(0));
}

int main(void)
{
	CUcontext context;
	pthread_t thread;
	check_open();
	MUST(cuInit(0));
	without_context();
	primary(&context);
	stack(context);
	limits();
	pthread_create(&thread, NULL, other_thread, context);
	pthread_join(thread, NULL);
	reset(context);
	return check_done();
}
