// SPDX-License-Identifier: Apache-2.0
// The calls that begin, end and look at captures. Runs in the guest program.
#include "guest/libcuda/capture.h"

#include <stdlib.h>

static CUresult enter(CUstream stream, struct vc_stream **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = vc_stream_resolve_any(stream, ret);
	if (!result)
		pthread_mutex_lock(&vc_graph_lock);
	return result;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
	static const struct vc_edges none;
	struct vc_graph *g;
	struct vc_stream *s;
	CUresult result = enter(stream, &s);

	if (result)
		return result;
	if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	g = vc_graph_new();
	if (!g)
		return vc_graph_leave(CUDA_ERROR_OUT_OF_MEMORY);
	result = vc_capture_begin(s, g, 1, &none, mode);
	if (result)
		vc_graph_free(g);
	return vc_graph_leave(result);
}

CUresult cuStreamBeginCapture(CUstream stream)
{
	return cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

// Nodes of one graph as the program lists them; the caller frees the list on failure too.
static CUresult read_edges(const struct vc_graph *g, const CUgraphNode *nodes, const CUgraphEdgeData *data,
			   size_t n, struct vc_edges *ret)
{
	if (n && !nodes)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < n; i++) {
		struct vc_gnode *node = vc_gnode_find(nodes[i]);

		if (!node || node->graph != g)
			return CUDA_ERROR_INVALID_VALUE;
		if (vc_edges_add(ret, node, data ? &data[i] : NULL))
			return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return CUDA_SUCCESS;
}

CUresult cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *deps,
				     const CUgraphEdgeData *data, size_t n, CUstreamCaptureMode mode)
{
	struct vc_edges behind = { 0 };
	struct vc_graph *g;
	struct vc_stream *s;
	CUresult result = enter(stream, &s);

	if (result)
		return result;
	g = vc_graph_find(graph);
	if (!g || mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	result = read_edges(g, deps, data, n, &behind);
	if (!result)
		result = vc_capture_begin(s, g, 0, &behind, mode);
	vc_edges_done(&behind);
	return vc_graph_leave(result);
}

// Whether all that the other streams did is behind what the origin stands behind.
static int all_joined(struct vc_capture *c)
{
	struct vc_stream_capture *origin = atomic_load(&c->origin->capture), *sc;
	struct vc_gnode **stack = calloc(c->graph->n_nodes ? c->graph->n_nodes : 1, sizeof(*stack)), *node;
	uint32_t depth = 0;
	int joined = 1;

	if (!stack)
		return 0;
	TAILQ_FOREACH (node, &c->graph->nodes, next)
		node->mark = 0;
	for (uint32_t i = 0; i < origin->behind.n; i++) {
		origin->behind.list[i].node->mark = 1;
		stack[depth++] = origin->behind.list[i].node;
	}
	while (depth) {
		node = stack[--depth];
		for (uint32_t i = 0; i < node->behind.n; i++) {
			struct vc_gnode *on = node->behind.list[i].node;

			if (!on->mark) {
				on->mark = 1;
				stack[depth++] = on;
			}
		}
	}
	TAILQ_FOREACH (sc, &c->streams, next)
		for (uint32_t i = 0; i < sc->behind.n; i++)
			joined = joined && sc->behind.list[i].node->mark;
	free(stack);
	return joined;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *ret)
{
	struct vc_capture *c;
	struct vc_stream *s;
	CUresult result = enter(stream, &s);
	int keep;

	if (result)
		return result;
	c = vc_capture_of(s);
	if (!ret || !c)
		return vc_graph_leave(ret ? CUDA_ERROR_ILLEGAL_STATE : CUDA_ERROR_INVALID_VALUE);
	if (c->origin != s) {
		vc_capture_invalidate(c);
		return vc_graph_leave(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
	}
	if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && c->thread != &vc_thread)
		return vc_graph_leave(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
	if (c->invalid)
		result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	else if (!all_joined(c))
		result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
	keep = !result || !c->own_graph;
	*ret = result ? NULL : vc_graph_handle(c->graph);
	if (!keep)
		vc_graph_free(c->graph);
	vc_capture_free(c);
	return vc_graph_leave(result);
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = vc_stream_resolve_any(stream, &s);
	if (result)
		return result;
	if (!status)
		return CUDA_ERROR_INVALID_VALUE;
	*status = CU_STREAM_CAPTURE_STATUS_NONE;
	if (VC_LIKELY(!vc_stream_captures(s)))
		return s == &vc_legacy_stream && atomic_load(&vc_captures_blocking)
			   ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
			   : CUDA_SUCCESS;
	pthread_mutex_lock(&vc_graph_lock);
	if (vc_capture_of(s))
		*status = vc_capture_of(s)->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
						    : CU_STREAM_CAPTURE_STATUS_ACTIVE;
	return vc_graph_leave(CUDA_SUCCESS);
}

// The lists stay the stream's until its next call.
static CUresult hand_out(struct vc_stream_capture *sc)
{
	uint32_t n = sc->behind.n;

	free(sc->nodes);
	free(sc->data);
	sc->nodes = calloc(n ? n : 1, sizeof(*sc->nodes));
	sc->data = calloc(n ? n : 1, sizeof(*sc->data));
	if (!sc->nodes || !sc->data)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (uint32_t i = 0; i < n; i++) {
		sc->nodes[i] = vc_gnode_handle(sc->behind.list[i].node);
		sc->data[i] = sc->behind.list[i].data;
	}
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id,
				   CUgraph *graph, const CUgraphNode **deps, const CUgraphEdgeData **data,
				   size_t *n)
{
	struct vc_stream_capture *sc;
	struct vc_stream *s;
	CUresult result = cuStreamIsCapturing(stream, status);

	if (result || *status == CU_STREAM_CAPTURE_STATUS_NONE)
		return result;
	result = enter(stream, &s);
	if (result)
		return result;
	sc = atomic_load(&s->capture);
	if (!sc)
		return vc_graph_leave(CUDA_SUCCESS);
	if (id)
		*id = sc->capture->id;
	if (sc->capture->invalid)
		return vc_graph_leave(CUDA_SUCCESS);
	if (graph)
		*graph = vc_graph_handle(sc->capture->graph);
	for (uint32_t i = 0; deps && !data && i < sc->behind.n; i++)
		if (vc_edge_special(&sc->behind.list[i].data))
			return vc_graph_leave(CUDA_ERROR_LOSSY_QUERY);
	if (deps || data || n)
		result = hand_out(sc);
	if (deps)
		*deps = sc->nodes;
	if (data)
		*data = sc->data;
	if (n)
		*n = sc->behind.n;
	return vc_graph_leave(result);
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id,
				   CUgraph *graph, const CUgraphNode **deps, size_t *n)
{
	return cuStreamGetCaptureInfo_v3(stream, status, id, graph, deps, NULL, n);
}

CUresult cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id)
{
	return cuStreamGetCaptureInfo_v3(stream, status, id, NULL, NULL, NULL, NULL);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream stream, CUgraphNode *deps, const CUgraphEdgeData *data,
					      size_t n, unsigned int flags)
{
	struct vc_edges behind = { 0 };
	struct vc_stream_capture *sc;
	struct vc_stream *s;
	CUresult result = enter(stream, &s);

	if (result)
		return result;
	sc = atomic_load(&s->capture);
	if (!sc)
		return vc_graph_leave(CUDA_ERROR_ILLEGAL_STATE);
	if (sc->capture->invalid)
		return vc_graph_leave(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
	if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	if (flags == CU_STREAM_ADD_CAPTURE_DEPENDENCIES && vc_edges_copy(&behind, &sc->behind))
		result = CUDA_ERROR_OUT_OF_MEMORY;
	if (!result)
		result = read_edges(sc->capture->graph, deps, data, n, &behind);
	if (result) {
		vc_edges_done(&behind);
		return vc_graph_leave(result);
	}
	vc_edges_done(&sc->behind);
	sc->behind = behind;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode *deps, size_t n, unsigned int flags)
{
	return cuStreamUpdateCaptureDependencies_v2(stream, deps, NULL, n, flags);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	CUresult result = vc_ready();
	int old = vc_thread.capture_mode;

	if (result)
		return result;
	if (!mode || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	vc_thread.capture_mode = *mode;
	*mode = old;
	return CUDA_SUCCESS;
}
