// SPDX-License-Identifier: Apache-2.0
//
// vgpu-bench-share-load: a program that wants the GPU in a known way, for bench/shares.py. An ordinary
// program of the CUDA driver. Prints "working" when its first work is done, and at SIGTERM one JSON line with
// what it did.
//
//   saturate   always more submitted than runs: batches of kernels, four of them in flight
//   sync       one kernel, waited for, a pause; the time from launch to end of each is kept
//   graph      as saturate, each batch is one launch of a graph
//   calibrate  prints how many rounds of the kernel's loop take a microsecond, and ends
#include "demo/driver.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES = 4, MOST_SAMPLES = 1 << 20, THREADS = 128 };
#define BATCH_US 1000.0

static const char ptx[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry spin(.param .u64 out, .param .u32 rounds)\n{\n"
    "\t.reg .pred %p;\n\t.reg .b32 %r<4>;\n\t.reg .b64 %rd<2>;\n"
    "\tld.param.u64 %rd1, [out];\n\tld.param.u32 %r1, [rounds];\n\tmov.u32 %r2, %tid.x;\n"
    "loop:\n\tmad.lo.u32 %r2, %r2, 1664525, 1013904223;\n\tsub.u32 %r1, %r1, 1;\n"
    "\tsetp.ne.u32 %p, %r1, 0;\n\t@%p bra loop;\n"
    "\tsetp.ne.u32 %p, %r2, 12345;\n\t@%p bra end;\n\tst.global.u32 [%rd1], %r2;\nend:\n\tret;\n}\n";

struct load {
	CUfunction spin;
	CUstream stream;
	CUdeviceptr out;
	unsigned blocks;
	uint32_t rounds;
	double kernel_us;
	uint64_t kernels;
	float samples[MOST_SAMPLES];
	size_t n_samples;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

#define MUST(call) driver_must(call, #call)

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void pause_us(double us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1e6), .tv_nsec = (long)(us * 1e3) % 1000000000 };

	nanosleep(&t, NULL);
}

static void launch(struct load *l, uint32_t rounds)
{
	void *arguments[] = { &l->out, &rounds };

	MUST(cuLaunchKernel(l->spin, l->blocks, 1, 1, THREADS, 1, 1, 0, l->stream, arguments, NULL));
}

static void working(void)
{
	puts("working");
	fflush(stdout);
}

// Rounds that take a microsecond; from a kernel of some milliseconds, so that the launch does not count.
static double calibrate(struct load *l)
{
	double best = 0;

	for (uint32_t rounds = 1024; rounds < UINT32_C(1) << 30; rounds *= 2) {
		double begin, took;

		launch(l, rounds);
		MUST(cuStreamSynchronize(l->stream));
		begin = now_us();
		launch(l, rounds);
		MUST(cuStreamSynchronize(l->stream));
		took = now_us() - begin;
		best = rounds / took;
		if (took > 5000)
			break;
	}
	return best;
}

static unsigned batch_kernels(const struct load *l)
{
	double n = BATCH_US / l->kernel_us;

	return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

static CUgraphExec make_graph(struct load *l, unsigned kernels)
{
	CUgraphExec graph_exec;
	CUgraph graph;

	MUST(cuStreamBeginCapture_v2(l->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
	for (unsigned i = 0; i < kernels; i++)
		launch(l, l->rounds);
	MUST(cuStreamEndCapture(l->stream, &graph));
	MUST(cuGraphInstantiateWithFlags(&graph_exec, graph, 0));
	return graph_exec;
}

static void saturate(struct load *l, bool as_graph)
{
	unsigned kernels = batch_kernels(l);
	CUgraphExec graph = as_graph ? make_graph(l, kernels) : NULL;
	CUevent done[BATCHES];

	for (unsigned i = 0; i < BATCHES; i++)
		MUST(cuEventCreate(&done[i], CU_EVENT_DISABLE_TIMING));
	for (uint64_t n = 0; !stop; n++) {
		CUevent event = done[n % BATCHES];

		if (n >= BATCHES) {
			MUST(cuEventSynchronize(event));
			l->kernels += kernels;
		}
		if (n == BATCHES)
			working();
		if (graph)
			MUST(cuGraphLaunch(graph, l->stream));
		for (unsigned i = 0; !graph && i < kernels; i++)
			launch(l, l->rounds);
		MUST(cuEventRecord(event, l->stream));
	}
	MUST(cuStreamSynchronize(l->stream));
}

static void synchronise(struct load *l, double gap_us)
{
	for (uint64_t n = 0; !stop; n++) {
		double begin = now_us();

		launch(l, l->rounds);
		MUST(cuStreamSynchronize(l->stream));
		l->kernels++;
		if (n >= 10 && l->n_samples < MOST_SAMPLES)
			l->samples[l->n_samples++] = (float)(now_us() - begin);
		if (n == 10)
			working();
		if (gap_us > 0)
			pause_us(gap_us);
	}
}

static int ascending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double percentile(const struct load *l, double part)
{
	return l->n_samples ? (double)l->samples[(size_t)(part * (double)(l->n_samples - 1))] : 0;
}

static void open_device(struct load *l, double rounds_per_us)
{
	const char *error = driver_open();
	CUcontext context;
	CUmodule module;
	int processors = 1;
	double rounds;

	if (error) {
		fprintf(stderr, "%s\n", error);
		exit(2);
	}
	MUST(cuInit(0));
	MUST(cuDevicePrimaryCtxRetain(&context, 0));
	MUST(cuCtxSetCurrent(context));
	MUST(cuDeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
	MUST(cuModuleLoadData(&module, ptx));
	MUST(cuModuleGetFunction(&l->spin, module, "spin"));
	MUST(cuMemAlloc_v2(&l->out, 4));
	MUST(cuStreamCreate(&l->stream, CU_STREAM_NON_BLOCKING));
	l->blocks = (unsigned)processors;
	rounds = rounds_per_us * l->kernel_us;
	l->rounds = rounds < 1 ? 1 : rounds > 1e9 ? 1000000000 : (uint32_t)rounds;
}

static int usage(void)
{
	fprintf(
	    stderr,
	    "usage: vgpu-bench-share-load saturate|sync|graph|calibrate KERNEL_US ROUNDS_PER_US [GAP_US]\n");
	return 64;
}

int main(int argc, char **argv)
{
	static struct load l;
	struct sigaction action = { .sa_handler = on_signal };
	double begin;

	if (argc < 4 || argc > 5)
		return usage();
	l.kernel_us = strtod(argv[2], NULL);
	if (!(l.kernel_us >= 1 && l.kernel_us <= 1e6))
		return usage();
	open_device(&l, strtod(argv[3], NULL));
	if (!strcmp(argv[1], "calibrate")) {
		printf("{\"rounds_per_us\": %.3f}\n", calibrate(&l));
		return 0;
	}
	sigaction(SIGTERM, &action, NULL);
	begin = now_us();
	if (!strcmp(argv[1], "sync"))
		synchronise(&l, argc > 4 ? strtod(argv[4], NULL) : 0);
	else if (!strcmp(argv[1], "saturate") || !strcmp(argv[1], "graph"))
		saturate(&l, argv[1][0] == 'g');
	else
		return usage();
	qsort(l.samples, l.n_samples, sizeof(l.samples[0]), ascending);
	printf("{\"kernels\": %llu, \"seconds\": %.3f, \"samples\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, "
	       "\"most_us\": %.1f}\n",
	       (unsigned long long)l.kernels, (now_us() - begin) / 1e6, l.n_samples, percentile(&l, 0.5),
	       percentile(&l, 0.99), percentile(&l, 1));
	return 0;
}
