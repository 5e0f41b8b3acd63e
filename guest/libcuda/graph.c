// SPDX-License-Identifier: Apache-2.0
// The model of a graph: nodes, edges, clones; see graph.h. Runs in the guest program.
#include "guest/libcuda/graph.h"
#include "guest/libcuda/condition.h"

#include <stdlib.h>
#include <string.h>

// Recursive: what a graph needs (memory, streams) asks in turn whether a capture forbids it.
pthread_mutex_t vc_graph_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

CUresult vc_graph_enter(void)
{
	CUresult result = vc_ready();

	if (!result)
		pthread_mutex_lock(&vc_graph_lock);
	return result;
}

CUresult vc_graph_enter_context(struct vc_context **ctx)
{
	CUresult result = vc_enter_report(ctx);

	if (!result)
		pthread_mutex_lock(&vc_graph_lock);
	return result;
}

CUresult vc_graph_enter_graph(CUgraph handle, struct vc_graph **ret)
{
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	*ret = vc_graph_find(handle);
	return *ret ? CUDA_SUCCESS : vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult vc_graph_enter_node(CUgraphNode handle, struct vc_gnode **ret)
{
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	*ret = vc_gnode_find(handle);
	return *ret ? CUDA_SUCCESS : vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
}

// ---- edges

int vc_edge_special(const CUgraphEdgeData *data)
{
	return data->type || data->from_port || data->to_port;
}

int vc_edge_valid(const struct vc_gnode *from, CUgraphNodeType to, const CUgraphEdgeData *data)
{
	if (!data)
		return 1;
	for (size_t i = 0; i < sizeof(data->reserved); i++)
		if (data->reserved[i])
			return 0;
	if (!vc_edge_special(data))
		return 1;
	if (from->what.type != CU_GRAPH_NODE_TYPE_KERNEL || data->to_port ||
	    data->from_port > CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER)
		return 0;
	if (data->type == CU_GRAPH_DEPENDENCY_TYPE_DEFAULT)
		return 1;
	return data->type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC && to == CU_GRAPH_NODE_TYPE_KERNEL &&
	       data->from_port != CU_GRAPH_KERNEL_NODE_PORT_DEFAULT;
}

int vc_edges_add(struct vc_edges *e, struct vc_gnode *node, const CUgraphEdgeData *data)
{
	static const CUgraphEdgeData full;

	for (uint32_t i = 0; i < e->n; i++)
		if (e->list[i].node == node)
			return 0;
	if (e->n == e->room) {
		uint32_t room = e->room ? 2 * e->room : 2;
		struct vc_edge *list = reallocarray(e->list, room, sizeof(*list));

		if (!list)
			return -1;
		e->list = list;
		e->room = room;
	}
	e->list[e->n++] = (struct vc_edge){ node, data ? *data : full };
	return 0;
}

int vc_edges_copy(struct vc_edges *to, const struct vc_edges *from)
{
	for (uint32_t i = 0; i < from->n; i++)
		if (vc_edges_add(to, from->list[i].node, &from->list[i].data))
			return -1;
	return 0;
}

void vc_edges_done(struct vc_edges *e)
{
	free(e->list);
	*e = (struct vc_edges){ 0 };
}

// ---- what nodes do

static void memory_unref(struct vc_graph_memory *m)
{
	if (!m || --m->references)
		return;
	vc_graph_memory_gone(m->bytes);
	if (m->freed_in_graph)
		cuMemFree_v2(m->address);
	free(m);
}

void vc_what_done(struct vc_what *what)
{
	free(what->body);
	free(what->words);
	if (what->child)
		vc_graph_free(what->child);
	vc_branch_free(what->branch);
	memory_unref(what->memory);
	vc_pin_release(what->pins[0]);
	vc_pin_release(what->pins[1]);
	*what = (struct vc_what){ 0 };
}

int vc_what_copy(struct vc_what *to, const struct vc_what *from)
{
	*to = *from;
	to->body = NULL;
	to->words = NULL;
	to->child = NULL;
	to->branch = NULL; // graphs with bodies have no clones, and an executable graph needs none of them
	if (to->memory)
		to->memory->references++;
	for (int i = 0; i < 2; i++)
		if (to->pins[i])
			to->pins[i]->references++;
	if (from->body) {
		to->body = malloc(from->bytes);
		if (to->body)
			memcpy(to->body, from->body, from->bytes);
	}
	if (from->words) {
		to->words = calloc(from->n_words, sizeof(*to->words));
		if (to->words)
			memcpy(to->words, from->words, from->n_words * sizeof(*to->words));
	}
	if (from->child)
		to->child = vc_graph_clone(from->child);
	if ((from->body && !to->body) || (from->words && !to->words) || (from->child && !to->child)) {
		vc_what_done(to);
		return -1;
	}
	return 0;
}

// ---- nodes

struct vc_gnode *vc_gnode_find(CUgraphNode node)
{
	return vc_object_find(VC_GNODE, (uint64_t)(uintptr_t)node);
}

CUgraphNode vc_gnode_handle(const struct vc_gnode *node)
{
	return (CUgraphNode)(uintptr_t)vc_object_handle(VC_GNODE, node);
}

CUresult vc_gnode_new(struct vc_graph *g, struct vc_what *what, const struct vc_edge *behind, uint32_t n,
		      struct vc_gnode **ret)
{
	struct vc_gnode *node = vc_object_new(VC_GNODE);

	if (!node) {
		vc_what_done(what);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	node->graph = g;
	node->what = *what;
	*what = (struct vc_what){ 0 };
	node->behind = (struct vc_edges){ 0 };
	node->origin = 0;
	node->mark = 0;
	node->params = NULL;
	if (node->what.child)
		node->what.child->inside = node;
	vc_branch_attach(node);
	for (uint32_t i = 0; i < n; i++) {
		if (vc_edges_add(&node->behind, behind[i].node, &behind[i].data)) {
			vc_edges_done(&node->behind);
			vc_what_done(&node->what);
			vc_object_free(VC_GNODE, node);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	TAILQ_INSERT_TAIL(&g->nodes, node, next);
	g->n_nodes++;
	vc_object_publish(VC_GNODE, node);
	*ret = node;
	return CUDA_SUCCESS;
}

void vc_gnode_free(struct vc_gnode *node)
{
	struct vc_gnode *other;

	TAILQ_REMOVE(&node->graph->nodes, node, next);
	node->graph->n_nodes--;
	TAILQ_FOREACH (other, &node->graph->nodes, next)
		for (uint32_t i = 0; i < other->behind.n; i++)
			if (other->behind.list[i].node == node)
				other->behind.list[i--] = other->behind.list[--other->behind.n];
	vc_edges_done(&node->behind);
	vc_what_done(&node->what);
	free(node->params);
	node->params = NULL;
	vc_object_free(VC_GNODE, node);
}

// ---- graphs

struct vc_graph *vc_graph_find(CUgraph graph)
{
	return vc_object_find(VC_GRAPH, (uint64_t)(uintptr_t)graph);
}

CUgraph vc_graph_handle(const struct vc_graph *g)
{
	return (CUgraph)(uintptr_t)vc_object_handle(VC_GRAPH, g);
}

struct vc_graph *vc_graph_new(void)
{
	struct vc_graph *g = vc_object_new(VC_GRAPH);

	if (!g)
		return NULL;
	TAILQ_INIT(&g->nodes);
	g->n_nodes = 0;
	g->inside = NULL;
	g->body_of = NULL;
	g->conditions = NULL;
	g->origin = 0;
	SLIST_INIT(&g->users);
	vc_object_publish(VC_GRAPH, g);
	return g;
}

// All nodes go together: nobody looks for edges to them.
static void free_nodes(struct vc_graph *g)
{
	struct vc_gnode *node;

	while ((node = TAILQ_FIRST(&g->nodes))) {
		TAILQ_REMOVE(&g->nodes, node, next);
		vc_edges_done(&node->behind);
		vc_what_done(&node->what);
		free(node->params);
		node->params = NULL;
		vc_object_free(VC_GNODE, node);
	}
	g->n_nodes = 0;
}

void vc_graph_free(struct vc_graph *g)
{
	struct vc_user_reference *user;

	free_nodes(g);
	vc_conditions_free(g->conditions);
	while ((user = SLIST_FIRST(&g->users))) {
		SLIST_REMOVE_HEAD(&g->users, next);
		vc_user_object_release(user->object, user->count);
		free(user);
	}
	vc_object_free(VC_GRAPH, g);
}

// The clone's edges are those of the original between the clones of its nodes; `number` tells which is which.
static int clone_nodes(struct vc_graph *to, const struct vc_graph *from, struct vc_gnode **made)
{
	struct vc_gnode *node;
	uint32_t n = 0;

	TAILQ_FOREACH (node, &from->nodes, next) {
		struct vc_what what;

		node->number = n;
		if (vc_what_copy(&what, &node->what) || vc_gnode_new(to, &what, NULL, 0, &made[n]))
			return -1;
		made[n++]->origin = vc_object_handle(VC_GNODE, node);
	}
	n = 0;
	TAILQ_FOREACH (node, &from->nodes, next) {
		struct vc_gnode *copy = made[n++];

		for (uint32_t i = 0; i < node->behind.n; i++)
			if (vc_edges_add(&copy->behind, made[node->behind.list[i].node->number],
					 &node->behind.list[i].data))
				return -1;
	}
	return 0;
}

struct vc_graph *vc_graph_clone(const struct vc_graph *from)
{
	struct vc_gnode **made = calloc(from->n_nodes ? from->n_nodes : 1, sizeof(struct vc_gnode *));
	struct vc_graph *to = made ? vc_graph_new() : NULL;

	if (to && clone_nodes(to, from, made)) {
		vc_graph_free(to);
		to = NULL;
	}
	if (to)
		to->origin = vc_object_handle(VC_GRAPH, from);
	free(made);
	return to;
}
