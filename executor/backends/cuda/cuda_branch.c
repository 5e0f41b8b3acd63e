// SPDX-License-Identifier: Apache-2.0
// Conditional nodes of the cuda backend: the driver makes their bodies' graphs, and streams of ours are
// captured into them, one for each body inside of another. Executor process, loop thread.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>

// ---- conditions

static bool branches_offered(const struct backend *b)
{
	const struct cuda_driver *cu = &b->cu;

	return cu->new_condition && cu->graph_create && cu->graph_destroy && cu->graph_add_node &&
	       cu->graph_nodes && cu->graph_destroy_node && cu->capture_to_graph;
}

int cuda_conditions_create(struct backend *b, struct backend_conditions **ret)
{
	struct backend_conditions *c;
	int result;

	if (!branches_offered(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cuda_result(b, b->cu.graph_create(&c->graph, 0));
	if (result)
		free(c);
	else
		*ret = c;
	return result;
}

int cuda_condition_add(struct backend *b, struct backend_conditions *c, uint32_t initial, bool assign,
		       uint64_t *ret)
{
	int result;

	if (c->n == c->room) {
		uint32_t room = c->room ? 2 * c->room : 4;
		CUgraphConditionalHandle *handles = reallocarray(c->handles, room, sizeof(*handles));

		if (!handles)
			return CUDA_ERROR_OUT_OF_MEMORY;
		c->handles = handles;
		c->room = room;
	}
	result = cuda_result(b, b->cu.new_condition(&c->handles[c->n], c->graph, b->context, initial,
						    assign ? CU_GRAPH_COND_ASSIGN_DEFAULT : 0));
	if (!result)
		*ret = c->handles[c->n++];
	return result;
}

void cuda_conditions_free(struct backend *b, struct backend_conditions *c)
{
	cuda_result(b, b->cu.graph_destroy(c->graph));
	free(c->handles);
	free(c);
}

int cuda_conditions_empty(struct backend *b, struct backend_conditions *c)
{
	CUgraphNode *nodes;
	size_t n = 0;
	int result = cuda_result(b, b->cu.graph_nodes(c->graph, NULL, &n));

	if (result || !n)
		return result;
	nodes = calloc(n, sizeof(CUgraphNode));
	if (!nodes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cuda_result(b, b->cu.graph_nodes(c->graph, nodes, &n));
	for (size_t i = 0; !result && i < n; i++)
		result = cuda_result(b, b->cu.graph_destroy_node(nodes[i]));
	free(nodes);
	return result;
}

// ---- collecting

int cuda_capture_into(struct backend *b, uint32_t depth, CUgraph graph)
{
	struct cuda_capture *c = &b->capture;
	int result = c->streams[depth] ? CUDA_SUCCESS
				       : cuda_stream_create(b, CU_STREAM_NON_BLOCKING, 0, &c->streams[depth]);

	if (!result)
		result = cuda_result(b, b->cu.capture_to_graph(c->streams[depth]->cu, graph, NULL, NULL, 0,
							       CU_STREAM_CAPTURE_MODE_RELAXED));
	if (!result)
		c->stream = c->streams[depth];
	return result;
}

int cuda_branch_enter(struct backend *b, const struct backend_branch *branch)
{
	struct cuda_capture *c = &b->capture;
	CUgraphNodeParams params = { .type = CU_GRAPH_NODE_TYPE_CONDITIONAL };
	CUstreamCaptureStatus status;
	const CUgraphNode *now;
	CUgraphNode node;
	CUgraph graph;
	size_t n;
	int result = cuda_result(b, cuda_capture_info(b, &status, &graph, &now, &n));

	if (result)
		return result;
	if (status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	params.conditional =
	    (CUDA_CONDITIONAL_NODE_PARAMS){ .handle = branch->conditions->handles[branch->condition],
					    .type = (CUgraphConditionalNodeType)branch->type,
					    .size = branch->n_bodies,
					    .ctx = b->context };
	result = cuda_result(b, b->cu.graph_add_node(&node, graph, c->behind, c->plain ? NULL : c->edges,
						     c->n_behind, &params));
	if (result)
		return result;
	c->nodes[c->n_nodes++] = node;
	c->branches[c->depth++] = (struct cuda_branch){ .bodies = params.conditional.phGraph_out };
	c->stream = NULL; // until there is a body
	return CUDA_SUCCESS;
}

static int end_body(struct backend *b)
{
	struct cuda_capture *c = &b->capture;
	CUgraph body;

	c->stream = NULL;
	return cuda_result(b, b->cu.end_capture(c->streams[c->depth]->cu, &body));
}

int cuda_branch_body(struct backend *b, struct backend_stream **ret)
{
	struct cuda_capture *c = &b->capture;
	struct cuda_branch *branch = &c->branches[c->depth - 1];
	int result = c->stream ? end_body(b) : CUDA_SUCCESS;

	if (!result)
		result = cuda_capture_into(b, c->depth, branch->bodies[branch->at++]);
	*ret = c->stream;
	return result;
}

int cuda_branch_leave(struct backend *b)
{
	struct cuda_capture *c = &b->capture;
	int result = c->stream ? end_body(b) : CUDA_SUCCESS;

	c->depth--;
	c->stream = c->streams[c->depth];
	return result;
}

void cuda_branches_abandon(struct backend *b)
{
	while (b->capture.depth)
		cuda_branch_leave(b);
}
