// SPDX-License-Identifier: Apache-2.0
// Conditional nodes of executable graphs: how their bodies lie in the list of nodes, which a hostile guest
// wrote, and the conditions that decide. Called by graph_read.c, graph.c and the generated dispatch in an
// executor's loop.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "executor/executor.h"
#include "executor/graph.h"
#include "protocol/cuda/cuda_abi.h"

// ---- how nodes lie in one another

struct graph_condition_node graph_branch_of(const struct graph_op *op, const uint8_t **ret_counts)
{
	struct graph_condition_node c;

	memcpy(&c, op->body, sizeof(c));
	*ret_counts = op->body + sizeof(c);
	return c;
}

uint32_t graph_branch_count(const uint8_t *counts, uint32_t body)
{
	uint32_t n;

	memcpy(&n, counts + (size_t)body * sizeof(n), sizeof(n));
	return n;
}

int32_t graph_branch_check(const struct graph_op *op)
{
	static const uint32_t most[] = { [CU_GRAPH_COND_TYPE_IF] = 2,
					 [CU_GRAPH_COND_TYPE_WHILE] = 1,
					 [CU_GRAPH_COND_TYPE_SWITCH] = VGPU_MAX_BODIES };
	struct graph_condition_node c;

	if (op->bytes < sizeof(c))
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&c, op->body, sizeof(c));
	return c.type > CU_GRAPH_COND_TYPE_SWITCH || !c.n_bodies || c.n_bodies > most[c.type] || c.reserved ||
		       op->bytes != sizeof(c) + c.n_bodies * sizeof(uint32_t)
		   ? CUDA_ERROR_INVALID_VALUE
		   : CUDA_SUCCESS;
}

static bool may_be_inside(const struct graph_op *op)
{
	return op->kind == GRAPH_NODE_EMPTY || op->kind == GRAPH_NODE_CONDITION ||
	       (op->kind == GRAPH_NODE_RECORD &&
		(op->opcode == OPCODE_LAUNCH || op->opcode == OPCODE_COPY || op->opcode == OPCODE_SET));
}

struct walk {
	struct executor *x;
	struct graph *g;
	struct conditions *conditions;
	uint32_t bodies; // named so far
	uint32_t node;	 // that was looked at last
};

static int32_t take_conditions(struct walk *w, const struct graph_condition_node *c)
{
	struct conditions *set = handle_get(w->x, HANDLE_CONDITIONS, c->conditions);

	if (!set || (w->conditions && w->conditions != set) || c->condition >= set->n)
		return CUDA_ERROR_INVALID_VALUE;
	w->conditions = set;
	return CUDA_SUCCESS;
}

// [from, to) are the nodes of one body, or of the whole graph. Recursion is bounded by VGPU_MAX_GRAPH_DEPTH.
static int32_t walk_body(struct walk *w, uint32_t from, uint32_t to, uint32_t name, uint32_t depth)
{
	int32_t result = CUDA_SUCCESS;

	for (uint32_t i = from; !result && i < to; i += 1 + w->g->ops[i].n_inside) {
		struct graph_op *op = &w->g->ops[i];
		struct graph_condition_node c;
		uint32_t first = i + 1;
		const uint8_t *counts;

		w->node = i;
		op->body_of = name;
		if (name && !may_be_inside(op))
			return CUDA_ERROR_INVALID_VALUE;
		if (op->kind != GRAPH_NODE_CONDITION)
			continue;
		c = graph_branch_of(op, &counts);
		result = depth < VGPU_MAX_GRAPH_DEPTH ? take_conditions(w, &c) : CUDA_ERROR_INVALID_VALUE;
		for (uint32_t k = 0; !result && k < c.n_bodies; k++) {
			uint32_t n = graph_branch_count(counts, k);

			if (n > to - first)
				return CUDA_ERROR_INVALID_VALUE;
			result = walk_body(w, first, first + n, ++w->bodies, depth + 1);
			first += n;
		}
		op->n_inside = first - i - 1;
	}
	return result;
}

int32_t graph_branches_read(struct executor *x, struct graph *g, uint32_t *ret_node)
{
	struct walk w = { .x = x, .g = g };
	int32_t result = walk_body(&w, 0, g->n_ops, 0, 0);

	for (uint32_t i = 0; !result && i < g->n_ops; i++) {
		w.node = i;
		for (uint32_t k = 0; k < g->ops[i].n_behind; k++)
			if (g->ops[g->behind[g->ops[i].first_behind + k].node].body_of != g->ops[i].body_of)
				result = CUDA_ERROR_INVALID_VALUE;
	}
	*ret_node = w.node;
	if (result || !w.conditions)
		return result;
	if (w.conditions->user) // as the driver: one executable graph at a time
		return CUDA_ERROR_NOT_SUPPORTED;
	w.conditions->user = g;
	g->conditions = w.conditions;
	return CUDA_SUCCESS;
}

// ---- conditions

static void conditions_free_unused(struct executor *x, struct conditions *c)
{
	if (c->named || c->user)
		return;
	x->ops->conditions_free(x->backend, c->backend);
	free(c);
}

void graph_conditions_release(struct executor *x, struct graph *g)
{
	if (!g->conditions)
		return;
	g->conditions->user = NULL;
	conditions_free_unused(x, g->conditions);
	g->conditions = NULL;
}

void conditions_drop(struct executor *x, void *object)
{
	struct conditions *c = object;

	handle_remove(x, c->object.handle);
	c->named = false;
	conditions_free_unused(x, c);
}

int32_t on_conditions_create(struct executor *x, const struct record_conditions_create *r,
			     struct conditions **ret_conditions)
{
	int32_t result = executor_ready(x);
	struct conditions *c;

	(void)r;
	if (result)
		return result;
	if (!x->ops->conditions_create)
		return CUDA_ERROR_NOT_SUPPORTED;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->conditions_create(x->backend, &c->backend);
	if (result) {
		free(c);
		return result;
	}
	c->named = true;
	*ret_conditions = c;
	return CUDA_SUCCESS;
}

int32_t on_condition_add(struct executor *x, const struct record_condition_add *r,
			 struct conditions *conditions, struct reply_condition_add *ret)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (conditions->n == VGPU_MAX_CONDITIONS)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->condition_add(x->backend, conditions->backend, r->initial,
				       r->flags & CU_GRAPH_COND_ASSIGN_DEFAULT, &ret->value);
	if (!result)
		ret->number = conditions->n++;
	return result;
}

int32_t on_conditions_destroy(struct executor *x, const struct record_conditions_destroy *r,
			      struct conditions *conditions)
{
	(void)r;
	conditions_drop(x, conditions);
	return executor_ready(x);
}
