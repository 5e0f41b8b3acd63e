// SPDX-License-Identifier: Apache-2.0
//
// Graphs made node by node: every kind of node, parameters read back and changed, clones, children, updates
// of what was instantiated, host functions and events inside.
#include <stdatomic.h>
#include <string.h>

#include "tests/e2e/check.h"

static CUfunction step;
static CUdeviceptr word;
static CUstream stream;

static uint32_t value(void)
{
	uint32_t v = 0;
	MUST(cuCtxSynchronize());
	MUST(cuMemcpyDtoH_v2(&v, word, 4));
	return v;
}

// The copy may still be under way when the call returns, and the graphs run in a stream that waits for none.
static void set(uint32_t v)
{
	MUST(cuMemcpyHtoD_v2(word, &v, 4));
	MUST(cuStreamSynchronize(NULL));
}

static CUDA_KERNEL_NODE_PARAMS kernel(void **params)
{
	return (CUDA_KERNEL_NODE_PARAMS){ .func = step,
					  .gridDimX = 1,
					  .gridDimY = 1,
					  .gridDimZ = 1,
					  .blockDimX = 32,
					  .blockDimY = 1,
					  .blockDimZ = 1,
					  .kernelParams = params };
}

static CUgraphNode add_step(CUgraph graph, const CUgraphNode *deps, size_t n, uint32_t what)
{
	void *params[] = { &word, &what };
	CUDA_KERNEL_NODE_PARAMS p = kernel(params);
	CUgraphNode node;

	MUST(cuGraphAddKernelNode_v2(&node, graph, deps, n, &p));
	return node;
}

static uint32_t run(CUgraph graph)
{
	CUgraphExec exec;

	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	MUST(cuGraphLaunch(exec, stream));
	MUST(cuStreamSynchronize(stream));
	MUST(cuGraphExecDestroy(exec));
	return value();
}

static void shape(void)
{
	CUgraphNode a, b, c, nodes[4] = { 0 };
	CUgraphNodeType type;
	CUgraph graph, clone;
	size_t n;

	OK(cuGraphCreate(&graph, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphCreate(&graph, 1));
	a = add_step(graph, NULL, 0, 1);
	b = add_step(graph, &a, 1, 2);
	c = add_step(graph, NULL, 0, 3);
	OK(cuGraphAddDependencies(graph, &b, &c, 1));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphAddDependencies(graph, &b, &c, 1));
	n = 4;
	OK(cuGraphGetNodes(graph, nodes, &n));
	EQUAL(3, n);
	CHECK(nodes[0] == a && nodes[2] == c, "nodes in order of creation");
	n = 0;
	OK(cuGraphGetRootNodes(graph, NULL, &n));
	EQUAL(1, n);
	n = 1;
	OK(cuGraphNodeGetDependencies(c, nodes, &n));
	CHECK(n == 1 && nodes[0] == b, "c stands behind b");
	OK(cuGraphNodeGetDependentNodes(a, nodes, &n));
	CHECK(n == 1 && nodes[0] == b, "b stands behind a");
	OK(cuGraphNodeGetType(a, &type));
	EQUAL(CU_GRAPH_NODE_TYPE_KERNEL, type);
	set(0);
	EQUAL((1 * 3 + 2) * 3 + 3, run(graph));
	OK(cuGraphClone(&clone, graph));
	OK(cuGraphNodeFindInClone(&nodes[0], b, clone));
	CHECK(nodes[0] != b, "the clone's node is another one");
	OK(cuGraphDestroyNode(nodes[0]));
	set(0);
	EQUAL((1 * 3 + 2) * 3 + 3, run(graph)); // the original is as it was
	OK(cuGraphDestroy(clone));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphDestroy(clone));
	// A cycle is found when the graph is to become executable.
	if (cuGraphAddDependencies(graph, &c, &a, 1) == CUDA_SUCCESS) {
		CUgraphExec exec;

		EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiateWithFlags(&exec, graph, 0));
	}
	OK(cuGraphDestroy(graph));
}

