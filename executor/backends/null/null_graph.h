// SPDX-License-Identifier: Apache-2.0
// Graphs with conditional nodes on the null backend: nothing runs, so a condition has no consequence, and a
// graph's work is counted once, when it is collected. The executor replays all other graphs.
#ifndef VGPU_EXECUTOR_BACKENDS_NULL_NULL_GRAPH_H
#define VGPU_EXECUTOR_BACKENDS_NULL_NULL_GRAPH_H

#include "executor/backends/backend.h"

// Fills in the functions of graphs and conditions.
#define NULL_GRAPH_OPS                                                                                       \
	.graph_begin = null_graph_begin, .graph_place = null_graph_place, .graph_placed = null_graph_placed, \
	.graph_end = null_graph_end, .branch_enter = null_branch_enter, .branch_body = null_branch_body,     \
	.branch_leave = null_graph_placed, .graph_launch = null_graph_launch,                                \
	.graph_upload = null_graph_launch, .graph_free = null_graph_free,                                    \
	.conditions_create = null_conditions_create, .condition_add = null_condition_add,                    \
	.conditions_free = null_conditions_free

int null_graph_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n_nodes,
		     struct backend_stream **ret);
int null_graph_place(struct backend *b, const struct backend_edge *behind, uint32_t n);
int null_graph_placed(struct backend *b);
int null_graph_end(struct backend *b, struct backend_graph **graph, uint32_t flags);
int null_branch_enter(struct backend *b, const struct backend_branch *branch);
int null_branch_body(struct backend *b, struct backend_stream **ret);
int null_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s);
void null_graph_free(struct backend *b, struct backend_graph *g);
int null_conditions_create(struct backend *b, struct backend_conditions **ret);
int null_condition_add(struct backend *b, struct backend_conditions *c, uint32_t initial, bool assign,
		       uint64_t *ret);
void null_conditions_free(struct backend *b, struct backend_conditions *c);

#endif
