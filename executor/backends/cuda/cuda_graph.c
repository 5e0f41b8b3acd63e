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

static int begin_capture(struct backend *b, struct backend_conditions *conditions)
{
	struct cuda_capture *c = &b->capture;
	int result;

	if (conditions) {
		result = cuda_conditions_empty(b, conditions);
		return result ? result : cuda_capture_into(b, 0, conditions->graph);
	}
	result =
	    c->streams[0] ? CUDA_SUCCESS : cuda_stream_create(b, CU_STREAM_NON_BLOCKING, 0, &c->streams[0]);
	if (!result)
		result =
		    cuda_result(b, b->cu.begin_capture(c->streams[0]->cu, CU_STREAM_CAPTURE_MODE_RELAXED));
	c->stream = c->streams[0];
	return result;
}

int cuda_graph_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n_nodes,
		     struct backend_stream **ret)
{
	struct cuda_capture *c = &b->capture;
	int result;

	c->active = false;
	c->depth = 0;
	c->conditions = conditions;
	if (!graphs_offered(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	c->nodes = calloc(n_nodes ? n_nodes : 1, sizeof(CUgraphNode));
	c->behind = calloc(n_nodes ? n_nodes : 1, sizeof(CUgraphNode));
	c->edges = calloc(n_nodes ? n_nodes : 1, sizeof(CUgraphEdgeData));
	c->n_nodes = c->n_behind = 0;
	if (!c->nodes || !c->behind || !c->edges)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = begin_capture(b, conditions);
	c->active = !result;
	*ret = c->stream;
	return result;
}

int cuda_graph_place(struct backend *b, const struct backend_edge *behind, uint32_t n)
{
	struct cuda_capture *c = &b->capture;

	c->plain = true;
	for (uint32_t i = 0; i < n; i++) {
		c->behind[i] = c->nodes[behind[i].node];
		c->edges[i] =
		    (CUgraphEdgeData){ behind[i].from_port, behind[i].to_port, behind[i].type, { 0 } };
		c->plain = c->plain && !behind[i].from_port && !behind[i].to_port && !behind[i].type;
	}
	c->n_behind = n;
	// Drivers before CUDA 12.3 know full dependencies only, which are right for every edge.
	if (c->plain || !b->cu.capture_depend_edges || !b->cu.capture_info_edges) {
		c->plain = true;
		return cuda_result(
		    b, b->cu.capture_depend(c->stream->cu, c->behind, n, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
	}
	return cuda_result(b, b->cu.capture_depend_edges(c->stream->cu, c->behind, c->edges, n,
							 CU_STREAM_SET_CAPTURE_DEPENDENCIES));
}

// The question without edges is refused where there are some to tell of.
CUresult cuda_capture_info(struct backend *b, CUstreamCaptureStatus *status, CUgraph *graph,
			   const CUgraphNode **now, size_t *n)
{
	CUstream stream = b->capture.stream->cu;
	const CUgraphEdgeData *edges;
	uint64_t id;

	return b->capture.plain ? b->cu.capture_info(stream, status, &id, graph, now, n)
				: b->cu.capture_info_edges(stream, status, &id, graph, now, &edges, n);
}

int cuda_graph_placed(struct backend *b)
{
	struct cuda_capture *c = &b->capture;
	const CUgraphNode *now;
	CUstreamCaptureStatus status;
	CUgraphNode node;
	CUgraph graph;
	size_t n;
	int result = cuda_result(b, cuda_capture_info(b, &status, &graph, &now, &n));

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

static void graph_drop(struct backend *b, CUgraph graph)
{
	if (graph)
		cuda_result(b, b->cu.graph_destroy(graph));
}

// Makes exec, graph and nodes what g has; *g is made if it is NULL.
static int keep(struct backend *b, CUgraphExec exec, CUgraph graph, CUgraphNode *nodes,
		struct backend_graph **g)
{
	struct backend_graph *to = *g ? *g : calloc(1, sizeof(*to));

	if (!to) {
		cuda_result(b, b->cu.graph_exec_destroy(exec));
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (to->exec)
		cuda_result(b, b->cu.graph_exec_destroy(to->exec));
	graph_drop(b, to->graph);
	free(to->nodes);
	*to = (struct backend_graph){ .exec = exec, .graph = graph, .nodes = nodes };
	*g = to;
	return CUDA_SUCCESS;
}

// The driver updates what has the same shape; what has not becomes a new executable graph. Whether a node
// that was switched off stays so in an update the driver does not say. *graph and *nodes become NULL if they
// are kept.
static int make_exec(struct backend *b, uint32_t flags, CUgraph *graph, CUgraphNode **nodes,
		     struct backend_graph **g)
{
	CUgraphExecUpdateResultInfo info;
	CUgraphExec exec;
	int result;

	if (*g && b->capture.conditions) { // there may be one executable graph of them
		cuda_result(b, b->cu.graph_exec_destroy((*g)->exec));
		(*g)->exec = NULL;
	} else if (*g && !(*g)->toggled && b->cu.graph_update((*g)->exec, *graph, &info) == CUDA_SUCCESS) {
		return CUDA_SUCCESS;
	}
	result = cuda_result(b, b->cu.graph_instantiate(&exec, *graph, flags));
	if (!result)
		result = keep(b, exec, b->capture.conditions ? NULL : *graph, *nodes, g);
	if (result)
		return result;
	*graph = NULL;
	*nodes = NULL;
	return CUDA_SUCCESS;
}

int cuda_graph_end(struct backend *b, struct backend_graph **g, uint32_t flags)
{
	struct cuda_capture *c = &b->capture;
	CUgraphNode *nodes = c->nodes;
	CUgraph graph = NULL;
	int result = CUDA_ERROR_INVALID_VALUE;

	free(c->behind);
	free(c->edges);
	c->nodes = c->behind = NULL;
	c->edges = NULL;
	// All that was collected shall be seen as joined.
	cuda_branches_abandon(b);
	if (c->active)
		result = cuda_result(b, b->cu.end_capture(c->streams[0]->cu, &graph));
	c->active = false;
	if (!result && g)
		result = make_exec(b, flags, &graph, &nodes, g);
	if (!c->conditions)
		graph_drop(b, graph);
	free(nodes);
	return result;
}

// Nodes that were switched off when they were collected are empty ones, which the driver refuses to switch.
int cuda_graph_enable(struct backend *b, struct backend_graph *g, uint32_t node, bool enabled)
{
	int result;

	if (!b->cu.graph_enable || !g->exec)
		return CUDA_ERROR_NOT_SUPPORTED;
	result = cuda_result(b, b->cu.graph_enable(g->exec, g->nodes[node], enabled));
	g->toggled |= !result;
	return result;
}

int cuda_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	if (!g->exec) // it could not be made anew
		return CUDA_ERROR_NOT_SUPPORTED;
	return cuda_result(b, b->cu.graph_launch(g->exec, cuda_stream(s)));
}

int cuda_graph_upload(struct backend *b, struct backend_graph *g, struct backend_stream *s)
{
	if (!g->exec)
		return CUDA_ERROR_NOT_SUPPORTED;
	return cuda_result(b, b->cu.graph_upload(g->exec, cuda_stream(s)));
}

void cuda_graph_free(struct backend *b, struct backend_graph *g)
{
	if (!g)
		return;
	if (g->exec)
		cuda_result(b, b->cu.graph_exec_destroy(g->exec));
	graph_drop(b, g->graph);
	free(g->nodes);
	free(g);
}
