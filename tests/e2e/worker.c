// SPDX-License-Identifier: Apache-2.0
//
// worker MODE [N]: a client for tests that end processes or share the GPU. It prints "ready" when work is
// under way. Modes: loop (results checked until it is ended or a call fails; prints that call's error and how
// long it took), exit (leaves with work in flight and status 7), hold MIB (allocates and waits), turns N (N
// checked launches), forever (a kernel that never ends), exec (becomes `worker turns 5` with work in flight).
#include "tests/e2e/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CUmodule module;
static CUfunction step;

static int fail(CUresult result, double since)
{
	printf("error %s after %.3f s\n", driver_error_name(result), seconds_now() - since);
	fflush(stdout);
	return 3;
}

static int loop(long turns)
{
	CUdeviceptr word;
	uint32_t want = 0;
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32_v2(word, 0, 1));
	for (long n = 0; !turns || n < turns; n++) {
		double since = seconds_now();
		uint32_t got = 0;
		CUresult result = CUDA_SUCCESS;
		for (uint32_t i = 0; i < 20 && result == CUDA_SUCCESS; i++) {
			void *arguments[] = { &word, &i };
			result = cuLaunchKernel(step, 1, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL);
			want = want * 3 + i;
		}
		if (result == CUDA_SUCCESS)
			result = cuMemcpyDtoH_v2(&got, word, 4);
		if (result != CUDA_SUCCESS)
			return fail(result, since);
		if (check_computes() && got != want) {
			printf("wrong result %u, expected %u\n", got, want);
			return 4;
		}
		if (n == 3)
			puts("ready");
		fflush(stdout);
	}
	printf("right\n");
	return 0;
}

// Work for a second or more, launched and not waited for.
static void keep_busy(void)
{
	CUfunction spin = check_function(module, "spin");
	CUdeviceptr out;
	uint64_t rounds = 20 * 1000 * 1000;
	MUST(cuMemAlloc_v2(&out, 4));
	for (int i = 0; i < 50; i++)
		LAUNCH(spin, 1, 1, NULL, &out, &rounds);
	puts("ready");
	fflush(stdout);
}

static int leave(void)
{
	keep_busy();
	exit(7);
}

static int become_another(const char *self)
{
	keep_busy();
	execl("/proc/self/exe", self, "turns", "5", (char *)NULL);
	return 5;
}

static int hold(size_t mib)
{
	CUdeviceptr ptr;
	CUresult result = cuMemAlloc_v2(&ptr, mib * MIB);
	if (result != CUDA_SUCCESS)
		return fail(result, seconds_now());
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static int forever(void)
{
	CUfunction f = check_function(check_module("faults.ptx"), "forever");
	void *gate;
	MUST(cuMemHostAlloc(&gate, 64, 0));
	memset(gate, 0, 64);
	LAUNCH(f, 1, 1, NULL, &gate);
	puts("ready");
	fflush(stdout);
	double since = seconds_now();
	CUresult result = cuCtxSynchronize();
	return fail(result, since);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "loop";
	long n = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
	check_context();
	module = check_module("basic.ptx");
	step = check_function(module, "step");
	if (!strcmp(mode, "exit"))
		return leave();
	if (!strcmp(mode, "exec"))
		return become_another(argv[0]);
	if (!strcmp(mode, "hold"))
		return hold((size_t)n);
	if (!strcmp(mode, "forever"))
		return forever();
	return loop(n);
}
