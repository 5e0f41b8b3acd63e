// SPDX-License-Identifier: Apache-2.0
// Conditions and conditional nodes; see the header. Kernels name a condition by a number that only the host's
// side can know, so making one is a round trip; nodes and bodies are the guest's own model as all of a graph
// is. Runs in the guest program.
#include "guest/libcuda/condition.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"

// The graph that the program made, in whose bodies this one lies. NULL: it is a child graph's.
static struct vc_graph *root_of(struct vc_graph *g)
{
	while (g->body_of)
		g = g->body_of->graph;
	return g->inside ? NULL : g;
}

static uint32_t depth_of(const struct vc_graph *g)
{
	uint32_t depth = 0;

	for (; g->body_of; g = g->body_of->graph)
		depth++;
	return depth;
}

// ---- conditions

static CUresult conditions_new(struct vc_conditions **ret)
{
	struct vc_conditions *c = vc_object_new(VC_CONDITIONS);
	struct record_conditions_create record;
	CUresult result;

	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record.conditions = vc_object_handle(VC_CONDITIONS, c);
	result = (CUresult)vgpu_call_conditions_create(vc_client, &record);
	if (result) {
		vc_object_free(VC_CONDITIONS, c);
		return result;
	}
	c->list = NULL;
	c->n = c->room = 0;
	vc_object_publish(VC_CONDITIONS, c);
	*ret = c;
	return CUDA_SUCCESS;
}

void vc_conditions_free(struct vc_conditions *c)
{
	struct record_conditions_destroy record;

	if (!c)
		return;
	record.conditions = vc_object_handle(VC_CONDITIONS, c);
	vgpu_push_conditions_destroy(vc_client, &record);
	free(c->list);
	vc_object_free(VC_CONDITIONS, c);
}

static CUresult condition_add(struct vc_conditions *c, uint32_t initial, uint32_t flags, uint64_t *ret)
{
	struct record_condition_add record = { .conditions = vc_object_handle(VC_CONDITIONS, c),
					       .initial = initial,
					       .flags = flags };
	struct reply_condition_add reply;
	CUresult result;

	if (c->n == c->room) {
		uint32_t room = c->room ? 2 * c->room : 4;
		struct vc_condition *list = reallocarray(c->list, room, sizeof(*list));

		if (!list)
			return CUDA_ERROR_OUT_OF_MEMORY;
		c->list = list;
		c->room = room;
	}
	result = (CUresult)vgpu_call_condition_add(vc_client, &record, &reply);
	if (result)
		return result;
	c->list[c->n++] = (struct vc_condition){ .value = reply.value };
	*ret = reply.value;
	return CUDA_SUCCESS;
}

CUresult cuGraphConditionalHandleCreate(CUgraphConditionalHandle *ret, CUgraph graph, CUcontext context,
					unsigned int initial, unsigned int flags)
{
	struct vc_graph *g, *root;
	struct vc_context *ctx;
	CUresult result = vc_graph_enter_context(&ctx);

	if (result)
		return result;
	g = vc_graph_find(graph);
	if (!ret || !g || (flags & ~CU_GRAPH_COND_ASSIGN_DEFAULT))
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	if (!context) // all others are one on the host's side (docs/decisions/0001)
		return vc_graph_leave(CUDA_ERROR_INVALID_CONTEXT);
	root = root_of(g);
	if (!root)
		return vc_graph_leave(CUDA_ERROR_NOT_SUPPORTED);
	if (!root->conditions)
		result = conditions_new(&root->conditions);
	if (!result)
		result = condition_add(root->conditions, initial, flags, ret);
	return vc_graph_leave(result);
}

// The number of the condition of that value which has no node yet.
static int free_condition(const struct vc_conditions *c, uint64_t value, uint32_t *ret)
{
	for (uint32_t i = 0; c && i < c->n; i++)
		if (c->list[i].value == value && !c->list[i].has_node) {
			*ret = i;
			return 1;
		}
	return 0;
}

// ---- nodes and their bodies

void vc_branch_free(struct vc_branch *branch)
{
	if (!branch)
		return;
	for (uint32_t i = 0; branch->graphs && i < branch->n; i++)
		if (branch->graphs[i])
			vc_graph_free(branch->graphs[i]);
	branch->conditions->list[branch->condition].has_node = 0;
	free(branch->graphs);
	free(branch->handles);
	free(branch);
}

