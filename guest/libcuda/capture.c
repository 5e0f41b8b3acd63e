// SPDX-License-Identifier: Apache-2.0
// Stream capture: while a stream captures, what would go to it becomes nodes of a graph instead. Nothing of
// it reaches the executor. Other streams join by waiting for an event that was recorded in the capture. The
// program's calls are in capture_calls.c. Runs in the guest program; everything under vc_graph_lock but the
// question whether a stream captures at all.
#include "guest/libcuda/capture.h"
#include "guest/libcuda/condition.h"

#include <stdlib.h>

// What an event stands for that was recorded in a capture.
struct vc_event_capture {
	uint64_t capture;
	struct vc_edges behind;
};

static LIST_HEAD(, vc_capture) captures = LIST_HEAD_INITIALIZER(captures);
static uint64_t last_id;

_Atomic uint32_t vc_captures_blocking, vc_captures_strict;

// ---- life

struct vc_capture *vc_capture_of(const struct vc_stream *s)
{
	struct vc_stream_capture *sc = atomic_load_explicit(&s->capture, memory_order_relaxed);

	return sc ? sc->capture : NULL;
}

static CUresult join(struct vc_capture *c, struct vc_stream *s, struct vc_stream_capture **ret)
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

void vc_capture_free(struct vc_capture *c)
{
	while (!TAILQ_EMPTY(&c->streams))
		leave_stream(TAILQ_FIRST(&c->streams));
	if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
		atomic_fetch_sub(&vc_captures_strict, 1);
	LIST_REMOVE(c, next);
	free(c);
}

void vc_capture_invalidate(struct vc_capture *c)
{
	c->invalid = 1;
}

CUresult vc_capture_begin(struct vc_stream *s, struct vc_graph *g, int own, const struct vc_edges *behind,
			  CUstreamCaptureMode mode)
{
	struct vc_stream_capture *sc;
	struct vc_capture *c;

	if (s == &vc_legacy_stream || s->internal)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (vc_capture_of(s))
		return CUDA_ERROR_ILLEGAL_STATE;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*c = (struct vc_capture){ .id = ++last_id,
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
		struct vc_capture *c = sc->capture;

		vc_capture_invalidate(c);
		if (c->origin == s) {
			if (c->own_graph)
				vc_graph_free(c->graph);
			vc_capture_free(c);
		} else {
			leave_stream(sc);
		}
	}
	pthread_mutex_unlock(&vc_graph_lock);
}

// ---- what is not permitted meanwhile

CUresult vc_capture_forbids_legacy(void)
{
	struct vc_capture *c;
	struct vc_stream_capture *sc;

	pthread_mutex_lock(&vc_graph_lock);
	LIST_FOREACH (c, &captures, next)
		TAILQ_FOREACH (sc, &c->streams, next)
			if (!(sc->stream->flags & CU_STREAM_NON_BLOCKING))
				vc_capture_invalidate(c);
	pthread_mutex_unlock(&vc_graph_lock);
	return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
}

CUresult vc_capture_forbids_unsafe(void)
{
	CUresult result = CUDA_SUCCESS;
	struct vc_capture *c;

	if (vc_thread.capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_SUCCESS;
	pthread_mutex_lock(&vc_graph_lock);
	LIST_FOREACH (c, &captures, next) {
		int mine = c->thread == &vc_thread && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
		int everybodys = c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
				 vc_thread.capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;

		if (!mine && !everybodys)
			continue;
		vc_capture_invalidate(c);
		result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	}
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

CUresult vc_capture_forbids_wait(struct vc_stream *s)
{
	struct vc_capture *c;

	pthread_mutex_lock(&vc_graph_lock);
	LIST_FOREACH (c, &captures, next)
		if (!s || vc_capture_of(s) == c)
			vc_capture_invalidate(c);
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
	struct vc_capture *c = vc_capture_of(s);

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
	result = vc_body_takes(sc->capture->graph, what->type) ? CUDA_SUCCESS
							       : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	for (uint32_t i = 0; i < sc->behind.n; i++)
		if (!vc_edge_valid(sc->behind.list[i].node, what->type, &sc->behind.list[i].data))
			result = CUDA_ERROR_INVALID_VALUE;
	if (result)
		vc_what_done(what);
	else
		result = vc_gnode_new(sc->capture->graph, what, sc->behind.list, sc->behind.n, &node);
	if (!result) {
		sc->behind.n = 0;
		if (vc_edges_add(&sc->behind, node, NULL))
			result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (result)
		vc_capture_invalidate(sc->capture);
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

static struct vc_capture *capture_by_id(uint64_t id)
{
	struct vc_capture *c;

	LIST_FOREACH (c, &captures, next)
		if (c->id == id)
			return c;
	return NULL;
}

static CUresult wait_captured(struct vc_stream *s, const struct vc_event_capture *ec)
{
	struct vc_stream_capture *sc = atomic_load(&s->capture);
	struct vc_capture *c = capture_by_id(ec->capture);
	CUresult result = CUDA_SUCCESS;

	if (!c)
		return CUDA_ERROR_CAPTURED_EVENT; // its capture is over
	if (c->invalid)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (sc && sc->capture != c) {
		vc_capture_invalidate(c);
		vc_capture_invalidate(sc->capture);
		return CUDA_ERROR_STREAM_CAPTURE_MERGE;
	}
	if (!sc && s == &vc_legacy_stream) {
		vc_capture_invalidate(c);
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
	struct vc_capture *c;

	pthread_mutex_lock(&vc_graph_lock);
	c = e->captured ? capture_by_id(e->captured->capture) : NULL;
	if (c)
		vc_capture_invalidate(c);
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
		vc_capture_invalidate(
		    vc_capture_of(s)); // work outside of the capture cannot be waited for inside
		result = CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
	}
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}
