// SPDX-License-Identifier: Apache-2.0
//
// vgpu-demo-workload: an ordinary CUDA program, which knows nothing of vgpu. It keeps two streams busy,
// checks every result against the processor's own and ends after --seconds N or at SIGTERM, when all that is
// in flight has been checked. Exit status: 0 all right, 1 a wrong result, 2 a CUDA error, 64 usage.
#include "demo/batches.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: vgpu-demo-workload [--seconds N] [--milliseconds N] [--unchecked]\n"
		"  --seconds N       end after so long (default: at SIGTERM)\n"
		"  --milliseconds N  how long a kernel shall take, 1 to %d (1)\n"
		"  --unchecked       do not look at the results (for a backend that computes nothing)\n",
		BATCH_MS_MAX);
	return 64;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct batches batches;
	double seconds = 0, milliseconds = 1;
	bool check = true;
	CUcontext context;

	for (int i = 1; i < argc; i++) {
		char *end = NULL;
		if (!strcmp(argv[i], "--unchecked"))
			check = false;
		else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
			seconds = strtod(argv[++i], &end);
		else if (!strcmp(argv[i], "--milliseconds") && i + 1 < argc)
			milliseconds = strtod(argv[++i], &end);
		else
			return usage();
		if (end && (*end || seconds < 0 || !(milliseconds >= 1 && milliseconds <= BATCH_MS_MAX)))
			return usage();
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	const char *error = driver_open();
	if (error) {
		fprintf(stderr, "no CUDA driver: %s\n", error);
		return 2;
	}
	driver_must(cuInit(0), "cuInit");
	driver_must(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
	driver_must(cuCtxSetCurrent(context), "cuCtxSetCurrent");
	batches_init(&batches, check, (uint32_t)milliseconds);
	for (double end = now() + seconds; !stop && (!seconds || now() < end);)
		batches_turn(&batches);
	batches_done(&batches);
	driver_must(cuDevicePrimaryCtxRelease_v2(0), "cuDevicePrimaryCtxRelease");
	if (check)
		printf("checked %llu results, %llu wrong\n",
		       (unsigned long long)(batches.right + batches.wrong),
		       (unsigned long long)batches.wrong);
	else
		printf("completed %llu results, unchecked\n", (unsigned long long)batches.right);
	return batches.wrong ? 1 : 0;
}
