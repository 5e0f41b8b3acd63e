// SPDX-License-Identifier: Apache-2.0
//
// Stream capture: what is captured does not run until the graph is launched; streams fork and join by events;
// copies read their memory at each launch; what a capture forbids, and how it ends when something went wrong.
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/check.h"

static CUfunction step;
static CUdeviceptr word;

static void do_step(CUstream stream, uint32_t what)
{
	LAUNCH(step, 1, 32, stream, &word, &what);
}

static uint32_t value(void)
{
	uint32_t v = 0;
	MUST(cuCtxSynchronize());
	MUST(cuMemcpyDtoH_v2(&v, word, 4));
	return v;
}

static void set(uint32_t v)
{
	MUST(cuMemcpyHtoD_v2(word, &v, 4));
	MUST(cuStreamSynchronize(NULL)); // the streams here wait for none
}

static size_t nodes_of(CUgraph graph)
{
	size_t n = 0;
	MUST(cuGraphGetNodes(graph, NULL, &n));
	return n;
}

static void kernels(CUstream s)
{
	CUstreamCaptureStatus status;
	const CUgraphNode *deps;
	CUgraph graph, seen = NULL;
	CUgraphExec exec;
	uint64_t id = 0;
	size_t n = 99;

	set(0);
	OK(cuStreamIsCapturing(s, &status));
	EQUAL(CU_STREAM_CAPTURE_STATUS_NONE, status);
	OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	OK(cuStreamIsCapturing(s, &status));
	EQUAL(CU_STREAM_CAPTURE_STATUS_ACTIVE, status);
	EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	do_step(s, 1);
	do_step(s, 2);
	MUST(cuMemsetD32Async(word, 7, 1, s));
	do_step(s, 3);
	OK(cuStreamGetCaptureInfo_v2(s, &status, &id, &seen, &deps, &n));
	EQUAL(CU_STREAM_CAPTURE_STATUS_ACTIVE, status);
	EQUAL(1, n);
	CHECK(id != 0, "the capture has an id");
	OK(cuStreamEndCapture(s, &graph));
	CHECK(seen == graph, "the graph was known while it was captured");
	EQUAL(4, nodes_of(graph));
	EQUAL(0, value());
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphLaunch(exec, s));
	OK(cuStreamSynchronize(s));
	EQUAL(24, value());
	for (int i = 0; i < 20; i++)
		MUST(cuGraphLaunch(exec, s));
	EQUAL(24, value());
	OK(cuGraphDestroy(graph));
	OK(cuGraphLaunch(exec, s)); // the graph's end is not the executable one's
	EQUAL(24, value());
	OK(cuGraphExecDestroy(exec));
}

// s2 does its part between two events of s1.
static void fork_and_join(CUstream s1, CUstream s2)
{
	CUevent fork, join;
	CUgraph graph;
	CUgraphExec exec;
	CUgraphNode from[8], to[8];
	size_t n = 8;

	MUST(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
	MUST(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
	set(0);
	MUST(cuStreamBeginCapture_v2(s1, CU_STREAM_CAPTURE_MODE_RELAXED));
	do_step(s1, 1);
	OK(cuEventRecord(fork, s1));
	OK(cuStreamWaitEvent(s2, fork, 0));
	do_step(s2, 2);
	OK(cuEventRecord(join, s2));
	OK(cuStreamWaitEvent(s1, join, 0));
	do_step(s1, 3);
	OK(cuStreamEndCapture(s1, &graph));
	OK(cuGraphGetEdges(graph, from, to, &n));
	EQUAL(3, n); // 1 -> 2, 1 -> 3, 2 -> 3: the stream's own order stays beside the event's
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphLaunch(exec, s1));
	EQUAL((1 * 3 + 2) * 3 + 3, value());
	OK(cuGraphExecDestroy(exec));
	OK(cuGraphDestroy(graph));

	MUST(cuStreamBeginCapture_v2(s1, CU_STREAM_CAPTURE_MODE_RELAXED));
	OK(cuEventRecord(fork, s1));
	OK(cuStreamWaitEvent(s2, fork, 0));
	do_step(s2, 2);
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(s1, &graph));
	OK(cuStreamSynchronize(s2)); // no longer part of a capture
	// Recorded outside again, the events are ordinary ones.
	OK(cuEventRecord(fork, s1));
	OK(cuEventSynchronize(fork));
	MUST(cuEventDestroy_v2(fork));
	MUST(cuEventDestroy_v2(join));
}

