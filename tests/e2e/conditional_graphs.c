// SPDX-License-Identifier: Apache-2.0
//
// Conditional nodes: bodies that run if a condition says so, as long as it does, or the one that it chooses;
// made node by node and by capture, inside of one another, and what of such graphs is refused.
#include "tests/e2e/check.h"

static CUcontext context;
static CUfunction set_condition, set_from_word, count_down, add;
static CUdeviceptr words; // 16 of them

static CUdeviceptr word(unsigned i)
{
	return words + 4 * i;
}

static CUgraphNode kernel_node(CUgraph graph, CUgraphNode behind, CUfunction f, void *a, void *b)
{
	void *params[] = { a, b };
	CUDA_KERNEL_NODE_PARAMS p = { .func = f,
				      .gridDimX = 1,
				      .gridDimY = 1,
				      .gridDimZ = 1,
				      .blockDimX = 1,
				      .blockDimY = 1,
				      .blockDimZ = 1,
				      .kernelParams = params };
	CUgraphNode node;

	MUST(cuGraphAddKernelNode_v2(&node, graph, behind ? &behind : NULL, behind ? 1 : 0, &p));
	return node;
}

static CUgraphNode add_node(CUgraph graph, CUgraphNode behind, unsigned i, unsigned n)
{
	CUdeviceptr at = word(i);

	return kernel_node(graph, behind, add, &at, &n);
}

static CUgraphConditionalHandle condition(CUgraph graph, unsigned initial, unsigned flags)
{
	CUgraphConditionalHandle handle = 0;

	MUST(cuGraphConditionalHandleCreate(&handle, graph, context, initial, flags));
	return handle;
}

static CUgraphNode branch(CUgraph graph, CUgraphNode behind, CUgraphConditionalHandle handle, int type,
			  unsigned size, CUgraph *bodies)
{
	CUgraphNodeParams p = { .type = CU_GRAPH_NODE_TYPE_CONDITIONAL };
	CUgraphNode node;

	p.conditional =
	    (CUDA_CONDITIONAL_NODE_PARAMS){ .handle = handle, .type = type, .size = size, .ctx = context };
	MUST(cuGraphAddNode_v2(&node, graph, behind ? &behind : NULL, NULL, behind ? 1 : 0, &p));
	for (unsigned i = 0; i < size; i++)
		bodies[i] = p.conditional.phGraph_out[i];
	return node;
}

// There when it returns, for all streams.
static void write_words(unsigned first, unsigned n, const unsigned *values)
{
	MUST(cuMemcpyHtoD_v2(word(first), values, 4 * (size_t)n));
	MUST(cuStreamSynchronize(NULL));
}

static void expect(const char *what, unsigned i, unsigned want)
{
	unsigned got = 0;

	MUST(cuMemcpyDtoH_v2(&got, word(i), 4));
	CHECK(!check_computes() || got == want, "%s: word %u is %u, want %u", what, i, got, want);
}

static CUgraphExec instantiate(CUgraph graph)
{
	CUgraphExec exec;

	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	return exec;
}

static void run(CUgraphExec exec)
{
	MUST(cuGraphLaunch(exec, NULL));
	OK(cuStreamSynchronize(NULL));
}

static void clear(void)
{
	MUST(cuMemsetD32_v2(words, 0, 16));
}