static void params(void)
{
	CUDA_KERNEL_NODE_PARAMS p = { 0 };
	CUDA_MEMSET_NODE_PARAMS m = { .dst = word, .elementSize = 4, .value = 9, .width = 1, .height = 1 },
				back;
	CUgraphNode a, b;
	uint32_t what;
	CUgraph graph;

	MUST(cuGraphCreate(&graph, 0));
	OK(cuGraphAddMemsetNode(&a, graph, NULL, 0, &m, NULL));
	b = add_step(graph, &a, 1, 4);
	OK(cuGraphKernelNodeGetParams_v2(b, &p));
	CHECK(p.func == step && p.gridDimX == 1 && p.blockDimX == 32, "the launch as it was given");
	memcpy(&what, p.kernelParams[1], sizeof(what));
	EQUAL(4, what);
	what = 6;
	p.kernelParams[1] = &what;
	OK(cuGraphKernelNodeSetParams_v2(b, &p));
	OK(cuGraphMemsetNodeGetParams(a, &back));
	EQUAL(9, back.value);
	back.value = 10;
	OK(cuGraphMemsetNodeSetParams(a, &back));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphMemsetNodeGetParams(b, &back));
	EQUAL(36, run(graph));
	MUST(cuGraphDestroy(graph));
}

static void children(void)
{
	CUgraph graph, child, inside;
	CUgraphNode first, middle, last;

	MUST(cuGraphCreate(&child, 0));
	first = add_step(child, NULL, 0, 1);
	add_step(child, &first, 1, 2);
	MUST(cuGraphCreate(&graph, 0));
	first = add_step(graph, NULL, 0, 5);
	OK(cuGraphAddChildGraphNode(&middle, graph, &first, 1, child));
	last = add_step(graph, &middle, 1, 7);
	CHECK(last != NULL, "a node behind a child");
	OK(cuGraphChildGraphNodeGetGraph(middle, &inside));
	CHECK(inside != child, "the child is a copy");
	OK(cuGraphDestroy(child));
	set(0);
	EQUAL(((5 * 3 + 1) * 3 + 2) * 3 + 7, run(graph));
	MUST(cuGraphDestroy(graph));
}

static void changes(void)
{
	CUgraphExecUpdateResultInfo info;
	CUgraph graph, other;
	CUgraphNode a, b;
	CUgraphExec exec;
	uint32_t what = 20;
	void *list[] = { &word, &what };
	CUDA_KERNEL_NODE_PARAMS p = kernel(list);
	unsigned int enabled = 9;

	MUST(cuGraphCreate(&graph, 0));
	a = add_step(graph, NULL, 0, 1);
	b = add_step(graph, &a, 1, 2);
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphExecKernelNodeSetParams_v2(exec, b, &p));
	set(0);
	MUST(cuGraphLaunch(exec, stream));
	EQUAL(23, value());
	OK(cuGraphNodeSetEnabled(exec, a, 0));
	OK(cuGraphNodeGetEnabled(exec, a, &enabled));
	EQUAL(0, enabled);
	set(0);
	MUST(cuGraphLaunch(exec, stream));
	EQUAL(20, value());
	OK(cuGraphNodeSetEnabled(exec, a, 1));
	// From a graph of the same shape.
	MUST(cuGraphCreate(&other, 0));
	a = add_step(other, NULL, 0, 3);
	add_step(other, &a, 1, 4);
	OK(cuGraphExecUpdate_v2(exec, other, &info));
	EQUAL(CU_GRAPH_EXEC_UPDATE_SUCCESS, info.result);
	set(0);
	MUST(cuGraphLaunch(exec, stream));
	EQUAL(13, value());
	add_step(other, NULL, 0, 5);
	EXPECT(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate_v2(exec, other, &info));
	EQUAL(CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, info.result);
	set(0);
	MUST(cuGraphLaunch(exec, stream));
	EQUAL(13, value());
	MUST(cuGraphDestroy(other));
	MUST(cuGraphDestroy(graph));
	OK(cuGraphExecDestroy(exec));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphLaunch(NULL, stream));
}

