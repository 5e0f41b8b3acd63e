// SPDX-License-Identifier: Apache-2.0
// The calls that make graphs and look at their shape. Runs in the guest program.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/libcuda/condition.h"

CUresult cuGraphCreate(CUgraph *ret, unsigned int flags)
{
	CUresult result = vc_graph_enter();
	struct vc_graph *g;

	if (result)
		return result;
	if (!ret || flags)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	g = vc_graph_new();
	if (g)
		*ret = vc_graph_handle(g);
	return vc_graph_leave(g ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

CUresult cuGraphDestroy(CUgraph handle)
{
	struct vc_graph *g;
	CUresult result = vc_graph_enter_graph(handle, &g);

	if (result)
		return result;
	if (g->inside || g->body_of)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	vc_graph_free(g);
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphClone(CUgraph *ret, CUgraph original)
{
	struct vc_graph *g, *clone;
	CUresult result = ret ? vc_graph_enter_graph(original, &g) : vc_invalid();

	if (result)
		return result;
	if (vc_graph_branches(g))
		return vc_graph_leave(CUDA_ERROR_NOT_SUPPORTED);
	clone = vc_graph_clone(g);
	if (clone)
		*ret = vc_graph_handle(clone);
	return vc_graph_leave(clone ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

// ---- adding nodes

// The graphs that a new node has are told in its parameters.
static void tell_graphs(const struct vc_gnode *node, CUgraphNodeParams *p)
{
	if (node->what.child)
		p->graph.graph = vc_graph_handle(node->what.child);
	if (node->what.branch)
		p->conditional.phGraph_out = node->what.branch->handles;
}

// Adds what was made (result 0) or refused; the lock is given back.
static CUresult add(CUgraphNode *ret, struct vc_graph *g, const CUgraphNode *deps,
		    const CUgraphEdgeData *data, size_t n, CUresult result, struct vc_what *what,
		    CUgraphNodeParams *p)
{
	struct vc_edges behind = { 0 };
	struct vc_gnode *node;

	if (!ret || (n && !deps))
		result = result ? result : CUDA_ERROR_INVALID_VALUE;
	if (!result && !vc_body_takes(g, what->type))
		result = CUDA_ERROR_NOT_SUPPORTED;
	for (size_t i = 0; !result && i < n; i++) {
		struct vc_gnode *on = vc_gnode_find(deps[i]);

		if (!on || on->graph != g || !vc_edge_valid(on, what->type, data ? &data[i] : NULL))
			result = CUDA_ERROR_INVALID_VALUE;
		else if (vc_edges_add(&behind, on, data ? &data[i] : NULL))
			result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (result)
		vc_what_done(what);
	else
		result = vc_gnode_new(g, what, behind.list, behind.n, &node);
	vc_edges_done(&behind);
	if (!result) {
		*ret = vc_gnode_handle(node);
		tell_graphs(node, p);
	}
	return vc_graph_leave(result);
}

// The memory that a free node names goes with the graph from here on.
static CUresult claim_memory(struct vc_graph *g, CUdeviceptr address)
{
	struct vc_gnode *node;

	TAILQ_FOREACH (node, &g->nodes, next)
		if (node->what.memory && node->what.memory->address == address) {
			node->what.memory->freed_in_graph = 1;
			return CUDA_SUCCESS;
		}
	return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphAddNode_v2(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps,
			   const CUgraphEdgeData *data, size_t n, CUgraphNodeParams *p)
{
	struct vc_what what = { 0 };
	struct vc_graph *g;
	CUresult result = p ? vc_graph_enter_graph(graph, &g) : vc_invalid();

	if (result)
		return result;
	result = p->type == CU_GRAPH_NODE_TYPE_CONDITIONAL ? vc_what_condition(g, &p->conditional, &what)
							   : vc_what_any(p, NULL, &what);
	if (!result && p->type == CU_GRAPH_NODE_TYPE_MEM_FREE)
		result = claim_memory(g, p->free);
	return add(ret, g, deps, data, n, result, &what, p);
}

CUresult cuGraphAddNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
			CUgraphNodeParams *p)
{
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, p);
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
				 const CUDA_KERNEL_NODE_PARAMS *p)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_KERNEL };

	if (!p)
		return vc_invalid();
	any.kernel = *p;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddKernelNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
			      const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS wide = { 0 };

	if (p)
		memcpy(&wide, p, sizeof(*p));
	return cuGraphAddKernelNode_v2(ret, graph, deps, n, p ? &wide : NULL);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
			      const CUDA_MEMCPY3D *p, CUcontext ctx)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_MEMCPY };

	if (!p)
		return vc_invalid();
	any.memcpy.copyCtx = ctx;
	any.memcpy.copyParams = *p;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddMemsetNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
			      const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_MEMSET };

	(void)ctx;
	if (!p)
		return vc_invalid();
	any.memset = *p;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddHostNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
			    const CUDA_HOST_NODE_PARAMS *p)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_HOST };

	if (!p)
		return vc_invalid();
	any.host = *p;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddChildGraphNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
				  CUgraph child)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_GRAPH };

	any.graph.graph = child;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddEmptyNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_EMPTY };

	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddEventRecordNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
				   CUevent event)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_EVENT_RECORD };

	any.event = event;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddEventWaitNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
				 CUevent event)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_WAIT_EVENT };

	any.event = event;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddBatchMemOpNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
				  const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP };

	if (!p)
		return vc_invalid();
	any.memOp = *p;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphAddMemAllocNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
				CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC };
	CUresult result;

	if (!p)
		return vc_invalid();
	any.alloc = *p;
	result = cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
	if (!result)
		p->dptr = any.alloc.dptr;
	return result;
}