// A copy in a graph moves what is there when it runs, pageable memory included.
static void copies(CUstream s)
{
	enum { N = 5000 };
	// In whole pages of their own, but with one page in common.
	uint32_t *from = aligned_alloc(4096, 40960), *to = from + N;
	CUdeviceptr device;
	CUgraph graph;
	CUgraphExec exec;

	MUST(cuMemAlloc_v2(&device, N * sizeof(*from)));
	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	OK(cuMemcpyHtoDAsync_v2(device, from, N * sizeof(*from), s));
	OK(cuMemcpyDtoHAsync_v2(to, device, N * sizeof(*to), s));
	MUST(cuStreamEndCapture(s, &graph));
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	for (uint32_t round = 1; round <= 3; round++) {
		for (uint32_t i = 0; i < N; i++)
			from[i] = i * round;
		memset(to, 0, N * sizeof(*to));
		OK(cuGraphLaunch(exec, s));
		OK(cuStreamSynchronize(s));
		CHECK(!memcmp(from, to, N * sizeof(*to)), "round %u", round);
	}
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuMemFree_v2(device));
	free(from);
}

static void forbidden(CUstream s, CUstream blocking)
{
	CUevent event;
	CUstreamCaptureStatus status;
	CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
	CUdeviceptr p;
	CUgraph graph = NULL;

	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(s));
	OK(cuStreamIsCapturing(s, &status));
	EQUAL(CU_STREAM_CAPTURE_STATUS_INVALIDATED, status);
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &graph));
	CHECK(!graph, "no graph comes of an invalid capture");
	EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(s, &graph));

	// Nobody can wait for an event that stands for captured work.
	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	OK(cuEventRecord(event, s));
	EXPECT(CUDA_ERROR_CAPTURED_EVENT, cuEventSynchronize(event));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &graph));
	MUST(cuEventDestroy_v2(event));

	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
	OK(cuThreadExchangeStreamCaptureMode(&mode)); // as PyTorch does around cudaMalloc
	OK(cuMemAlloc_v2(&p, 4096));
	OK(cuThreadExchangeStreamCaptureMode(&mode));
	EQUAL(CU_STREAM_CAPTURE_MODE_RELAXED, mode);
	OK(cuStreamEndCapture(s, &graph));
	MUST(cuGraphDestroy(graph));
	MUST(cuMemFree_v2(p));

	// The legacy stream would have to wait for a blocking stream that captures.
	MUST(cuStreamBeginCapture_v2(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuMemsetD32Async(word, 1, 1, NULL));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(blocking, &graph));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
	       cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_RELAXED));
}

// Work added to a graph in the middle of a capture becomes what the stream goes on from.
static void by_hand(CUstream s)
{
	uint32_t what = 5;
	void *params[] = { &word, &what };
	CUDA_KERNEL_NODE_PARAMS p = { .func = step,
				      .gridDimX = 1,
				      .gridDimY = 1,
				      .gridDimZ = 1,
				      .blockDimX = 32,
				      .blockDimY = 1,
				      .blockDimZ = 1,
				      .kernelParams = params };
	CUstreamCaptureStatus status;
	const CUgraphNode *deps;
	CUgraphNode node;
	CUgraph graph;
	CUgraphExec exec;
	uint64_t id;
	size_t n;

	set(0);
	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	do_step(s, 1);
	MUST(cuStreamGetCaptureInfo_v2(s, &status, &id, &graph, &deps, &n));
	OK(cuGraphAddKernelNode_v2(&node, graph, deps, n, &p));
	OK(cuStreamUpdateCaptureDependencies(s, &node, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
	do_step(s, 2);
	MUST(cuStreamEndCapture(s, &graph));
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphLaunch(exec, s));
	EQUAL((1 * 3 + 5) * 3 + 2, value());
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

int main(void)
{
	CUstream s1, s2, blocking;

	check_context();
	if (!check_computes())
		check_skip("this backend computes nothing");
	step = check_function(check_module("basic.ptx"), "step");
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuStreamCreate(&s1, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&s2, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
	kernels(s1);
	kernels(blocking);
	fork_and_join(s1, s2);
	copies(s1);
	forbidden(s1, blocking);
	by_hand(s1);
	return check_done();
}
