// SPDX-License-Identifier: Apache-2.0
// Graphs of the cuda backend. Executor process, loop thread. The driver makes the nodes itself, by capture of
// a stream of ours: so a launch in a graph is made by the same code as any other. Before each node the stream
// is told what it stands behind, and afterwards asked which node came out.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/guest/calls.h"

static bool graphs_offered(const struct backend *b)
{
	const struct cuda_driver *cu = &b->cu;

	return cu->begin_capture && cu->end_capture && cu->capture_info && cu->capture_depend &&
	       cu->graph_instantiate && cu->graph_update && cu->graph_launch && cu->graph_upload &&
	       cu->graph_exec_destroy && cu->graph_destroy && cu->graph_add_empty;
}

int cuda_graph_begin(struct backend *b, uint32_t n_nodes, struct backend_stream **ret)
{
	struct cuda_capture *c = &b->capture;
	int result = CUDA_SUCCESS;

	c->active = false;
	if (!graphs_offered(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	c->nodes = calloc(n_nodes ? n_nodes : 1, sizeof(CUgraphNode));
	c->behind = calloc(n_nodes ? n_nodes : 1, sizeof(CUgraphNode));
	c->n_nodes = c->n_behind = 0;
	if (!c->nodes || !c->behind)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!c->stream)
		result = cuda_stream_create(b, CU_STREAM_NON_BLOCKING, 0, &c->stream);
	if (!result)
		result = cuda_result(b, b->cu.begin_capture(c->stream->cu, CU_STREAM_CAPTURE_MODE_RELAXED));
	c->active = !result;
	*ret = c->stream;
	return result;
}

int cuda_graph_place(struct backend *b, const uint32_t *behind, uint32_t n)
{
	struct cuda_capture *c = &b->capture;

	for (uint32_t i = 0; i < n; i++)
		c->behind[i] = c->nodes[behind[i]];
	c->n_behind = n;
	return cuda_result(
	    b, b->cu.capture_depend(c->stream->cu, c->behind, n, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
}

int cuda_graph_placed(struct backend *b)
{
	struct cuda_capture *c = &b->capture;
	const CUgraphNode *now;
	CUstreamCaptureStatus status;
	CUgraphNode node;
	CUgraph graph;
	uint64_t id;
	size_t n;
	int result = cuda_result(b, b->cu.capture_info(c->stream->cu, &status, &id, &graph, &now, &n));

	if (result)
		return result;
	if (status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (n == c->n_behind && (!n || !memcmp(now, c->behind, n * sizeof(*now))))
		result = cuda_result(b, b->cu.graph_add_empty(&node, graph, c->behind, n));
	else if (n == 1)
		node = now[0];
	else
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!result)
		c->nodes[c->n_nodes++] = node;
	return result;
}

// The driver updates what has the same shape; what has not becomes a new executable graph.
static int make_exec(struct backend *b, CUgraph graph, struct backend_graph **g)
{
	CUgraphExecUpdateResultInfo info;
	struct backend_graph *made;
	CUgraphExec exec;
	int result;

	if (*g && b->cu.graph_update((*g)->exec, graph, &info) == CUDA_SUCCESS)
		return CUDA_SUCCESS;
	result = cuda_result(b, b->cu.graph_instantiate(&exec, graph, 0));
	if (result)
		return result;
	if (*g) {
		cuda_result(b, b->cu.graph_exec_destroy((*g)->exec));
		(*g)->exec = exec;
		return CUDA_SUCCESS;
	}
	made = calloc(1, sizeof(*made));
	if (!made) {
		cuda_result(b, b->cu.graph_exec_destroy(exec));
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	made->exec = exec;
	*g = made;
	return CUDA_SUCCESS;
}

int cuda_graph_end(struct backend *b, struct backend_graph **g)
{
	struct cuda_capture *c = &b->capture;
	CUgraph graph = NULL;
	int result = CUDA_SUCCESS;

	free(c->nodes);
	free(c->behind);
	c->nodes = c->behind = NULL;
	if (!c->active)
		return CUDA_ERROR_INVALID_VALUE;
	c->active = false;
	// All that was collected shall be seen as joined.
	result = cuda_result(b, b->cu.end_capture(c->stream->cu, &graph));
	if (!result && g)
		result = make_exec(b, graph, g);
	if (graph)
		cuda_result(b, b->cu.graph_destroy(graph));
	return result;
}

int cuda_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	return cuda_result(b, b->cu.graph_launch(g->exec, cuda_stream(s)));
}

int cuda_graph_upload(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	return cuda_result(b, b->cu.graph_upload(g->exec, cuda_stream(s)));
}

void cuda_graph_free(struct backend *b, struct backend_graph *g)
{
	if (!g)
		return;
	cuda_result(b, b->cu.graph_exec_destroy(g->exec));
	free(g);
}
