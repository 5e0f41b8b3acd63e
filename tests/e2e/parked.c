// SPDX-License-Identifier: Apache-2.0
//
// parked MIB ROUNDS PAUSE_MS: a tenant that holds MIB of device memory of several kinds, works for a moment,
// checks all of it, and is idle for PAUSE_MS, ROUNDS times. On a crowded device its memory goes to the host's
// meanwhile and comes back: addresses, contents, access and graphs must be as they were. Prints "right" in
// the end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/check.h"

#define PIECE (2 * MIB)

static const CUmemAllocationProp pinned = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					    .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
static const CUmemAccessDesc access_all = { .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 },
					    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };

static CUfunction step;
static CUstream stream;
static uint32_t seed;

// What there is of one kind of memory: a word at its end is counted by kernels, the rest is a pattern.
struct place {
	const char *what;
	CUdeviceptr at;
	size_t bytes;
	CUdeviceptr elsewhere; // the same memory; 0: it has one address
	uint32_t count;
};

static struct place places[8];
static unsigned n_places;

static void add(const char *what, CUdeviceptr at, CUdeviceptr elsewhere, size_t bytes)
{
	void *bytes_of = malloc(bytes);

	pattern_fill(bytes_of, bytes, seed + n_places);
	memset((char *)bytes_of + bytes - 4, 0, 4);
	MUST(cuMemcpyHtoD_v2(at, bytes_of, bytes));
	free(bytes_of);
	places[n_places++] = (struct place){ what, at, bytes, elsewhere, 0 };
}

static void allocate(size_t bytes)
{
	CUmemGenericAllocationHandle handle;
	CUdeviceptr p, base;

	MUST(cuMemAlloc_v2(&p, 5000));
	add("a small allocation", p, 0, 5000);
	MUST(cuMemAlloc_v2(&p, 70000));
	add("another small one", p, 0, 70000);
	MUST(cuMemAlloc_v2(&p, bytes - 6 * PIECE));
	add("a large allocation", p, 0, bytes - 6 * PIECE);
	MUST(cuMemAddressReserve(&base, 8 * PIECE, 0, 0, 0));
	MUST(cuMemCreate(&handle, 2 * PIECE, &pinned, 0));
	MUST(cuMemMap(base, 2 * PIECE, 0, handle, 0));
	MUST(cuMemMap(base + 4 * PIECE, 2 * PIECE, 0, handle, 0));
	MUST(cuMemSetAccess(base, 2 * PIECE, &access_all, 1));
	MUST(cuMemSetAccess(base + 4 * PIECE, 2 * PIECE, &access_all, 1));
	MUST(cuMemRelease(handle)); // the mappings keep it
	add("memory that is mapped twice", base, base + 4 * PIECE, 2 * PIECE);
	MUST(cuMemCreate(&handle, PIECE, &pinned, 0));
	MUST(cuMemMap(base + 2 * PIECE, PIECE, 0, handle, 0));
	MUST(cuMemSetAccess(base + 2 * PIECE, PIECE, &access_all, 1));
	add("memory that has a handle", base + 2 * PIECE, 0, PIECE);
}

// One kernel for each place, and copies to memory that is nobody's.
static CUgraphExec make_graph(CUdeviceptr scratch)
{
	CUgraphExec exec;
	CUgraph graph;
	uint32_t add_one = 1;

	MUST(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
	for (unsigned i = 0; i < n_places; i++) {
		CUdeviceptr word = places[i].at + places[i].bytes - 4;

		LAUNCH(step, 1, 1, stream, &word, &add_one);
	}
	MUST(cuMemcpyDtoDAsync_v2(scratch, places[0].at, places[0].bytes, stream));
	MUST(cuMemcpyDtoDAsync_v2(scratch + 8192, places[3].at, 8192, stream));
	MUST(cuStreamEndCapture(stream, &graph));
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	MUST(cuGraphDestroy(graph));
	return exec;
}

static bool check(struct place *p, CUdeviceptr at, unsigned i)
{
	char *got = calloc(1, p->bytes);
	uint32_t count;
	bool right;

	MUST(cuMemcpyDtoH_v2(got, at, p->bytes));
	memcpy(&count, got + p->bytes - 4, 4);
	right = count == p->count;
	if (!right)
		printf("%s: counted %u, expected %u\n", p->what, count, p->count);
	right = pattern_check(got, p->bytes - 4, seed + i, p->what) && right;
	free(got);
	return right;
}

static bool round_is_right(CUgraphExec exec, CUdeviceptr scratch)
{
	bool right = true;

	for (int launch = 0; launch < 2; launch++) {
		MUST(cuGraphLaunch(exec, stream));
		for (unsigned i = 0; i < n_places; i++)
			places[i].count = places[i].count * 3 + 1;
	}
	// A copy that is still on its way when the program goes idle.
	MUST(cuMemcpyDtoDAsync_v2(scratch + 16384, places[2].at, 8192, stream));
	if (!check_computes())
		return true;
	MUST(cuStreamSynchronize(stream));
	for (unsigned i = 0; i < n_places; i++) {
		right = check(&places[i], places[i].at, i) && right;
		if (places[i].elsewhere)
			right = check(&places[i], places[i].elsewhere, i) && right;
		if (!right) {
			printf("wrong: %s\n", places[i].what);
			return false;
		}
	}
	return right;
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 32;
	int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
	int pause_ms = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
	CUdeviceptr scratch;
	CUgraphExec exec;

	check_context();
	seed = (uint32_t)(seconds_now() * 1e6);
	step = check_function(check_module("basic.ptx"), "step");
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	allocate(mib * MIB);
	MUST(cuMemAlloc_v2(&scratch, 32768));
	exec = make_graph(scratch);
	for (int i = 0; i < rounds; i++) {
		double since = seconds_now();

		if (!round_is_right(exec, scratch))
			return 4;
		printf("round %d: %.3f s\n", i, seconds_now() - since);
		if (i == 0)
			puts("ready");
		fflush(stdout);
		sleep_ms(pause_ms);
	}
	puts("right");
	return 0;
}
