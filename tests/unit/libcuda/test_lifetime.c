// SPDX-License-Identifier: Apache-2.0
// fork and exit: every case runs in a child of its own, whose status tells.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

static int status_of(void (*body)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		alarm(20);
		body();
		exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void require(int condition, int code)
{
	if (!condition)
		_exit(code);
}

static void child_of_user(void)
{
	CUcontext ctx;
	CUdeviceptr p;
	int n, status;
	pid_t pid;

	require(cuInit(0) == 0 && cuCtxCreate_v2(&ctx, 0, 0) == 0, 1);
	pid = fork();
	if (pid == 0) {
		require(cuInit(0) == CUDA_ERROR_NOT_INITIALIZED, 2);
		require(cuDeviceGetCount(&n) == CUDA_ERROR_NOT_INITIALIZED, 3);
		require(cuMemAlloc_v2(&p, 1) == CUDA_ERROR_NOT_INITIALIZED, 4);
		require(cuCtxGetCurrent(&ctx) == CUDA_ERROR_NOT_INITIALIZED, 5);
		require(cuStreamSynchronize(NULL) == CUDA_ERROR_NOT_INITIALIZED, 6);
		exit(0); // exit handlers too
	}
	require(waitpid(pid, &status, 0) == pid && WIFEXITED(status), 7);
	require(WEXITSTATUS(status) == 0, WEXITSTATUS(status));
	require(cuMemAlloc_v2(&p, 1) == 0, 8); // the parent goes on
}

static void child_of_bystander(void)
{
	int n, status;
	pid_t pid = fork();

	if (pid == 0) {
		require(cuInit(0) == 0 && cuDeviceGetCount(&n) == 0, 1);
		exit(0);
	}
	require(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, 2);
}

static CUstream stream;

static void late(void)
{
	const char *text;
	CUcontext ctx;
	int n;
	CUdeviceptr p;

	require(cuMemAlloc_v2(&p, 1) == CUDA_ERROR_DEINITIALIZED, 11);
	require(cuStreamSynchronize(stream) == CUDA_ERROR_DEINITIALIZED, 12);
	require(cuCtxGetCurrent(&ctx) == CUDA_ERROR_DEINITIALIZED, 13);
	require(cuDevicePrimaryCtxRelease_v2(0) == CUDA_ERROR_DEINITIALIZED, 14);
	require(cuInit(0) == CUDA_ERROR_DEINITIALIZED, 15);
	require(cuDriverGetVersion(&n) == CUDA_ERROR_DEINITIALIZED, 16);
	require(cuGetErrorString(CUDA_SUCCESS, &text) == CUDA_ERROR_DEINITIALIZED, 17);
}

static void early(void)
{
	require(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY, 21); // registered after cuInit: still works
}

static void exits_with_work_in_flight(void)
{
	CUcontext ctx;
	CUdeviceptr p = 0;

	require(atexit(late) == 0, 1);
	require(cuInit(0) == 0 && cuCtxCreate_v2(&ctx, 0, 0) == 0 && cuStreamCreate(&stream, 0) == 0, 2);
	require(atexit(early) == 0 && cuMemAlloc_v2(&p, 64) == 0, 3);
	fake.hold_fences = 1;
	require(cuMemsetD8Async(p, 1, 64, stream) == 0, 4);
}

static void hidden_device(void)
{
	setenv("CUDA_VISIBLE_DEVICES", "", 1);
	require(cuInit(0) == CUDA_ERROR_NO_DEVICE, 1);
	setenv("CUDA_VISIBLE_DEVICES", "1", 1);
	require(cuInit(0) == CUDA_ERROR_NO_DEVICE, 2);
	setenv("CUDA_VISIBLE_DEVICES", "GPU-3031", 1);
	require(cuInit(0) == 0, 3);
}

static void fork_after_init(void **state)
{
	(void)state;
	assert_int_equal(status_of(child_of_user), 0);
}

static void fork_before_init(void **state)
{
	(void)state;
	assert_int_equal(status_of(child_of_bystander), 0);
}

static void exit_with_work_in_flight(void **state)
{
	(void)state;
	assert_int_equal(status_of(exits_with_work_in_flight), 0);
}

static void visible_devices(void **state)
{
	(void)state;
	assert_int_equal(status_of(hidden_device), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_after_init),
		cmocka_unit_test(fork_before_init),
		cmocka_unit_test(exit_with_work_in_flight),
		cmocka_unit_test(visible_devices),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