static atomic_int calls;

static void called(void *user)
{
	atomic_fetch_add(&calls, *(const int *)user);
}

static void host_and_events(void)
{
	static const int one = 1, ten = 10;
	CUDA_HOST_NODE_PARAMS h = { called, (void *)&one }, h2 = { called, (void *)&ten };
	CUgraphNode a, b, c;
	CUevent event;
	CUgraph graph;
	CUgraphExec exec;

	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	MUST(cuGraphCreate(&graph, 0));
	a = add_step(graph, NULL, 0, 1);
	OK(cuGraphAddHostNode(&b, graph, &a, 1, &h));
	OK(cuGraphAddEventRecordNode(&c, graph, &b, 1, event));
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	for (int i = 1; i <= 5; i++) {
		OK(cuGraphLaunch(exec, stream));
		OK(cuEventSynchronize(event)); // recorded by the launch, behind the function
		EQUAL(i, atomic_load(&calls));
	}
	OK(cuGraphExecHostNodeSetParams(exec, b, &h2));
	OK(cuGraphLaunch(exec, stream));
	OK(cuStreamSynchronize(stream));
	EQUAL(15, atomic_load(&calls));
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuEventDestroy_v2(event));
}

static void memory(void)
{
	CUDA_MEM_ALLOC_NODE_PARAMS p = { .bytesize = 1 << 20 };
	CUgraphNode alloc, fill, copy, done;
	CUDA_MEMSET_NODE_PARAMS m = { .elementSize = 4, .value = 77, .width = 64, .height = 1 };
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_DEVICE,
			    .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			    .WidthInBytes = 4,
			    .Height = 1,
			    .Depth = 1 };
	CUcontext ctx;
	CUgraph graph;

	p.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
	p.poolProps.locationType = CU_MEM_LOCATION_TYPE_DEVICE;
	MUST(cuGraphCreate(&graph, 0));
	OK(cuGraphAddMemAllocNode(&alloc, graph, NULL, 0, &p));
	CHECK(p.dptr != 0, "the address is known at once");
	m.dst = c.srcDevice = p.dptr;
	c.dstDevice = word;
	MUST(cuCtxGetCurrent(&ctx)); // of memory that is not there yet the driver cannot tell
	OK(cuGraphAddMemsetNode(&fill, graph, &alloc, 1, &m, ctx));
	OK(cuGraphAddMemcpyNode(&copy, graph, &fill, 1, &c, ctx));
	OK(cuGraphAddMemFreeNode(&done, graph, &copy, 1, p.dptr));
	EQUAL(77, run(graph));
	MUST(cuGraphDestroy(graph));
}

static int destroyed;

static void destroy(void *user)
{
	destroyed += *(const int *)user;
}

static void user_objects(void)
{
	static const int one = 1;
	CUuserObject object;
	CUgraph graph;

	MUST(cuGraphCreate(&graph, 0));
	OK(cuUserObjectCreate(&object, (void *)&one, destroy, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
	OK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
	EQUAL(0, destroyed);
	OK(cuGraphDestroy(graph));
	if (check_backend() != BACKEND_NATIVE) // there it may come later, on another thread
		EQUAL(1, destroyed);
}

// Longer than what may be in flight at once.
static void many_nodes(void)
{
	enum { N = 1500 };
	CUgraphNode last = NULL;
	uint32_t want = 0;
	CUgraph graph;

	MUST(cuGraphCreate(&graph, 0));
	for (uint32_t i = 0; i < N; i++) {
		last = add_step(graph, &last, last ? 1 : 0, i);
		want = want * 3 + i;
	}
	set(0);
	EQUAL(want, run(graph));
	MUST(cuGraphDestroy(graph));
}

int main(void)
{
	check_context();
	if (!check_computes())
		check_skip("this backend computes nothing");
	step = check_function(check_module("basic.ptx"), "step");
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	shape();
	params();
	children();
	changes();
	host_and_events();
	memory();
	user_objects();
	many_nodes();
	return check_done();
}
