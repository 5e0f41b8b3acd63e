// SPDX-License-Identifier: Apache-2.0
// Devices, primary and explicit contexts, the stack of each thread, ownership.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

#define FOREIGN ((CUcontext)(uintptr_t)0x1234560)

static void before_init_nothing_works(void **state)
{
	CUdeviceptr p;
	int n;

	(void)state;
	assert_int_equal(cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
	assert_int_equal(cuMemAlloc_v2(&p, 1), CUDA_ERROR_NOT_INITIALIZED);
	assert_int_equal(cuDriverGetVersion(&n), CUDA_SUCCESS);
	assert_int_equal(n, 13000);
	assert_int_equal(cuInit(1), CUDA_ERROR_INVALID_VALUE);
	fake.open_fails = 1;
	assert_int_equal(cuInit(0), CUDA_ERROR_NO_DEVICE);
	fake_reset();
	assert_int_equal(cuInit(0), CUDA_SUCCESS);
	assert_int_equal(cuInit(0), CUDA_SUCCESS);
	assert_int_equal(fake.counts[OPCODE_DEVICE_INFO], 1);
}

static void devices_answer_locally(void **state)
{
	char name[32], bus[16];
	CUuuid uuid;
	CUdevice d = 7;
	size_t bytes;
	int v = -7;

	(void)state;
	fake_reset();
	assert_int_equal(cuDeviceGetCount(&v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(cuDeviceGet(&d, 1), CUDA_ERROR_INVALID_DEVICE);
	assert_int_equal(cuDeviceGet(&d, 0), 0);
	assert_int_equal(d, 0);
	assert_int_equal(cuDeviceGetName(name, sizeof(name), 0), 0);
	assert_string_equal(name, "Fake GPU");
	assert_int_equal(cuDeviceGetName(name, 4, 0), 0);
	assert_string_equal(name, "Fak");
	assert_int_equal(cuDeviceGetAttribute(&v, 75, 0), 0);
	assert_int_equal(v, 9);
	v = -7;
	assert_int_equal(cuDeviceGetAttribute(&v, 0, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuDeviceGetAttribute(&v, 148, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuDeviceGetAttribute(&v, 75, 3), CUDA_ERROR_INVALID_DEVICE);
	assert_int_equal(v, -7);
	assert_int_equal(cuDeviceGetAttribute(&v, 89, 0),
			 0); // concurrent managed access: not carried, not claimed
	assert_int_equal(v, 0);
	assert_int_equal(cuDeviceGetUuid_v2(&uuid, 0), 0);
	assert_memory_equal(&uuid, "0123456789abcdef", 16);
	assert_int_equal(cuDeviceGetPCIBusId(bus, sizeof(bus), 0), 0);
	assert_string_equal(bus, "0000:20:00.0");
	assert_int_equal(cuDeviceGetByPCIBusId(&d, "0000:20:00.0"), 0);
	assert_int_equal(cuDeviceGetByPCIBusId(&d, "20:00.0"), 0);
	assert_int_equal(cuDeviceGetByPCIBusId(&d, "0000:21:00.0"), CUDA_ERROR_INVALID_DEVICE);
	assert_int_equal(cuDeviceTotalMem_v2(&bytes, 0), 0);
	assert_int_equal(bytes, 80ull << 30);
	assert_int_equal(fake.counts[OPCODE_DEVICE_INFO], 0);
}

static void primary_context_counts(void **state)
{
	CUcontext a, b, c = NULL;
	CUdeviceptr p;
	unsigned int flags;
	int active;

	(void)state;
	fake_reset();
	assert_int_equal(cuDevicePrimaryCtxGetState(0, &flags, &active), 0);
	assert_int_equal(active, 0);
	assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuMemAlloc_v2(&p, 1), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuDevicePrimaryCtxRetain(&a, 0), 0);
	assert_int_equal(cuDevicePrimaryCtxRetain(&b, 0), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(fake.counts[OPCODE_CONTEXT_ACTIVATE], 1);
	assert_int_equal(cuCtxGetCurrent(&c), 0);
	assert_null(c); // retaining does not make current
	assert_int_equal(cuCtxSetCurrent(a), 0);
	assert_int_equal(cuMemAlloc_v2(&p, 100), 0);
	assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), 0);
	assert_int_equal(cuMemFree_v2(p), 0);
	assert_int_equal(cuMemAlloc_v2(&p, 100), 0);
	assert_int_equal(cuDevicePrimaryCtxRelease(0), 0); // the last one frees what is left
	assert_int_equal(fake.counts[OPCODE_MEM_FREE], 2);
	assert_int_equal(cuMemAlloc_v2(&p, 100), CUDA_ERROR_CONTEXT_IS_DESTROYED);
	assert_int_equal(cuDevicePrimaryCtxRetain(&b, 0), 0);
	assert_ptr_equal(a, b); // same handle, usable again
	assert_int_equal(cuMemAlloc_v2(&p, 100), 0);
	assert_int_equal(cuDevicePrimaryCtxReset(0), 0);
	assert_int_equal(cuDevicePrimaryCtxGetState(0, &flags, &active), 0);
	assert_int_equal(active, 0);
	assert_int_equal(cuCtxSetCurrent(NULL), 0);
}

static void stack_of_contexts(void **state)
{
	CUcontext a, b, c;
	CUdevice d = 9;

	(void)state;
	assert_int_equal(cuCtxPopCurrent_v2(&c), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuCtxGetDevice(&d), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuCtxCreate_v2(&a, 0, 0), 0);
	assert_int_equal(cuCtxCreate_v4(&b, NULL, 0, 0), 0);
	assert_ptr_not_equal(a, b);
	assert_int_equal(cuCtxGetCurrent(&c), 0);
	assert_ptr_equal(c, b);
	for (int i = 0; i < 100; i++)
		assert_int_equal(cuCtxPushCurrent_v2(i % 2 ? b : a), 0);
	for (int i = 99; i >= 0; i--) {
		assert_int_equal(cuCtxPopCurrent_v2(&c), 0);
		assert_ptr_equal(c, i % 2 ? b : a);
	}
	assert_int_equal(cuCtxPushCurrent_v2(FOREIGN), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuCtxSetCurrent(FOREIGN), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuCtxGetDevice_v2(&d, a), 0);
	assert_int_equal(d, 0);
	assert_int_equal(cuCtxSetCurrent(a), 0); // replaces b on top
	assert_int_equal(cuCtxPopCurrent_v2(&c), 0);
	assert_ptr_equal(c, a);
	assert_int_equal(cuCtxPopCurrent_v2(&c), 0);
	assert_ptr_equal(c, a);
	assert_int_equal(cuCtxPopCurrent_v2(&c), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuCtxDestroy_v2(a), 0);
	assert_int_equal(cuCtxDestroy_v2(a), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(cuCtxDestroy_v2(b), 0);
}

static void *other_thread(void *arg)
{
	CUcontext *ctx = arg, seen = *ctx;
	CUdeviceptr p;

	assert_int_equal(cuCtxGetCurrent(&seen), 0);
	assert_null(seen); // each thread has a stack of its own
	assert_int_equal(cuCtxSetCurrent(*ctx), 0);
	assert_int_equal(cuMemAlloc_v2(&p, 1), 0);
	assert_int_equal(cuCtxDestroy_v2(*ctx), 0);
	return NULL;
}

static void destroying_frees_what_it_owns(void **state)
{
	CUcontext ctx, other;
	CUdeviceptr mine, theirs;
	CUstream stream;
	CUevent event;
	CUmodule module;
	CUfunction f;
	pthread_t thread;

	(void)state;
	assert_int_equal(cuCtxCreate_v2(&other, 0, 0), 0);
	assert_int_equal(cuMemAlloc_v2(&theirs, 10), 0);
	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 0), 0);
	assert_int_equal(cuMemAlloc_v2(&mine, 10), 0);
	assert_int_equal(cuStreamCreate(&stream, 1), 0);
	assert_int_equal(cuEventCreate(&event, 0), 0);
	assert_int_equal(cuModuleLoadData(&module, ".version 7.0"), 0);
	assert_int_equal(cuModuleGetFunction(&f, module, "k"), 0);
	fake_reset();
	assert_int_equal(pthread_create(&thread, NULL, other_thread, &ctx), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(fake.counts[OPCODE_MEM_FREE], 2);
	assert_int_equal(fake.counts[OPCODE_STREAM_DESTROY], 1);
	assert_int_equal(fake.counts[OPCODE_EVENT_DESTROY], 1);
	assert_int_equal(fake.counts[OPCODE_MODULE_UNLOAD], 1);
	// still current here, and known to be gone
	assert_int_equal(cuStreamSynchronize(stream), CUDA_ERROR_CONTEXT_IS_DESTROYED);
	assert_int_equal(cuCtxSetCurrent(other), 0);
	assert_int_equal(cuMemFree_v2(mine), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuStreamQuery(stream), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuEventQuery(event), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuMemFree_v2(theirs), 0);
	assert_int_equal(cuCtxDestroy_v2(other), 0);
}

static void limits(void **state)
{
	CUcontext ctx;
	size_t v;
	int least, greatest;

	(void)state;
	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 0), 0);
	assert_int_equal(cuCtxGetLimit(&v, CU_LIMIT_STACK_SIZE), 0);
	assert_int_equal(v, 1024);
	assert_int_equal(cuCtxGetLimit(&v, CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH), CUDA_ERROR_UNSUPPORTED_LIMIT);
	assert_int_equal(cuCtxGetLimit(&v, 10), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuCtxGetLimit(&v, -1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuCtxGetStreamPriorityRange(&least, &greatest), 0);
	assert_int_equal(least, 0);
	assert_int_equal(greatest, -5);
	fake.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
	assert_int_equal(cuCtxGetLimit(&v, CU_LIMIT_STACK_SIZE), CUDA_ERROR_ILLEGAL_ADDRESS);
	assert_int_equal(cuCtxGetCurrent(&ctx), 0);
	assert_int_equal(cuDeviceGetAttribute(&least, 1, 0), 0);
	assert_int_equal(cuCtxPushCurrent_v2(ctx), 0);
	assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
	fake.sticky = 0;
	assert_int_equal(cuCtxPopCurrent_v2(&ctx), 0);
	assert_int_equal(cuCtxDestroy_v2(ctx), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_init_nothing_works),	 cmocka_unit_test(devices_answer_locally),
		cmocka_unit_test(primary_context_counts),	 cmocka_unit_test(stack_of_contexts),
		cmocka_unit_test(destroying_frees_what_it_owns), cmocka_unit_test(limits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