static struct vc_branch *branch_new(uint32_t n, struct vc_conditions *conditions, uint32_t condition)
{
	struct vc_branch *branch = calloc(1, sizeof(*branch));

	if (!branch)
		return NULL;
	branch->conditions = conditions;
	branch->condition = condition;
	conditions->list[condition].has_node = 1;
	branch->n = n;
	branch->graphs = calloc(n, sizeof(struct vc_graph *));
	branch->handles = calloc(n, sizeof(CUgraph));
	for (uint32_t i = 0; branch->graphs && branch->handles && i < n; i++) {
		branch->graphs[i] = vc_graph_new();
		if (!branch->graphs[i])
			break;
		branch->handles[i] = vc_graph_handle(branch->graphs[i]);
	}
	if (branch->graphs && branch->handles && branch->graphs[n - 1])
		return branch;
	vc_branch_free(branch);
	return NULL;
}

static int size_valid(const CUDA_CONDITIONAL_NODE_PARAMS *p)
{
	switch (p->type) {
	case CU_GRAPH_COND_TYPE_IF: return p->size == 1 || p->size == 2;
	case CU_GRAPH_COND_TYPE_WHILE: return p->size == 1;
	case CU_GRAPH_COND_TYPE_SWITCH: return p->size != 0;
	default: return 0;
	}
}

CUresult vc_what_condition(struct vc_graph *g, const CUDA_CONDITIONAL_NODE_PARAMS *p, struct vc_what *ret)
{
	struct graph_condition_node node = { .type = (uint32_t)p->type, .n_bodies = p->size };
	struct vc_graph *root = root_of(g);

	if (!root)
		return CUDA_ERROR_NOT_SUPPORTED; // child graphs have no conditional nodes
	if (!p->ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!size_valid(p) || !free_condition(root->conditions, p->handle, &node.condition))
		return CUDA_ERROR_INVALID_VALUE;
	if (p->size > VGPU_MAX_BODIES || depth_of(g) >= VGPU_MAX_GRAPH_DEPTH)
		return CUDA_ERROR_NOT_SUPPORTED;
	node.conditions = vc_object_handle(VC_CONDITIONS, root->conditions);
	*ret = (struct vc_what){ .type = CU_GRAPH_NODE_TYPE_CONDITIONAL,
				 .bytes = (uint32_t)(sizeof(node) + p->size * sizeof(uint32_t)) };
	ret->body = calloc(1, ret->bytes);
	ret->branch = branch_new(p->size, root->conditions, node.condition);
	if (!ret->body || !ret->branch) {
		vc_what_done(ret);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	memcpy(ret->body, &node, sizeof(node));
	return CUDA_SUCCESS;
}

void vc_branch_attach(struct vc_gnode *node)
{
	for (uint32_t i = 0; node->what.branch && i < node->what.branch->n; i++)
		node->what.branch->graphs[i]->body_of = node;
}

int vc_body_takes(const struct vc_graph *g, CUgraphNodeType type)
{
	switch (type) {
	case CU_GRAPH_NODE_TYPE_KERNEL:
	case CU_GRAPH_NODE_TYPE_MEMCPY:
	case CU_GRAPH_NODE_TYPE_MEMSET:
	case CU_GRAPH_NODE_TYPE_GRAPH:
	case CU_GRAPH_NODE_TYPE_EMPTY:
	case CU_GRAPH_NODE_TYPE_CONDITIONAL: return 1;
	default: return !g->body_of;
	}
}

int vc_graph_branches(const struct vc_graph *g)
{
	const struct vc_gnode *node;

	TAILQ_FOREACH (node, &g->nodes, next)
		if (node->what.branch)
			return 1;
	return 0;
}

// ---- what will travel

void vc_branch_count(struct vc_gnode *node, uint32_t body, uint32_t n_nodes)
{
	memcpy((char *)node->what.body + sizeof(struct graph_condition_node) + body * sizeof(n_nodes),
	       &n_nodes, sizeof(n_nodes));
}

int vc_conditions_unused(const struct vc_graph *g)
{
	for (uint32_t i = 0; g->conditions && i < g->conditions->n; i++)
		if (!g->conditions->list[i].has_node)
			return 1;
	return 0;
}