CUresult cuGraphAddMemFreeNode(CUgraphNode *ret, CUgraph graph, const CUgraphNode *deps, size_t n,
			       CUdeviceptr address)
{
	CUgraphNodeParams any = { .type = CU_GRAPH_NODE_TYPE_MEM_FREE };

	any.free = address;
	return cuGraphAddNode_v2(ret, graph, deps, NULL, n, &any);
}

CUresult cuGraphDestroyNode(CUgraphNode handle)
{
	struct vc_gnode *node;
	CUresult result = vc_graph_enter_node(handle, &node);

	if (result)
		return result;
	if (node->graph->inside)
		return vc_graph_leave(CUDA_ERROR_NOT_PERMITTED);
	vc_gnode_free(node);
	return vc_graph_leave(CUDA_SUCCESS);
}

// ---- looking

CUresult cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType *type)
{
	struct vc_gnode *node;
	CUresult result = type ? vc_graph_enter_node(handle, &node) : vc_invalid();

	if (result)
		return result;
	*type = node->what.type;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode handle, CUgraph *graph)
{
	struct vc_gnode *node;
	CUresult result = graph ? vc_graph_enter_node(handle, &node) : vc_invalid();

	if (result)
		return result;
	if (!node->what.child)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	*graph = vc_graph_handle(node->what.child);
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphNodeFindInClone(CUgraphNode *ret, CUgraphNode original, CUgraph clone)
{
	struct vc_graph *g;
	struct vc_gnode *node;
	CUresult result = ret ? vc_graph_enter_graph(clone, &g) : vc_invalid();

	if (result)
		return result;
	TAILQ_FOREACH (node, &g->nodes, next)
		if (node->origin == (uint64_t)(uintptr_t)original) {
			*ret = vc_gnode_handle(node);
			return vc_graph_leave(CUDA_SUCCESS);
		}
	return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
}

// Lists are asked for twice: without room for how many there are, then with room, which the answer fills up
// with NULL.
struct answer {
	CUgraphNode *nodes;
	CUgraphEdgeData *data;
	size_t room, n;
	int loses; // an edge was more than a full dependency, and nobody asked for its data
};

static void put(struct answer *a, const struct vc_gnode *node, const CUgraphEdgeData *data)
{
	if (a->nodes && a->n < a->room) {
		a->nodes[a->n] = vc_gnode_handle(node);
		if (a->data)
			a->data[a->n] = *data;
		else if (data && vc_edge_special(data))
			a->loses = 1;
	}
	a->n++;
}

static CUresult answer(struct answer *a, size_t *count)
{
	size_t filled = a->n < a->room ? a->n : a->room;

	if (!a->nodes) {
		*count = a->n;
		return vc_graph_leave(CUDA_SUCCESS);
	}
	if (a->loses)
		return vc_graph_leave(CUDA_ERROR_LOSSY_QUERY);
	for (size_t i = filled; i < a->room; i++)
		a->nodes[i] = NULL;
	*count = filled;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
	struct vc_gnode *node;
	struct vc_graph *g;
	CUresult result = count ? vc_graph_enter_graph(graph, &g) : vc_invalid();
	struct answer a = { nodes, NULL, count ? *count : 0, 0, 0 };

	if (result)
		return result;
	TAILQ_FOREACH (node, &g->nodes, next)
		put(&a, node, NULL);
	return answer(&a, count);
}

CUresult cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
	struct vc_gnode *node;
	struct vc_graph *g;
	CUresult result = count ? vc_graph_enter_graph(graph, &g) : vc_invalid();
	struct answer a = { nodes, NULL, count ? *count : 0, 0, 0 };

	if (result)
		return result;
	TAILQ_FOREACH (node, &g->nodes, next)
		if (!node->behind.n)
			put(&a, node, NULL);
	return answer(&a, count);
}

CUresult cuGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data,
			    size_t *count)
{
	struct vc_gnode *node;
	struct vc_graph *g;
	CUresult result = count && !from == !to ? vc_graph_enter_graph(graph, &g) : vc_invalid();
	struct answer a = { from, data, count ? *count : 0, 0, 0 },
		      b = { to, NULL, count ? *count : 0, 0, 0 };

	if (result)
		return result;
	TAILQ_FOREACH (node, &g->nodes, next)
		for (uint32_t i = 0; i < node->behind.n; i++) {
			put(&a, node->behind.list[i].node, &node->behind.list[i].data);
			put(&b, node, NULL);
		}
	for (size_t i = b.n; to && i < b.room; i++)
		to[i] = NULL;
	return answer(&a, count);
}

