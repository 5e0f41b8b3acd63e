// SPDX-License-Identifier: Apache-2.0
// Events that stand behind all work of a context, and contexts that wait for events. Two streams of the
// context's own do it: one joins all other streams, and what it recorded last is the event; the other waits
// for what the context is to wait for, and streams that are made later wait for it. Runs in the guest
// program.
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

// A stream of the context's own with an event; made when first needed, they end with the context.
struct helper {
	struct vc_stream *stream;
	struct vc_event *event;
};

struct walk {
	struct vc_context *ctx;
	struct helper helper;
	uint64_t event; // WAIT: for this one
	CUresult result;
};

// The helpers' order: what one call records nobody records over before it was waited for.
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static CUresult event_record(struct vc_event *e, struct vc_stream *s)
{
	struct record_event_record record = { .stream = s->handle, .event = vc_object_handle(VC_EVENT, e) };
	CUresult result = (CUresult)vgpu_push_event_record(vc_client, &record);

	if (!result)
		vc_event_recorded(record.event, s, vc_stream_submitted(s));
	return result;
}

static CUresult stream_wait(struct vc_stream *s, uint64_t event)
{
	struct record_stream_wait_event record = { .stream = s->handle, .event = event };
	CUresult result = (CUresult)vgpu_push_stream_wait_event(vc_client, &record);

	if (!result)
		vc_stream_submitted(s);
	return result;
}

static CUresult helper_find(struct vc_context *ctx, struct vc_context_helper *place, struct helper *ret)
{
	CUresult result = CUDA_SUCCESS;
	struct vc_event *e;

	ret->stream = vc_object_find(VC_STREAM, place->stream);
	ret->event = vc_object_find(VC_EVENT, place->event);
	if (ret->stream && ret->event)
		return CUDA_SUCCESS;
	result = vc_stream_new(ctx, CU_STREAM_NON_BLOCKING, 0, &ret->stream);
	if (!result)
		result = vc_event_make(ctx, CU_EVENT_DISABLE_TIMING, &e);
	if (result)
		return result;
	ret->event = e;
	place->event = vc_object_handle(VC_EVENT, e);
	atomic_store(&place->stream, ret->stream->handle);
	return CUDA_SUCCESS;
}

static int is_ours(const struct vc_context *ctx, const struct vc_stream *s)
{
	return (!s->ctx || s->ctx == ctx) && s->handle != ctx->joins.stream && s->handle != ctx->gate.stream;
}

static void look_capturing(void *object, void *arg)
{
	struct vc_stream *s = object;
	struct walk *w = arg;

	if (is_ours(w->ctx, s) && vc_stream_captures(s))
		w->result = vc_capture_forbids_wait(s);
}

static void join_one(void *object, void *arg)
{
	struct vc_stream *s = object;
	struct walk *w = arg;

	if (w->result || !is_ours(w->ctx, s) || vc_stream_passed(s, s->handle, vc_stream_position(s)))
		return;
	w->result = event_record(w->helper.event, s);
	if (!w->result)
		w->result = stream_wait(w->helper.stream, vc_object_handle(VC_EVENT, w->helper.event));
}

static void wait_one(void *object, void *arg)
{
	struct vc_stream *s = object;
	struct walk *w = arg;

	if (!w->result && is_ours(w->ctx, s))
		w->result = stream_wait(s, w->event);
}

static void each_stream(struct walk *w, void (*fn)(void *object, void *arg))
{
	fn(&vc_legacy_stream, w);
	vc_object_each(VC_STREAM, fn, w);
}

// On success `order` is held.
static CUresult enter(CUcontext context, CUevent event, struct walk *w, struct vc_event **e)
{
	CUresult result = vc_ready();

	*w = (struct walk){ .event = (uint64_t)(uintptr_t)event };
	if (!result && vc_thread.in_callback)
		result = CUDA_ERROR_NOT_PERMITTED;
	if (!result)
		result = (CUresult)vgpu_client_sticky(vc_client);
	if (result)
		return result;
	w->ctx = vc_context_find(context);
	if (!w->ctx || !atomic_load(&w->ctx->active))
		return CUDA_ERROR_INVALID_CONTEXT;
	*e = vc_object_find(VC_EVENT, w->event);
	if (!*e)
		return CUDA_ERROR_INVALID_HANDLE;
	each_stream(w, look_capturing);
	if (w->result)
		return w->result;
	pthread_mutex_lock(&order);
	return CUDA_SUCCESS;
}

static CUresult leave(CUresult result)
{
	pthread_mutex_unlock(&order);
	return result;
}

CUresult cuCtxRecordEvent(CUcontext context, CUevent event)
{
	struct vc_event *e;
	struct walk w;
	CUresult result = enter(context, event, &w, &e);

	if (result)
		return result;
	if (e->ctx != w.ctx)
		return leave(CUDA_ERROR_INVALID_HANDLE);
	w.result = helper_find(w.ctx, &w.ctx->joins, &w.helper);
	if (!w.result)
		each_stream(&w, join_one);
	return leave(w.result ? w.result : event_record(e, w.helper.stream));
}

CUresult cuCtxWaitEvent(CUcontext context, CUevent event)
{
	struct vc_event *e;
	struct walk w;
	CUresult result = enter(context, event, &w, &e);

	if (result)
		return result;
	if (e->captured) {
		vc_capture_forbids_event(e);
		return leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	}
	if (!atomic_load(&e->recorded))
		return leave(CUDA_SUCCESS);
	w.result = helper_find(w.ctx, &w.ctx->gate, &w.helper);
	if (!w.result)
		w.result = stream_wait(w.helper.stream, w.event);
	if (!w.result)
		w.result = event_record(w.helper.event, w.helper.stream);
	if (!w.result)
		each_stream(&w, wait_one);
	return leave(w.result);
}

CUresult vc_context_gate(struct vc_context *ctx, struct vc_stream *s)
{
	CUresult result = CUDA_SUCCESS;

	if (!ctx || VC_LIKELY(!atomic_load(&ctx->gate.stream)))
		return CUDA_SUCCESS;
	pthread_mutex_lock(&order);
	if (vc_object_find(VC_STREAM, ctx->gate.stream) && vc_object_find(VC_EVENT, ctx->gate.event))
		result = stream_wait(s, ctx->gate.event);
	pthread_mutex_unlock(&order);
	return result;
}
