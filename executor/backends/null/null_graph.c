// SPDX-License-Identifier: Apache-2.0
// See the header. Called by the executor's loop thread.
#include "executor/backends/null/null_graph.h"

#include <stdlib.h>

#include "protocol/cuda/cuda_abi.h"

struct backend_graph {
	char nothing;
};

struct backend_conditions {
	char nothing;
};

static uint64_t last_name; // of a condition

int null_graph_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n_nodes,
		     struct backend_stream **ret)
{
	(void)b;
	(void)n_nodes;
	*ret = NULL;
	return conditions ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

int null_graph_place(struct backend *b, const struct backend_edge *behind, uint32_t n)
{
	(void)b;
	(void)behind;
	(void)n;
	return CUDA_SUCCESS;
}

int null_graph_placed(struct backend *b)
{
	(void)b;
	return CUDA_SUCCESS;
}

int null_graph_end(struct backend *b, struct backend_graph **graph, uint32_t flags)
{
	(void)b;
	(void)flags;
	if (graph && !*graph)
		*graph = calloc(1, sizeof(**graph));
	return !graph || *graph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

int null_branch_enter(struct backend *b, const struct backend_branch *branch)
{
	(void)b;
	(void)branch;
	return CUDA_SUCCESS;
}

int null_branch_body(struct backend *b, struct backend_stream **ret)
{
	(void)b;
	*ret = NULL;
	return CUDA_SUCCESS;
}

int null_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	(void)b;
	(void)g;
	(void)s;
	return CUDA_SUCCESS;
}

void null_graph_free(struct backend *b, struct backend_graph *g)
{
	(void)b;
	free(g);
}

int null_conditions_create(struct backend *b, struct backend_conditions **ret)
{
	(void)b;
	*ret = calloc(1, sizeof(**ret));
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

int null_condition_add(struct backend *b, struct backend_conditions *c, uint32_t initial, bool assign,
		       uint64_t *ret)
{
	(void)b;
	(void)c;
	(void)initial;
	(void)assign;
	*ret = ++last_name;
	return CUDA_SUCCESS;
}

void null_conditions_free(struct backend *b, struct backend_conditions *c)
{
	(void)b;
	free(c);
}
