// SPDX-License-Identifier: Apache-2.0
//
// vgpu-bench-driver: times single calls and short sequences of the CUDA driver as a program sees them, and
// prints one JSON line a row: {"row", "unit", "value" (median of the rounds), "best", "rounds"}. An ordinary
// program: bench.py runs it natively and through vgpu, side by side. With --quick everything is smaller.
#include "demo/driver.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROUNDS = 31 };
#define MIB ((size_t)1 << 20)

static const char empty_ptx[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry empty()\n{\n\tret;\n}\n";

struct bench {
	bool quick;
	CUfunction empty;
	CUstream stream;
	CUdeviceptr memory;
	size_t big; // bytes of the large copies
	double samples[MOST_ROUNDS];
	int count;
};

#define MUST(call) driver_must(call, #call)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void sample(struct bench *bench, double value)
{
	if (bench->count < MOST_ROUNDS)
		bench->samples[bench->count++] = value;
}

// Prints the row of the samples taken since the last one.
static void row(struct bench *bench, const char *name, const char *unit)
{
	bool more_is_better = !strcmp(unit, "GB/s");
	qsort(bench->samples, (size_t)bench->count, sizeof(double), ascending);
	printf("{\"row\": \"%s\", \"unit\": \"%s\", \"value\": %.6g, \"best\": %.6g, \"rounds\": %d}\n", name,
	       unit, bench->samples[bench->count / 2], bench->samples[more_is_better ? bench->count - 1 : 0],
	       bench->count);
	fflush(stdout);
	bench->count = 0;
}

static void launch(struct bench *bench)
{
	MUST(cuLaunchKernel(bench->empty, 1, 1, 1, 1, 1, 1, 0, bench->stream, NULL, NULL));
}

static void guest_calls(struct bench *bench)
{
	int calls = bench->quick ? 20000 : 200000, value;
	CUcontext context;
	for (int r = 0; r < 7; r++) {
		double t = now();
		for (int i = 0; i < calls; i++)
			MUST(cuCtxGetCurrent(&context));
		sample(bench, (now() - t) / calls * 1e6);
	}
	row(bench, "get_current", "us");
	for (int r = 0; r < 7; r++) {
		double t = now();
		for (int i = 0; i < calls; i++)
			MUST(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
		sample(bench, (now() - t) / calls * 1e6);
	}
	row(bench, "get_attribute", "us");
	MUST(cuStreamSynchronize(bench->stream));
	for (int r = 0; r < 7; r++) {
		double t = now();
		for (int i = 0; i < calls; i++)
			MUST(cuStreamQuery(bench->stream));
		sample(bench, (now() - t) / calls * 1e6);
	}
	row(bench, "stream_query", "us");
}

static void launches(struct bench *bench)
{
	enum { BURST = 100 };
	int sustained = bench->quick ? 3000 : 50000;
	for (int i = 0; i < 200; i++)
		launch(bench);
	MUST(cuStreamSynchronize(bench->stream));
	for (int r = 0; r < 31; r++) {
		double t = now();
		for (int i = 0; i < BURST; i++)
			launch(bench);
		sample(bench, (now() - t) / BURST * 1e6);
		MUST(cuStreamSynchronize(bench->stream));
	}
	row(bench, "launch", "us");
	for (int r = 0; r < 5; r++) {
		double t = now();
		for (int i = 0; i < sustained; i++)
			launch(bench);
		MUST(cuStreamSynchronize(bench->stream));
		sample(bench, (now() - t) / sustained * 1e6);
	}
	row(bench, "launch_sustained", "us");
	for (int r = 0; r < 31; r++) {
		double t = now();
		for (int i = 0; i < 20; i++) {
			launch(bench);
			MUST(cuStreamSynchronize(bench->stream));
		}
		sample(bench, (now() - t) / 20 * 1e6);
	}
	row(bench, "launch_sync", "us");
	for (int r = 0; r < 31; r++) {
		double t = now();
		for (int i = 0; i < 20; i++) {
			uint32_t word;
			launch(bench);
			MUST(cuMemcpyDtoHAsync_v2(&word, bench->memory, 4, bench->stream));
			MUST(cuStreamSynchronize(bench->stream));
		}
		sample(bench, (now() - t) / 20 * 1e6);
	}
	row(bench, "launch_result", "us");
}

static void big_copies(struct bench *bench, void *host, const char *kind)
{
	char name[64];
	for (int down = 0; down < 2; down++) {
		for (int r = 0; r < (bench->quick ? 3 : 7); r++) {
			double t = now();
			if (down)
				MUST(cuMemcpyDtoH_v2(host, bench->memory, bench->big));
			else
				MUST(cuMemcpyHtoD_v2(bench->memory, host, bench->big));
			MUST(cuCtxSynchronize());
			if (r) // the first one touches the memory
				sample(bench, (double)bench->big / (now() - t) * 1e-9);
		}
		snprintf(name, sizeof(name), "%s_%s", kind, down ? "d2h" : "h2d");
		row(bench, name, "GB/s");
	}
}

static void small_copies(struct bench *bench)
{
	static const size_t sizes[] = { 4, 1024, 16384 };
	static char host[16384];
	char name[64];
	for (int s = 0; s < 3; s++) {
		for (int down = 0; down < 2; down++) {
			for (int r = 0; r < 31; r++) {
				double t = now();
				for (int i = 0; i < 20; i++) {
					if (down)
						MUST(cuMemcpyDtoH_v2(host, bench->memory, sizes[s]));
					else
						MUST(cuMemcpyHtoD_v2(bench->memory, host, sizes[s]));
				}
				sample(bench, (now() - t) / 20 * 1e6);
				MUST(cuCtxSynchronize());
			}
			snprintf(name, sizeof(name), "copy_%zu_%s", sizes[s], down ? "d2h" : "h2d");
			row(bench, name, "us");
		}
	}
}

static void events(struct bench *bench)
{
	CUevent event;
	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	for (int r = 0; r < 15; r++) {
		double t = now();
		for (int i = 0; i < 100; i++)
			MUST(cuEventRecord(event, bench->stream));
		sample(bench, (now() - t) / 100 * 1e6);
		MUST(cuStreamSynchronize(bench->stream));
	}
	row(bench, "event_record", "us");
	for (int r = 0; r < 15; r++) {
		double t = now();
		for (int i = 0; i < 1000; i++)
			MUST(cuEventQuery(event));
		sample(bench, (now() - t) / 1000 * 1e6);
	}
	row(bench, "event_query", "us");
	MUST(cuEventDestroy_v2(event));
}

static void allocations(struct bench *bench)
{
	for (int r = 0; r < 15; r++) {
		double t = now();
		for (int i = 0; i < 10; i++) {
			CUdeviceptr ptr;
			MUST(cuMemAlloc_v2(&ptr, 4 * MIB));
			MUST(cuMemFree_v2(ptr));
		}
		sample(bench, (now() - t) / 10 * 1e6);
	}
	row(bench, "alloc_free_4mib", "us");
}

static void put(char *at, uint64_t value, int bytes)
{
	memcpy(at, &value, (size_t)bytes);
}

// An entry of a fat binary; bytes is a multiple of 8.
static char *put_entry(char *at, int kind, int sm, size_t bytes)
{
	put(at, (uint64_t)kind, 2);
	put(at + 2, 0x101, 2);
	put(at + 4, 64, 4);
	put(at + 8, bytes, 8);
	put(at + 0x1c, (uint64_t)sm, 4);
	put(at + 0x28, 0x11, 8);
	return at + 64 + bytes;
}

// A fat binary as large as those of libraries: one kernel's PTX behind code for a GPU that is not there. For
// our own cost of bringing it over (--image, backend null): NVIDIA's driver crashes on code that is none.
static void image_load(struct bench *bench)
{
	size_t ptx_bytes = (sizeof(empty_ptx) + 7) / 8 * 8, code_bytes = bench->quick ? 32 * MIB : 200 * MIB;
	size_t bytes = 16 + 64 + code_bytes + 64 + ptx_bytes;
	char *image = calloc(1, bytes), *at = image + 16;

	if (!image)
		exit(2);
	put(image, 0xba55ed50u, 4);
	put(image + 4, 1, 2);
	put(image + 6, 16, 2);
	put(image + 8, bytes - 16, 8);
	memset(at + 64, 0x5a, code_bytes);
	at = put_entry(at, 2, 37, code_bytes);
	put_entry(at, 1, 70, ptx_bytes);
	memcpy(at + 64, empty_ptx, sizeof(empty_ptx));
	for (int r = 0; r < (bench->quick ? 3 : 7); r++) {
		CUmodule module;
		CUfunction empty;
		double t = now();

		MUST(cuModuleLoadData(&module, image));
		MUST(cuModuleGetFunction(&empty, module, "empty"));
		sample(bench, (now() - t) * 1e3);
		MUST(cuModuleUnload(module));
	}
	row(bench, "load_image", "ms");
	free(image);
}

static void first_use(struct bench *bench)
{
	CUcontext context;
	double t = now();
	MUST(cuInit(0));
	MUST(cuDevicePrimaryCtxRetain(&context, 0));
	MUST(cuCtxSetCurrent(context));
	MUST(cuCtxSynchronize());
	sample(bench, (now() - t) * 1e3);
	row(bench, "first_use", "ms");
}

int main(int argc, char **argv)
{
	struct bench bench = { .big = 256 * MIB };
	CUmodule module;
	void *host;
	bool image = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			bench.quick = true;
			bench.big = 32 * MIB;
		} else if (!strcmp(argv[i], "--image")) {
			image = true;
		} else {
			fprintf(stderr, "usage: vgpu-bench-driver [--quick] [--image]\n");
			return 64;
		}
	}
	const char *error = driver_open();
	if (error) {
		fprintf(stderr, "no CUDA driver: %s\n", error);
		return 2;
	}
	first_use(&bench);
	MUST(cuModuleLoadData(&module, empty_ptx));
	MUST(cuModuleGetFunction(&bench.empty, module, "empty"));
	MUST(cuStreamCreate(&bench.stream, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc_v2(&bench.memory, bench.big));
	guest_calls(&bench);
	launches(&bench);
	events(&bench);
	allocations(&bench);
	small_copies(&bench);
	if (image)
		image_load(&bench);
	MUST(cuMemHostAlloc(&host, bench.big, 0));
	memset(host, 1, bench.big);
	big_copies(&bench, host, "pinned");
	MUST(cuMemFreeHost(host));
	host = malloc(bench.big);
	if (!host)
		return 2;
	memset(host, 1, bench.big);
	big_copies(&bench, host, "pageable");
	free(host);
	return 0;
}