CUresult cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count)
{
	return cuGraphGetEdges_v2(graph, from, to, NULL, count);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode handle, CUgraphNode *nodes, CUgraphEdgeData *data,
				       size_t *count)
{
	struct vc_gnode *node;
	CUresult result = count ? vc_graph_enter_node(handle, &node) : vc_invalid();
	struct answer a = { nodes, data, count ? *count : 0, 0, 0 };

	if (result)
		return result;
	for (uint32_t i = 0; i < node->behind.n; i++)
		put(&a, node->behind.list[i].node, &node->behind.list[i].data);
	return answer(&a, count);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
	return cuGraphNodeGetDependencies_v2(node, nodes, NULL, count);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode handle, CUgraphNode *nodes, CUgraphEdgeData *data,
					 size_t *count)
{
	struct vc_gnode *node, *other;
	CUresult result = count ? vc_graph_enter_node(handle, &node) : vc_invalid();
	struct answer a = { nodes, data, count ? *count : 0, 0, 0 };

	if (result)
		return result;
	TAILQ_FOREACH (other, &node->graph->nodes, next)
		for (uint32_t i = 0; i < other->behind.n; i++)
			if (other->behind.list[i].node == node)
				put(&a, other, &other->behind.list[i].data);
	return answer(&a, count);
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
	return cuGraphNodeGetDependentNodes_v2(node, nodes, NULL, count);
}

// ---- edges

static struct vc_edge *edge_find(struct vc_gnode *to, const struct vc_gnode *from)
{
	for (uint32_t i = 0; i < to->behind.n; i++)
		if (to->behind.list[i].node == from)
			return &to->behind.list[i];
	return NULL;
}

// adding: every edge must be new; else every one must be there. Nothing changes unless all are right.
static CUresult check_edges(const struct vc_graph *g, const CUgraphNode *from, const CUgraphNode *to,
			    const CUgraphEdgeData *data, size_t n, int adding)
{
	if (n && (!from || !to))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < n; i++) {
		struct vc_gnode *a = vc_gnode_find(from[i]), *b = vc_gnode_find(to[i]);

		if (!a || !b || a == b || a->graph != g || b->graph != g ||
		    (edge_find(b, a) == NULL) != (adding != 0))
			return CUDA_ERROR_INVALID_VALUE;
		if (adding && !vc_edge_valid(a, b->what.type, data ? &data[i] : NULL))
			return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
				   const CUgraphEdgeData *data, size_t n)
{
	struct vc_graph *g;
	CUresult result = vc_graph_enter_graph(graph, &g);

	if (result)
		return result;
	result = check_edges(g, from, to, data, n, 1);
	for (size_t i = 0; !result && i < n; i++)
		if (vc_edges_add(&vc_gnode_find(to[i])->behind, vc_gnode_find(from[i]),
				 data ? &data[i] : NULL))
			result = CUDA_ERROR_OUT_OF_MEMORY;
	return vc_graph_leave(result);
}

CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t n)
{
	return cuGraphAddDependencies_v2(graph, from, to, NULL, n);
}

CUresult cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
				      const CUgraphEdgeData *data, size_t n)
{
	struct vc_graph *g;
	CUresult result = vc_graph_enter_graph(graph, &g);

	if (result)
		return result;
	result = check_edges(g, from, to, data, n, 0);
	for (size_t i = 0; !result && i < n; i++) {
		struct vc_gnode *node = vc_gnode_find(to[i]);
		struct vc_edge *e = edge_find(node, vc_gnode_find(from[i]));

		if (e)
			*e = node->behind.list[--node->behind.n];
	}
	return vc_graph_leave(result);
}

CUresult cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t n)
{
	return cuGraphRemoveDependencies_v2(graph, from, to, NULL, n);
}

// ---- a picture

static const char *const type_names[] = { "kernel",    "memcpy",     "memset",	     "host",	   "graph",
					  "empty",     "wait event", "event record", "",	   "",
					  "mem alloc", "mem free",   "batch mem op", "conditional" };

CUresult cuGraphDebugDotPrint(CUgraph graph, const char *path, unsigned int flags)
{
	struct vc_gnode *node;
	struct vc_graph *g;
	CUresult result = path ? vc_graph_enter_graph(graph, &g) : vc_invalid();
	FILE *f;

	(void)flags; // how much detail: there is one kind of picture
	if (result)
		return result;
	f = fopen(path, "we");
	if (!f)
		return vc_graph_leave(CUDA_ERROR_OPERATING_SYSTEM);
	fprintf(f, "digraph graph_%u {\n", g->object.index);
	TAILQ_FOREACH (node, &g->nodes, next) {
		fprintf(f, "\tn%u [label=\"%u %s\"];\n", node->object.index, node->object.index,
			type_names[node->what.type]);
		for (uint32_t i = 0; i < node->behind.n; i++)
			fprintf(f, "\tn%u -> n%u;\n", node->behind.list[i].node->object.index,
				node->object.index);
	}
	fputs("}\n", f);
	return vc_graph_leave(fclose(f) ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS);
}
