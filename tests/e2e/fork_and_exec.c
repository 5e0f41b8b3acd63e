// SPDX-License-Identifier: Apache-2.0
//
// After cuInit: a forked child may not use CUDA (3) and does not disturb its parent; a child that runs
// another program may. The program calls itself with "child" for the latter.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint32_t compute(void)
{
	CUmodule module = check_module("basic.ptx");
	CUfunction step = check_function(module, "step");
	CUdeviceptr word;
	uint32_t what = 1, got = 0;
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32_v2(word, 5, 1));
	LAUNCH(step, 1, 1, NULL, &word, &what);
	MUST(cuMemcpyDtoH_v2(&got, word, 4));
	MUST(cuMemFree_v2(word));
	return check_computes() ? got : 16;
}

static int forked_child(void)
{
	CUdeviceptr ptr;
	CUcontext context;
	int count;
	if (cuMemAlloc_v2(&ptr, 4) != CUDA_ERROR_NOT_INITIALIZED)
		return 11;
	if (cuDeviceGetCount(&count) != CUDA_ERROR_NOT_INITIALIZED)
		return 12;
	if (cuCtxGetCurrent(&context) != CUDA_ERROR_NOT_INITIALIZED)
		return 13;
	if (cuCtxSynchronize() != CUDA_ERROR_NOT_INITIALIZED)
		return 14;
	return 0;
}

static int wait_for(pid_t pid)
{
	int status = -1;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	check_context();
	if (argc == 2 && !strcmp(argv[1], "child"))
		return compute() == 16 ? 0 : 1;
	EQUAL(16, compute());
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (!pid)
			_exit(forked_child());
		EQUAL(0, wait_for(pid));
	}
	EQUAL(16, compute());
	pid_t plain = fork(); // leaves through exit(), with all its handlers
	if (!plain)
		exit(0);
	EQUAL(0, wait_for(plain));
	EQUAL(16, compute());
	pid_t other = fork();
	if (!other) {
		execl("/proc/self/exe", argv[0], "child", (char *)NULL);
		_exit(99);
	}
	EQUAL(0, wait_for(other));
	EQUAL(16, compute());
	return check_done();
}
