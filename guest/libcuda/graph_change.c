// SPDX-License-Identifier: Apache-2.0
// Changing an executable graph: new parameters of a node, switching it off, an update from a graph of the
// same shape. What did not change does not travel. Runs in the guest program.
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"

// The node's new operation goes over; what is taken.
static CUresult set_node(struct vc_gexec *x, struct exec_node *n, struct vc_what *what)
{
	struct record_graph_set record = { .graph = vc_object_handle(VC_GEXEC, x),
					   .node = (uint32_t)(n - x->nodes),
					   .enabled = (uint32_t)n->enabled };
	CUresult result = CUDA_SUCCESS;

	if (what->opcode != n->what.opcode) // memory where an array was, or the other way round
		result = CUDA_ERROR_INVALID_VALUE;
	else if (what->opcode)
		result = (CUresult)vgpu_call_graph_set(vc_client, &record, what->body, what->bytes);
	if (result) {
		vc_what_done(what);
		return result;
	}
	vc_what_done(&n->what);
	n->what = *what;
	return CUDA_SUCCESS;
}

static CUresult enter_node(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, const void *params,
			   struct vc_gexec **x, struct exec_node **n)
{
	struct vc_context *ctx;
	CUresult result = params ? vc_graph_enter_context(&ctx) : vc_invalid();

	if (result)
		return result;
	*x = vc_gexec_find(exec);
	*n = *x ? vc_gexec_node(*x, node) : NULL;
	return *n && (*n)->what.type == type ? CUDA_SUCCESS : vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult set_result(struct vc_gexec *x, struct exec_node *n, CUresult result, struct vc_what *what)
{
	return vc_graph_leave(result ? result : set_node(x, n, what));
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
					   const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, p, &x, &n);

	return result ? result : set_result(x, n, vc_what_kernel(p, &n->what, &what), &what);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
					const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS wide = { 0 };

	if (p)
		memcpy(&wide, p, sizeof(*p));
	return cuGraphExecKernelNodeSetParams_v2(exec, node, p ? &wide : NULL);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *p,
					CUcontext ctx)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, p, &x, &n);

	(void)ctx;
	return result ? result : set_result(x, n, vc_what_copy3d(p, &what), &what);
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *p,
					CUcontext ctx)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, p, &x, &n);

	(void)ctx;
	return result ? result : set_result(x, n, vc_what_memset(p, &what), &what);
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS *p)
{
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_HOST, p, &x, &n);

	if (result)
		return result;
	if (!p->fn)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	n->what.host = *p;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphExecBatchMemOpNodeSetParams(CUgraphExec exec, CUgraphNode node,
					    const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, p, &x, &n);

	return result ? result
		      : set_result(x, n, vc_what_words(p->paramArray, p->count, p->flags, &what), &what);
}

static CUresult set_event(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, CUevent event)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, type, event, &x, &n);

	return result ? result : set_result(x, n, vc_what_event(type, event, &what), &what);
}

CUresult cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
	return set_event(exec, node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
	return set_event(exec, node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

CUresult cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *p)
{
	if (!p)
		return vc_invalid();
	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL: return cuGraphExecKernelNodeSetParams_v2(exec, node, &p->kernel);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return cuGraphExecMemcpyNodeSetParams(exec, node, &p->memcpy.copyParams, NULL);
	case CU_GRAPH_NODE_TYPE_MEMSET: return cuGraphExecMemsetNodeSetParams(exec, node, &p->memset, NULL);
	case CU_GRAPH_NODE_TYPE_HOST: return cuGraphExecHostNodeSetParams(exec, node, &p->host);
	case CU_GRAPH_NODE_TYPE_GRAPH: return cuGraphExecChildGraphNodeSetParams(exec, node, p->graph.graph);
	case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
		return cuGraphExecBatchMemOpNodeSetParams(exec, node, &p->memOp);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return set_event(exec, node, p->type, p->event);
	default: return CUDA_ERROR_NOT_SUPPORTED;
	}
}

CUresult cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int enabled)
{
	struct record_graph_set record = { .graph = (uint64_t)(uintptr_t)exec, .enabled = enabled != 0 };
	struct vc_context *ctx;
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = vc_graph_enter_context(&ctx);

	if (result)
		return result;
	x = vc_gexec_find(exec);
	n = x ? vc_gexec_node(x, node) : NULL;
	if (!n || n->what.type > CU_GRAPH_NODE_TYPE_MEMSET)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	record.node = (uint32_t)(n - x->nodes);
	result = (CUresult)vgpu_call_graph_set(vc_client, &record, NULL, 0);
	if (!result)
		n->enabled = (int)record.enabled;
	return vc_graph_leave(result);
}

