// SPDX-License-Identifier: Apache-2.0
// One list out of a graph and its child graphs, in an order in which every edge leads upwards: what the
// executor gets, and what an update is compared with. A child graph stands between two empty nodes. Runs in
// the guest program, under vc_graph_lock.
#include <stdlib.h>

#include "common/limits.h"
#include "guest/libcuda/condition.h"

enum { NEW, OPEN, PLACED };

static CUresult put_node(struct vc_flat *flat, uint64_t handle, struct vc_what *what, uint32_t *ret)
{
	if (flat->n_nodes == VGPU_MAX_GRAPH_NODES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (flat->n_nodes == flat->nodes_room) {
		uint32_t room = flat->nodes_room ? 2 * flat->nodes_room : 64;
		struct vc_flat_node *nodes = reallocarray(flat->nodes, room, sizeof(*nodes));

		if (!nodes)
			return CUDA_ERROR_OUT_OF_MEMORY;
		flat->nodes = nodes;
		flat->nodes_room = room;
	}
	*ret = flat->n_nodes;
	flat->nodes[flat->n_nodes++] = (struct vc_flat_node){ handle, what };
	return CUDA_SUCCESS;
}

static CUresult put_edge(struct vc_flat *flat, uint32_t from, uint32_t to, const CUgraphEdgeData *data)
{
	if (flat->n_edges == VGPU_MAX_GRAPH_EDGES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (flat->n_edges == flat->edges_room) {
		uint32_t room = flat->edges_room ? 2 * flat->edges_room : 64;
		struct graph_edge *edges = reallocarray(flat->edges, room, sizeof(*edges));

		if (!edges)
			return CUDA_ERROR_OUT_OF_MEMORY;
		flat->edges = edges;
		flat->edges_room = room;
	}
	flat->edges[flat->n_edges++] = (struct graph_edge){ .from = from, .to = to };
	if (data) {
		flat->edges[flat->n_edges - 1].from_port = data->from_port;
		flat->edges[flat->n_edges - 1].to_port = data->to_port;
		flat->edges[flat->n_edges - 1].type = data->type;
	}
	return CUDA_SUCCESS;
}

static CUresult flatten(struct vc_graph *g, struct vc_flat *flat, uint32_t entry, int inside);

// The child's first nodes stand behind entry; exit stands behind its last ones.
static CUresult put_child(struct vc_gnode *node, struct vc_flat *flat, uint32_t entry)
{
	struct vc_graph *child = node->what.child;
	struct vc_gnode *n;
	uint32_t exit = 0;
	CUresult result = flatten(child, flat, entry, 1);

	if (!result)
		result = put_node(flat, 0, NULL, &exit);
	if (!result && !child->n_nodes)
		result = put_edge(flat, entry, exit, NULL);
	TAILQ_FOREACH (n, &child->nodes, next)
		n->mark = 1;
	TAILQ_FOREACH (n, &child->nodes, next)
		for (uint32_t i = 0; i < n->behind.n; i++)
			n->behind.list[i].node->mark = 0;
	TAILQ_FOREACH (n, &child->nodes, next)
		if (!result && n->mark)
			result = put_edge(flat, n->number, exit, NULL);
	node->number = exit;
	return result;
}

// The bodies follow their node, each in an order of its own; no edge leads into one or out of one.
static CUresult put_bodies(struct vc_gnode *node, struct vc_flat *flat)
{
	CUresult result = CUDA_SUCCESS;

	for (uint32_t i = 0; !result && i < node->what.branch->n; i++) {
		uint32_t first = flat->n_nodes;

		result = flatten(node->what.branch->graphs[i], flat, 0, 0);
		vc_branch_count(node, i, flat->n_nodes - first);
	}
	return result;
}

static CUresult place(struct vc_gnode *node, struct vc_flat *flat, uint32_t entry, int inside)
{
	struct vc_what *what = node->what.type == CU_GRAPH_NODE_TYPE_GRAPH ? NULL : &node->what;
	CUresult result = put_node(flat, vc_object_handle(VC_GNODE, node), what, &node->number);

	if (!result && inside && !node->behind.n)
		result = put_edge(flat, entry, node->number, NULL);
	for (uint32_t i = 0; !result && i < node->behind.n; i++)
		result = put_edge(flat, node->behind.list[i].node->number, node->number,
				  &node->behind.list[i].data);
	if (!result && !what)
		result = put_child(node, flat, node->number);
	if (!result && node->what.branch)
		result = put_bodies(node, flat);
	return result;
}

// Depth first, without recursion: programs capture chains of tens of thousands of nodes.
static CUresult place_after_all(struct vc_gnode *first, struct vc_gnode **stack, struct vc_flat *flat,
				uint32_t entry, int inside)
{
	uint32_t depth = 0;
	CUresult result = CUDA_SUCCESS;

	stack[depth++] = first;
	first->mark = OPEN;
	while (depth && !result) {
		struct vc_gnode *node = stack[depth - 1], *wanted = NULL;

		for (uint32_t i = 0; !wanted && i < node->behind.n; i++) {
			struct vc_gnode *other = node->behind.list[i].node;

			if (other->mark == OPEN)
				return CUDA_ERROR_INVALID_VALUE; // a cycle
			if (other->mark == NEW)
				wanted = other;
		}
		if (wanted) {
			wanted->mark = OPEN;
			stack[depth++] = wanted;
			continue;
		}
		result = place(node, flat, entry, inside);
		node->mark = PLACED;
		depth--;
	}
	return result;
}

static CUresult flatten(struct vc_graph *g, struct vc_flat *flat, uint32_t entry, int inside)
{
	struct vc_gnode **stack = calloc(g->n_nodes ? g->n_nodes : 1, sizeof(*stack)), *node;
	CUresult result = stack ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;

	TAILQ_FOREACH (node, &g->nodes, next)
		node->mark = NEW;
	TAILQ_FOREACH (node, &g->nodes, next)
		if (!result && node->mark == NEW)
			result = place_after_all(node, stack, flat, entry, inside);
	free(stack);
	return result;
}

CUresult vc_flatten(struct vc_graph *g, struct vc_flat *ret)
{
	CUresult result;

	*ret = (struct vc_flat){ 0 };
	result = flatten(g, ret, 0, 0);
	if (result)
		vc_flat_done(ret);
	return result;
}

void vc_flat_done(struct vc_flat *flat)
{
	free(flat->nodes);
	free(flat->edges);
	*flat = (struct vc_flat){ 0 };
}
