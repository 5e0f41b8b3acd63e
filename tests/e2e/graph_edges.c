// SPDX-License-Identifier: Apache-2.0
//
// Edges that are more than "after it is done": which may be made, what tells of them, and that a graph with
// one does its work.
#include <string.h>

#include "tests/e2e/check.h"

static CUfunction step;
static CUdeviceptr word;

static const CUgraphEdgeData programmatic = { .from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
					      .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC };

static CUgraphNode add_kernel(CUgraph graph, uint32_t value)
{
	void *params[] = { &word, &value };
	CUDA_KERNEL_NODE_PARAMS p = { .func = step,
				      .gridDimX = 1,
				      .gridDimY = 1,
				      .gridDimZ = 1,
				      .blockDimX = 32,
				      .blockDimY = 1,
				      .blockDimZ = 1,
				      .kernelParams = params };
	CUgraphNode node;

	MUST(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &p));
	return node;
}

static void questions(void)
{
	CUgraphEdgeData data[4], full = { 0 };
	CUgraphNode a, b, c, from[4], to[4];
	CUgraph graph;
	size_t n = 4;

	MUST(cuGraphCreate(&graph, 0));
	a = add_kernel(graph, 1);
	b = add_kernel(graph, 2);
	MUST(cuGraphAddEmptyNode(&c, graph, NULL, 0));
	OK(cuGraphAddDependencies_v2(graph, &a, &b, &programmatic, 1));
	OK(cuGraphAddDependencies_v2(graph, &b, &c, &full, 1));
	OK(cuGraphGetEdges_v2(graph, from, to, data, &n));
	EQUAL(2, n);
	for (size_t i = 0; i < n; i++) {
		int special = from[i] == a;

		EQUAL(special ? CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC : 0, data[i].from_port);
		EQUAL(special ? CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC : 0, data[i].type);
	}
	n = 4;
	EXPECT(CUDA_ERROR_LOSSY_QUERY, cuGraphGetEdges_v2(graph, from, to, NULL, &n));
	n = 4;
	EXPECT(CUDA_ERROR_LOSSY_QUERY, cuGraphNodeGetDependencies_v2(b, from, NULL, &n));
	n = 4;
	OK(cuGraphNodeGetDependencies_v2(c, from, NULL, &n));
	EQUAL(1, n);
	OK(cuGraphRemoveDependencies_v2(graph, &a, &b, &programmatic, 1));
	n = 0;
	OK(cuGraphGetEdges_v2(graph, NULL, NULL, NULL, &n));
	EQUAL(1, n);
	MUST(cuGraphDestroy(graph));
}

static void refused(void)
{
	CUgraphEdgeData bad = programmatic;
	CUgraphNode a, b, c;
	CUgraph graph;

	MUST(cuGraphCreate(&graph, 0));
	a = add_kernel(graph, 1);
	b = add_kernel(graph, 2);
	MUST(cuGraphAddEmptyNode(&c, graph, NULL, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphAddDependencies_v2(graph, &c, &b, &programmatic, 1));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphAddDependencies_v2(graph, &a, &c, &programmatic, 1));
	bad.type = 9;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphAddDependencies_v2(graph, &a, &b, &bad, 1));
	bad = programmatic;
	bad.reserved[2] = 1;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphAddDependencies_v2(graph, &a, &b, &bad, 1));
	MUST(cuGraphDestroy(graph));
}

// The kernels do not make use of the early start, and the second runs behind the first all the same: where it
// may begin early it waits itself, or the first one's end lets it go.
static void launched(void)
{
	int major = 0;
	uint32_t v = 0;
	CUgraphNode a, b;
	CUgraphExec exec;
	CUgraph graph;
	CUstream s;

	MUST(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
	if (major < 9)
		return; // programmatic launches came with compute capability 9.0
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuGraphCreate(&graph, 0));
	a = add_kernel(graph, 1);
	b = add_kernel(graph, 2);
	MUST(cuGraphAddDependencies_v2(graph, &a, &b, &programmatic, 1));
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphLaunch(exec, s));
	OK(cuGraphLaunch(exec, s));
	OK(cuStreamSynchronize(s));
	MUST(cuMemcpyDtoH_v2(&v, word, 4));
	CHECK(v != 0, "the kernels ran: %u", v);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuStreamDestroy_v2(s));
}

int main(void)
{
	check_context();
	step = check_function(check_module("basic.ptx"), "step");
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32_v2(word, 0, 1));
	MUST(cuStreamSynchronize(NULL)); // streams that wait for none come next
	questions();
	refused();
	if (check_computes())
		launched();
	return check_done();
}
