// SPDX-License-Identifier: Apache-2.0
// Stream capture: while a stream captures, what would go to it becomes nodes of a graph instead. Nothing of
// it reaches the executor. Other streams join by waiting for an event that was recorded in the capture. Runs
// in the guest program; everything under vc_graph_lock but the question whether a stream captures at all.
#include <stdlib.h>
#include <string.h>

#include "guest/libcuda/graph.h"

struct capture {
	uint64_t id;
	struct vc_graph *graph;
	uint64_t graph_handle;
	int own_graph; // made by cuStreamBeginCapture
	struct vc_stream *origin;
	const struct vc_thread *thread;
	CUstreamCaptureMode mode;
	int invalid;
	TAILQ_HEAD(, vc_stream_capture) streams;
	LIST_ENTRY(capture) next;
};

struct vc_stream_capture {
	TAILQ_ENTRY(vc_stream_capture) next;
	struct capture *capture;
	struct vc_stream *stream;
	struct vc_edges behind; // what the next node stands behind
	CUgraphNode *nodes;	// what cuStreamGetCaptureInfo handed out
	CUgraphEdgeData *data;
};

// What an event stands for that was recorded in a capture.
struct vc_event_capture {
	uint64_t capture;
	struct vc_edges behind;
};

static LIST_HEAD(, capture) captures = LIST_HEAD_INITIALIZER(captures);
static uint64_t last_id;

_Atomic uint32_t vc_captures_blocking, vc_captures_strict;

// ---- life

static struct capture *capture_of(const struct vc_stream *s)
{
	struct vc_stream_capture *sc = atomic_load_explicit(&s->capture, memory_order_relaxed);

	return sc ? sc->capture : NULL;
}

static CUresult join(struct capture *c, struct vc_stream *s, struct vc_stream_capture **ret)
{
	struct vc_stream_capture *sc = calloc(1, sizeof(*sc));

	if (!sc)
		return CUDA_ERROR_OUT_OF_MEMORY;
	sc->capture = c;
	sc->stream = s;
	TAILQ_INSERT_TAIL(&c->streams, sc, next);
	if (!(s->flags & CU_STREAM_NON_BLOCKING))
		atomic_fetch_add(&vc_captures_blocking, 1);
	atomic_store_explicit(&s->capture, sc, memory_order_release);
	*ret = sc;
	return CUDA_SUCCESS;
}

static void leave_stream(struct vc_stream_capture *sc)
{
	TAILQ_REMOVE(&sc->capture->streams, sc, next);
	if (!(sc->stream->flags & CU_STREAM_NON_BLOCKING))
		atomic_fetch_sub(&vc_captures_blocking, 1);
	atomic_store_explicit(&sc->stream->capture, NULL, memory_order_release);
	vc_edges_done(&sc->behind);
	free(sc->nodes);
	free(sc->data);
	free(sc);
}

static void capture_free(struct capture *c)
{
	while (!TAILQ_EMPTY(&c->streams))
		leave_stream(TAILQ_FIRST(&c->streams));
	if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		atomic_fetch_sub(&vc_captures_strict, 1);
	LIST_REMOVE(c, next);
	free(c);
}

static void invalidate(struct capture *c)
{
	c->invalid = 1;
}

