// SPDX-License-Identifier: Apache-2.0
//
// worker MODE [N]: a client for tests that end processes or share the GPU. It prints "ready" when work is
// under way. Modes: loop (results checked until it is ended or a call fails; prints that call's error and how
// long it took), exit (leaves with work in flight and status 7), hold MIB (allocates and waits), turns N (N
// checked launches), forever (a kernel that never ends), paced MS
// (as loop with pauses, until SIGTERM; then prints "right" and how many rounds), storm N (N allocations that
// are refused), exec (becomes `worker turns 5` with work in flight).
#include "tests/e2e/check.h"

#include <signal.h>
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

// A word of device memory and what must stand in it.
struct counted {
	CUdeviceptr word;
	uint32_t want;
};

static struct counted counted_new(void)
{
	struct counted c = { 0 };

	MUST(cuMemAlloc_v2(&c.word, 4));
	MUST(cuMemsetD32_v2(c.word, 0, 1));
	return c;
}

// Some launches, and a look at their result. 0, or the exit status.
static int count_on(struct counted *c)
{
	double since = seconds_now();
	uint32_t got = 0;
	CUresult result = CUDA_SUCCESS;

	for (uint32_t i = 0; i < 20 && result == CUDA_SUCCESS; i++) {
		void *arguments[] = { &c->word, &i };

		result = cuLaunchKernel(step, 1, 1, 1, 32, 1, 1, 0, NULL, arguments, NULL);
		c->want = c->want * 3 + i;
	}
	if (result == CUDA_SUCCESS)
		result = cuMemcpyDtoH_v2(&got, c->word, 4);
	if (result != CUDA_SUCCESS)
		return fail(result, since);
	if (check_computes() && got != c->want) {
		printf("wrong result %u, expected %u\n", got, c->want);
		return 4;
	}
	return 0;
}

static int loop(long turns)
{
	struct counted c = counted_new();

	for (long n = 0; !turns || n < turns; n++) {
		int status = count_on(&c);

		if (status)
			return status;
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

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static int paced(int pause_ms)
{
	struct counted c;
	long rounds = 0;

	signal(SIGTERM, stop);
	for (c = counted_new(); !stopped; rounds++) {
		int status = count_on(&c);

		if (status)
			return status;
		if (!rounds)
			puts("ready");
		fflush(stdout);
		sleep_ms(pause_ms);
	}
	printf("right %ld\n", rounds);
	return 0;
}

static int storm(long n)
{
	size_t free_bytes, total;
	CUdeviceptr p;

	MUST(cuMemGetInfo_v2(&free_bytes, &total));
	for (long i = 0; i < n; i++) {
		CUresult result = cuMemAlloc_v2(&p, total + MIB);

		if (result != CUDA_ERROR_OUT_OF_MEMORY)
			return fail(result, seconds_now());
	}
	puts("right");
	return 0;
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
	if (!strcmp(mode, "paced"))
		return paced((int)n);
	if (!strcmp(mode, "storm"))
		return storm(n);
	if (!strcmp(mode, "forever"))
		return forever();
	return loop(n);
}