CUresult cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int *enabled)
{
	struct vc_context *ctx;
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enabled ? vc_graph_enter_context(&ctx) : vc_invalid();

	if (result)
		return result;
	x = vc_gexec_find(exec);
	n = x ? vc_gexec_node(x, node) : NULL;
	if (!n || n->what.type > CU_GRAPH_NODE_TYPE_MEMSET)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	*enabled = (unsigned int)n->enabled;
	return vc_graph_leave(CUDA_SUCCESS);
}

// ---- updating from a graph

static int same_what(const struct vc_what *a, const struct vc_what *b)
{
	if (a->type == CU_GRAPH_NODE_TYPE_HOST)
		return a->host.fn == b->host.fn && a->host.userData == b->host.userData;
	return a->bytes == b->bytes && (!a->bytes || !memcmp(a->body, b->body, a->bytes));
}

static int same_edges(const struct graph_edge *a, const struct graph_edge *b, uint32_t n)
{
	return !n || !memcmp(a, b, n * sizeof(*a));
}

// nodes [first, first + flat's) of the executable graph take what the flat list says. Types first, then
// changes.
static CUresult update_nodes(struct vc_gexec *x, uint32_t first, const struct vc_flat *flat,
			     CUgraphExecUpdateResultInfo *info)
{
	static const struct vc_what empty = { .type = CU_GRAPH_NODE_TYPE_EMPTY };
	CUresult result = CUDA_SUCCESS;

	for (uint32_t i = 0; i < flat->n_nodes; i++) {
		const struct vc_what *to = flat->nodes[i].what ? flat->nodes[i].what : &empty;
		const struct vc_what *from = &x->nodes[first + i].what;

		if (to->type != CU_GRAPH_NODE_TYPE_CONDITIONAL && to->type == from->type)
			continue;
		if (to->type == from->type && same_what(to, from))
			continue; // another graph's conditions are others
		*info = (CUgraphExecUpdateResultInfo){
			.result = to->type == from->type ? CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED
							 : CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED,
			.errorNode = (CUgraphNode)(uintptr_t)flat->nodes[i].handle
		};
		return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	}
	for (uint32_t i = 0; !result && i < flat->n_nodes; i++) {
		struct exec_node *n = &x->nodes[first + i];
		struct vc_what what;

		if (!flat->nodes[i].what || same_what(flat->nodes[i].what, &n->what))
			continue;
		if (n->what.type == CU_GRAPH_NODE_TYPE_HOST)
			n->what.host = flat->nodes[i].what->host;
		else if (vc_what_copy(&what, flat->nodes[i].what))
			result = CUDA_ERROR_OUT_OF_MEMORY;
		else
			result = set_node(x, n, &what);
	}
	if (result)
		info->result = CU_GRAPH_EXEC_UPDATE_ERROR;
	return result;
}

static CUresult update(struct vc_gexec *x, struct vc_graph *g, CUgraphExecUpdateResultInfo *info)
{
	struct vc_flat flat;
	CUresult result = vc_flatten(g, &flat);

	if (result)
		return result;
	if (flat.n_nodes != x->n_nodes || flat.n_edges != x->n_edges ||
	    !same_edges(flat.edges, x->edges, x->n_edges)) {
		info->result = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
		result = CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	} else {
		result = update_nodes(x, 0, &flat, info);
	}
	vc_flat_done(&flat);
	return result;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
	struct vc_context *ctx;
	struct vc_graph *g;
	struct vc_gexec *x;
	CUresult result = info ? vc_graph_enter_context(&ctx) : vc_invalid();

	if (result)
		return result;
	*info = (CUgraphExecUpdateResultInfo){ .result = CU_GRAPH_EXEC_UPDATE_SUCCESS };
	x = vc_gexec_find(exec);
	g = vc_graph_find(graph);
	return vc_graph_leave(x && g ? update(x, g, info) : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node,
			   CUgraphExecUpdateResult *result)
{
	CUgraphExecUpdateResultInfo info = { .result = CU_GRAPH_EXEC_UPDATE_ERROR };
	CUresult r = cuGraphExecUpdate_v2(exec, graph, &info);

	if (result)
		*result = info.result;
	if (error_node)
		*error_node = info.errorNode;
	return r;
}

// A child graph's nodes follow its own empty one; the shape must be that of the child there.
CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph child)
{
	CUgraphExecUpdateResultInfo info = { 0 };
	struct vc_flat flat;
	struct exec_node *n;
	struct vc_gexec *x;
	struct vc_graph *g;
	uint32_t first;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_EMPTY, child, &x, &n);

	if (result)
		return result;
	g = vc_graph_find(child);
	first = (uint32_t)(n - x->nodes) + 1;
	if (!g)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	result = vc_flatten(g, &flat);
	if (result)
		return vc_graph_leave(result);
	if (flat.n_nodes >= x->n_nodes - first + 1 || x->nodes[first + flat.n_nodes].handle)
		result = CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	else
		result = update_nodes(x, first, &flat, &info);
	vc_flat_done(&flat);
	return vc_graph_leave(result);
}