static CUresult begin(struct vc_stream *s, struct vc_graph *g, int own, const struct vc_edges *behind,
		      CUstreamCaptureMode mode)
{
	struct vc_stream_capture *sc;
	struct capture *c;

	if (s == &vc_legacy_stream || s->internal)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (capture_of(s))
		return CUDA_ERROR_ILLEGAL_STATE;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*c = (struct capture){ .id = ++last_id,
			       .graph = g,
			       .graph_handle = vc_object_handle(VC_GRAPH, g),
			       .own_graph = own,
			       .origin = s,
			       .thread = &vc_thread,
			       .mode = mode };
	TAILQ_INIT(&c->streams);
	if (join(c, s, &sc) || vc_edges_copy(&sc->behind, behind)) {
		while (!TAILQ_EMPTY(&c->streams))
			leave_stream(TAILQ_FIRST(&c->streams));
		free(c);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	LIST_INSERT_HEAD(&captures, c, next);
	if (mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		atomic_fetch_add(&vc_captures_strict, 1);
	return CUDA_SUCCESS;
}

// Destroying a stream in the middle of a capture ends its part in it.
void vc_capture_stream_gone(struct vc_stream *s)
{
	struct vc_stream_capture *sc;

	pthread_mutex_lock(&vc_graph_lock);
	sc = atomic_load(&s->capture);
	if (sc) {
		struct capture *c = sc->capture;

		invalidate(c);
		if (c->origin == s) {
			if (c->own_graph)
				vc_graph_free(c->graph);
			capture_free(c);
		} else {
			leave_stream(sc);
		}
	}
	pthread_mutex_unlock(&vc_graph_lock);
}

// ---- what is not permitted meanwhile

CUresult vc_capture_forbids_legacy(void)
{
	struct capture *c;
	struct vc_stream_capture *sc;

	pthread_mutex_lock(&vc_graph_lock);
	LIST_FOREACH (c, &captures, next)
		TAILQ_FOREACH (sc, &c->streams, next)
			if (!(sc->stream->flags & CU_STREAM_NON_BLOCKING))
				invalidate(c);
	pthread_mutex_unlock(&vc_graph_lock);
	return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
}

CUresult vc_capture_forbids_unsafe(void)
{
	CUresult result = CUDA_SUCCESS;
	struct capture *c;

	if (vc_thread.capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_SUCCESS;
	pthread_mutex_lock(&vc_graph_lock);
	LIST_FOREACH (c, &captures, next) {
		int mine = c->thread == &vc_thread && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
		int everybodys = c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
				 vc_thread.capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;

		if (!mine && !everybodys)
			continue;
		invalidate(c);
		result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	}
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

CUresult vc_capture_forbids_wait(struct vc_stream *s)
{
	struct capture *c;

	pthread_mutex_lock(&vc_graph_lock);
	LIST_FOREACH (c, &captures, next)
		if (!s || capture_of(s) == c)
			invalidate(c);
	pthread_mutex_unlock(&vc_graph_lock);
	return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

int vc_capture_any(void)
{
	int any;

	pthread_mutex_lock(&vc_graph_lock);
	any = !LIST_EMPTY(&captures);
	pthread_mutex_unlock(&vc_graph_lock);
	return any;
}

// ---- nodes

struct vc_graph *vc_capture_graph(struct vc_stream *s)
{
	struct capture *c = capture_of(s);

	return c && !c->invalid ? c->graph : NULL;
}

CUresult vc_capture_add(struct vc_stream *s, struct vc_what *what)
{
	struct vc_stream_capture *sc;
	struct vc_gnode *node;
	CUresult result;

	pthread_mutex_lock(&vc_graph_lock);
	sc = atomic_load(&s->capture);
	if (!sc || sc->capture->invalid) {
		vc_what_done(what);
		pthread_mutex_unlock(&vc_graph_lock);
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	}
	result = vc_gnode_new(sc->capture->graph, what, sc->behind.list, sc->behind.n, &node);
	if (!result) {
		sc->behind.n = 0;
		if (vc_edges_add(&sc->behind, node, NULL))
			result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (result)
		invalidate(sc->capture);
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

// ---- events: how other streams join

void vc_capture_event_gone(struct vc_event *e)
{
	if (!e->captured)
		return;
	vc_edges_done(&e->captured->behind);
	free(e->captured);
	e->captured = NULL;
}

CUresult vc_capture_event_record(struct vc_stream *s, struct vc_event *e)
{
	struct vc_event_capture *ec = calloc(1, sizeof(*ec));
	struct vc_stream_capture *sc;
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

	pthread_mutex_lock(&vc_graph_lock);
	sc = atomic_load(&s->capture);
	if (!sc || sc->capture->invalid) {
		result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	} else if (ec && !vc_edges_copy(&ec->behind, &sc->behind)) {
		ec->capture = sc->capture->id;
		vc_capture_event_gone(e);
		e->captured = ec;
		ec = NULL;
		result = CUDA_SUCCESS;
	}
	if (ec)
		vc_edges_done(&ec->behind);
	free(ec);
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

static struct capture *capture_by_id(uint64_t id)
{
	struct capture *c;

	LIST_FOREACH (c, &captures, next)
		if (c->id == id)
			return c;
	return NULL;
}

static CUresult wait_captured(struct vc_stream *s, const struct vc_event_capture *ec)
{
	struct vc_stream_capture *sc = atomic_load(&s->capture);
	struct capture *c = capture_by_id(ec->capture);
	CUresult result = CUDA_SUCCESS;

	if (!c)
		return CUDA_ERROR_CAPTURED_EVENT; // its capture is over
	if (c->invalid)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (sc && sc->capture != c) {
		invalidate(c);
		invalidate(sc->capture);
		return CUDA_ERROR_STREAM_CAPTURE_MERGE;
	}
	if (!sc && s == &vc_legacy_stream) {
		invalidate(c);
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	}
	if (!sc)
		result = join(c, s, &sc);
	if (!result && vc_edges_copy(&sc->behind, &ec->behind))
		result = CUDA_ERROR_OUT_OF_MEMORY;
	return result;
}

CUresult vc_capture_forbids_event(struct vc_event *e)
{
	struct capture *c;

	pthread_mutex_lock(&vc_graph_lock);
	c = e->captured ? capture_by_id(e->captured->capture) : NULL;
	if (c)
		invalidate(c);
	pthread_mutex_unlock(&vc_graph_lock);
	return CUDA_ERROR_CAPTURED_EVENT;
}

CUresult vc_capture_event_wait(struct vc_stream *s, struct vc_event *e)
{
	CUresult result;

	pthread_mutex_lock(&vc_graph_lock);
	if (e->captured) {
		result = wait_captured(s, e->captured);
	} else {
		invalidate(capture_of(s)); // work outside of the capture cannot be waited for inside
		result = CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
	}
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

// ---- the calls

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
	result = begin(s, g, 1, &none, mode);
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
		result = begin(s, g, 0, &behind, mode);
	vc_edges_done(&behind);
	return vc_graph_leave(result);
}

// Whether all that the other streams did is behind what the origin stands behind.
static int all_joined(struct capture *c)
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
	struct capture *c;
	struct vc_stream *s;
	CUresult result = enter(stream, &s);
	int keep;

	if (result)
		return result;
	c = capture_of(s);
	if (!ret || !c)
		return vc_graph_leave(ret ? CUDA_ERROR_ILLEGAL_STATE : CUDA_ERROR_INVALID_VALUE);
	if (c->origin != s) {
		invalidate(c);
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
	capture_free(c);
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
	if (capture_of(s))
		*status = capture_of(s)->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
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
