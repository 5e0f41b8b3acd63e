// SPDX-License-Identifier: Apache-2.0
//
// Attributes of streams: their defaults, what was set comes back and is copied, kernels that are captured
// carry what their stream has.
#include <string.h>

#include "tests/e2e/check.h"

enum { SYNC_UNSET = -1, SYNC_SPIN = 2 };

static CUstream made(int priority)
{
	CUstream s;

	MUST(cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, priority));
	return s;
}

static void defaults(void)
{
	CUlaunchAttributeValue v;
	CUstream s = made(0);

	memset(&v, 0x55, sizeof(v));
	OK(cuStreamGetAttribute(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &v));
	EQUAL(SYNC_UNSET, v.priority); // an int, like this one
	OK(cuStreamGetAttribute(s, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v));
	EQUAL(0, v.priority);
	OK(cuStreamGetAttribute(s, CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, &v));
	CHECK(v.words[0] == 0 && v.words[1] == 0, "no window");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamGetAttribute(s, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &v));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &v));
	MUST(cuStreamDestroy_v2(s));
}

static void set_and_copied(void)
{
	CUlaunchAttributeValue v = { .words = { SYNC_SPIN } }, got;
	CUstream s = made(0), t = made(0);

	OK(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &v));
	OK(cuStreamGetAttribute(s, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &got));
	EQUAL(SYNC_SPIN, got.priority);
	OK(cuStreamGetAttribute(t, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &got));
	EQUAL(SYNC_UNSET, got.priority);
	OK(cuStreamCopyAttributes(t, s));
	OK(cuStreamGetAttribute(t, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY, &got));
	EQUAL(SYNC_SPIN, got.priority);
	OK(cuStreamSynchronize(s));
	MUST(cuStreamDestroy_v2(s));
	MUST(cuStreamDestroy_v2(t));
}

// The node that a kernel becomes has the priority of the stream that it was captured from.
static void captured(CUmodule module)
{
	CUfunction empty = check_function(module, "empty");
	CUlaunchAttributeValue v = { .words = { 0 } };
	int least, greatest;
	CUgraphExec exec;
	CUgraphNode node;
	CUgraph graph;
	CUstream s;
	size_t n = 1;

	MUST(cuCtxGetStreamPriorityRange(&least, &greatest));
	s = made(greatest);
	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
	MUST(cuLaunchKernel(empty, 1, 1, 1, 1, 1, 1, 0, s, NULL, NULL));
	MUST(cuStreamEndCapture(s, &graph));
	MUST(cuGraphGetNodes(graph, &node, &n));
	OK(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &v));
	EQUAL(greatest, v.priority);
	OK(cuGraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY));
	OK(cuGraphLaunch(exec, s));
	OK(cuStreamSynchronize(s));
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuStreamDestroy_v2(s));
}

static void owners(CUcontext context)
{
	CUgreenCtx green = (CUgreenCtx)(uintptr_t)1;
	CUcontext ctx = NULL;
	CUstream s = made(0);

	OK(cuStreamGetCtx_v2(s, &ctx, &green));
	CHECK(ctx == context && !green, "the stream's context");
	MUST(cuStreamDestroy_v2(s));
}

int main(void)
{
	CUcontext context = check_context();

	defaults();
	set_and_copied();
	captured(check_module("basic.ptx"));
	owners(context);
	return check_done();
}