// A word chooses between two bodies, at each launch anew.
static void if_else(void)
{
	CUdeviceptr chooser = word(0);
	CUgraphConditionalHandle c;
	CUgraph graph, bodies[2];
	CUgraphNode setter, node;
	CUgraphNodeType type;
	CUgraphExec exec;

	clear();
	MUST(cuGraphCreate(&graph, 0));
	c = condition(graph, 0, 0);
	setter = kernel_node(graph, NULL, set_from_word, &c, &chooser);
	node = branch(graph, setter, c, CU_GRAPH_COND_TYPE_IF, 2, bodies);
	add_node(bodies[0], NULL, 1, 1);
	add_node(bodies[1], NULL, 2, 10);
	add_node(graph, node, 3, 100);
	OK(cuGraphNodeGetType(node, &type));
	EQUAL(CU_GRAPH_NODE_TYPE_CONDITIONAL, type);
	exec = instantiate(graph);
	run(exec);
	expect("else", 1, 0);
	expect("else", 2, 10);
	expect("behind", 3, 100);
	write_words(0, 1, (unsigned[]){ 7 });
	run(exec);
	expect("if", 1, 1);
	expect("if", 2, 10);
	expect("behind", 3, 200);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

// The value that a condition has when nobody sets it.
static void initial_values(void)
{
	CUgraph graph, yes, no;
	CUgraphConditionalHandle c;
	CUgraphExec exec;

	clear();
	MUST(cuGraphCreate(&graph, 0));
	c = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
	branch(graph, NULL, c, CU_GRAPH_COND_TYPE_IF, 1, &yes);
	add_node(yes, NULL, 0, 1);
	c = condition(graph, 0, CU_GRAPH_COND_ASSIGN_DEFAULT);
	branch(graph, NULL, c, CU_GRAPH_COND_TYPE_IF, 1, &no);
	add_node(no, NULL, 1, 1);
	exec = instantiate(graph);
	MUST(cuGraphLaunch(exec, NULL));
	run(exec);
	expect("initially 1", 0, 2);
	expect("initially 0", 1, 0);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

// A loop whose body is captured: a kernel counts down and says whether it goes on.
static void loop(void)
{
	CUdeviceptr counter = word(0), sum = word(1);
	unsigned three = 3;
	CUgraphConditionalHandle c;
	CUgraph graph, body, same;
	CUstream stream;
	CUgraphExec exec;

	clear();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuGraphCreate(&graph, 0));
	c = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
	branch(graph, NULL, c, CU_GRAPH_COND_TYPE_WHILE, 1, &body);
	MUST(cuStreamBeginCaptureToGraph(stream, body, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
	LAUNCH(add, 1, 1, stream, &sum, &three);
	LAUNCH(count_down, 1, 1, stream, &c, &counter);
	OK(cuStreamEndCapture(stream, &same));
	EQUAL(1, same == body);
	exec = instantiate(graph);
	write_words(0, 2, (unsigned[]){ 10, 0 });
	MUST(cuGraphLaunch(exec, stream));
	OK(cuStreamSynchronize(stream));
	expect("ten rounds", 0, 0);
	expect("ten rounds", 1, 30);
	write_words(0, 2, (unsigned[]){ 1, 0 });
	MUST(cuGraphLaunch(exec, stream));
	OK(cuStreamSynchronize(stream));
	expect("one round", 1, 3);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuStreamDestroy_v2(stream));
}

// The driver before CUDA 12.8 has no such nodes.
static void choice(void)
{
	CUdeviceptr chooser = word(0);
	CUgraph graph, bodies[3];
	CUgraphConditionalHandle c;
	CUgraphNode setter;
	CUgraphExec exec;

	clear();
	MUST(cuGraphCreate(&graph, 0));
	c = condition(graph, 0, 0);
	setter = kernel_node(graph, NULL, set_from_word, &c, &chooser);
	branch(graph, setter, c, CU_GRAPH_COND_TYPE_SWITCH, 3, bodies);
	for (unsigned i = 0; i < 3; i++)
		add_node(bodies[i], NULL, 1 + i, 1);
	exec = instantiate(graph);
	for (unsigned i = 0; i < 4; i++) {
		write_words(0, 1, &i);
		run(exec);
	}
	for (unsigned i = 0; i < 3; i++)
		expect("chosen once", 1 + i, 1);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

// A loop that runs a copy, a set, a child graph and a loop of its own.
static void nested(void)
{
	CUdeviceptr outer_count = word(0), inner_count = word(1), five = word(2);
	CUgraphConditionalHandle outer, inner;
	CUgraph graph, body, inner_body, child;
	CUgraphNode node, copy, again;
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_DEVICE,
			    .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			    .srcDevice = five,
			    .dstDevice = inner_count,
			    .WidthInBytes = 4,
			    .Height = 1,
			    .Depth = 1 };
	CUDA_MEMSET_NODE_PARAMS set = {
		.dst = word(5), .value = 9, .elementSize = 4, .width = 1, .height = 1
	};
	CUgraphExec exec;

	clear();
	MUST(cuGraphCreate(&child, 0));
	add_node(child, NULL, 4, 1);
	MUST(cuGraphCreate(&graph, 0));
	outer = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
	branch(graph, NULL, outer, CU_GRAPH_COND_TYPE_WHILE, 1, &body);
	inner = condition(body, 0, 0);
	MUST(cuGraphAddMemcpyNode(&copy, body, NULL, 0, &c, context));
	node = kernel_node(body, copy, set_condition, &inner, &(unsigned){ 1 });
	node = branch(body, node, inner, CU_GRAPH_COND_TYPE_WHILE, 1, &inner_body);
	again = add_node(inner_body, NULL, 3, 1);
	kernel_node(inner_body, again, count_down, &inner, &inner_count);
	MUST(cuGraphAddChildGraphNode(&again, body, &node, 1, child));
	MUST(cuGraphAddMemsetNode(&node, body, &again, 1, &set, context));
	kernel_node(body, node, count_down, &outer, &outer_count);
	exec = instantiate(graph);
	write_words(0, 3, (unsigned[]){ 4, 0, 5 });
	run(exec);
	expect("outer loop", 0, 0);
	expect("inner loop", 3, 20);
	expect("child graph", 4, 4);
	expect("set", 5, 9);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuGraphDestroy(child));
}

static CUresult add_branch(CUgraph graph, CUgraphConditionalHandle handle, int type, unsigned size)
{
	CUgraphNodeParams p = { .type = CU_GRAPH_NODE_TYPE_CONDITIONAL };
	CUgraphNode node;

	p.conditional =
	    (CUDA_CONDITIONAL_NODE_PARAMS){ .handle = handle, .type = type, .size = size, .ctx = context };
	return cuGraphAddNode_v2(&node, graph, NULL, NULL, 0, &p);
}

#define REFUSED(call)                                                           \
	do {                                                                    \
		CUresult refused_with = (call);                                 \
		CHECK(refused_with, "%s is refused (%d)", #call, refused_with); \
	} while (0)

static void refused(void)
{
	CUgraphConditionalHandle c, none = 0x123456789abcdef;
	CUgraph graph, second, body, clone;
	CUgraphNode node, twice;
	CUgraphExec exec, more;

	clear();
	MUST(cuGraphCreate(&graph, 0));
	MUST(cuGraphCreate(&second, 0));
	REFUSED(cuGraphConditionalHandleCreate(NULL, graph, context, 0, 0));
	REFUSED(cuGraphConditionalHandleCreate(&c, graph, context, 0, 2));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuGraphConditionalHandleCreate(&c, graph, NULL, 0, 0));
	c = condition(graph, 0, CU_GRAPH_COND_ASSIGN_DEFAULT);
	REFUSED(cuGraphInstantiateWithFlags(&exec, graph, 0)); // a condition without a node
	REFUSED(add_branch(graph, c, CU_GRAPH_COND_TYPE_WHILE, 2));
	REFUSED(add_branch(graph, c, CU_GRAPH_COND_TYPE_IF, 0));
	REFUSED(add_branch(graph, c, 9, 1));
	REFUSED(add_branch(graph, none, CU_GRAPH_COND_TYPE_IF, 1));
	REFUSED(add_branch(second, c, CU_GRAPH_COND_TYPE_IF, 1)); // a graph that has no conditions
	twice = branch(graph, NULL, c, CU_GRAPH_COND_TYPE_IF, 1, &body);
	REFUSED(add_branch(graph, c, CU_GRAPH_COND_TYPE_IF, 1)); // it has its node
	MUST(cuGraphDestroyNode(twice));
	branch(graph, NULL, c, CU_GRAPH_COND_TYPE_IF, 1, &body); // and has none any more
	add_node(body, NULL, 0, 1);
	REFUSED(cuGraphClone(&clone, graph));
	REFUSED(cuGraphAddChildGraphNode(&node, second, NULL, 0, graph));
	REFUSED(cuGraphDestroy(body));
	exec = instantiate(graph);
	REFUSED(cuGraphInstantiateWithFlags(&more, graph, 0)); // one at a time
	run(exec);
	expect("not run", 0, 0);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	MUST(cuGraphDestroy(second));
}

// After its executable graph has gone, and with the changes made since, a graph is instantiated again.
static void again(void)
{
	CUgraphConditionalHandle c;
	CUgraph graph, body;
	CUgraphExec exec;
	CUgraphNode first;

	clear();
	MUST(cuGraphCreate(&graph, 0));
	c = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
	branch(graph, NULL, c, CU_GRAPH_COND_TYPE_IF, 1, &body);
	first = add_node(body, NULL, 0, 1);
	exec = instantiate(graph);
	run(exec);
	MUST(cuGraphExecDestroy(exec));
	add_node(body, first, 0, 10);
	exec = instantiate(graph);
	run(exec);
	expect("instantiated twice", 0, 12);
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

int main(void)
{
	int version = 0;
	CUmodule module;

	context = check_context();
	MUST(cuDriverGetVersion(&version));
	if (version < 12080)
		check_skip("conditional nodes of all kinds need CUDA 12.8");
	module = check_module("conditions.ptx");
	set_condition = check_function(module, "set_condition");
	set_from_word = check_function(module, "set_from_word");
	count_down = check_function(module, "count_down");
	add = check_function(module, "add");
	MUST(cuMemAlloc_v2(&words, 64));
	if_else();
	initial_values();
	loop();
	choice();
	nested();
	refused();
	again();
	MUST(cuMemFree_v2(words));
	MUST(cuModuleUnload(module));
	return check_done();
}
