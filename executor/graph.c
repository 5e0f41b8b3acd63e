// SPDX-License-Identifier: Apache-2.0
// Executable graphs: the handlers of graph_*. A graph is a list of records that were checked once, with their
// order (protocol/guest/graph.h). A backend that has graphs of its own gets them by capture: the records run
// through their ordinary handlers while a private stream collects them. Otherwise, and where a node stands
// for a function of the guest, a launch replays the records in the stream, one after the other. Called by the
// generated dispatch in an executor's loop.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "executor/executor.h"
#include "executor/graph.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

#define NO_NODE	   UINT32_MAX
#define NODE_BYTES 1024u // charged for a node beside its description: what we and a driver keep of it

// ---- one node ----

// A node's record with its handles resolved.
struct decoded {
	union {
		struct record_launch launch;
		struct record_copy copy;
		struct record_set set;
		struct record_event_record record;
		struct record_stream_wait_event wait;
	};
	struct function *function;
	struct event *event;
};

// Checks the record as if it stood in the ring. 0, or the CUresult that it is refused with.
static int32_t decode(struct executor *x, const struct graph_op *op, struct decoded *d)
{
	struct stream *none;
	int32_t result = CUDA_ERROR_INVALID_VALUE;
	const char *why;
	int bad;

	switch (op->opcode) {
	case OPCODE_LAUNCH:
		bad = check_launch(x, op->body, op->bytes, &d->launch, &none, &d->function, &result, &why);
		break;
	case OPCODE_COPY: bad = check_copy(x, op->body, op->bytes, &d->copy, &none, &result, &why); break;
	case OPCODE_SET: bad = check_set(x, op->body, op->bytes, &d->set, &none, &result, &why); break;
	case OPCODE_EVENT_RECORD:
		bad = check_event_record(x, op->body, op->bytes, &d->record, &none, &d->event, &result, &why);
		break;
	case OPCODE_STREAM_WAIT_EVENT:
		bad = check_stream_wait_event(x, op->body, op->bytes, &d->wait, &none, &d->event, &result,
					      &why);
		break;
	default: return CUDA_ERROR_INVALID_VALUE; // no other record may stand in a graph
	}
	return bad ? CUDA_ERROR_INVALID_VALUE : result;
}

// Gives the node's record to the stream; its handles may have died since it was looked at last.
static int32_t run_record(struct executor *x, const struct graph_op *op, struct stream *stream,
			  bool capturing)
{
	uint32_t event_flags = capturing ? CU_EVENT_RECORD_EXTERNAL : 0; // means something in a capture only
	struct decoded d;
	int32_t result = decode(x, op, &d);

	if (result)
		return result;
	switch (op->opcode) {
	case OPCODE_LAUNCH:
		return on_launch(x, &d.launch, stream, d.function, op->body + sizeof(d.launch),
				 op->bytes - (uint32_t)sizeof(d.launch));
	case OPCODE_COPY: return on_copy(x, &d.copy, stream);
	case OPCODE_SET: return on_set(x, &d.set, stream);
	case OPCODE_EVENT_RECORD:
		d.record.flags = event_flags;
		return on_event_record(x, &d.record, stream, d.event);
	default: d.wait.flags = event_flags; return on_stream_wait_event(x, &d.wait, stream, d.event);
	}
}

// ---- the backend's own graph ----

// Runs all nodes into the backend's capture; *ret_node: the one that was refused.
static int32_t capture_nodes(struct executor *x, struct graph *g, uint32_t *ret_node)
{
	struct stream into = { .lane = TRACK_NOWHERE };
	int32_t result = x->ops->graph_begin(x->backend, g->n_ops, &into.backend);

	x->collected = (struct collected){ 0, 0 };
	for (uint32_t i = 0; !result && i < g->n_ops; i++) {
		const struct graph_op *op = &g->ops[i];

		*ret_node = i;
		result = x->ops->graph_place(x->backend, &g->behind[op->first_behind], op->n_behind);
		if (!result && op->kind == GRAPH_NODE_RECORD && op->enabled)
			result = run_record(x, op, &into, true);
		if (!result)
			result = x->ops->graph_placed(x->backend);
	}
	g->each = x->collected;
	return result;
}

static int32_t native_build(struct executor *x, struct graph *g, uint32_t *ret_node)
{
	int32_t result, ended;

	*ret_node = NO_NODE;
	result = capture_nodes(x, g, ret_node);
	ended = x->ops->graph_end(x->backend, result ? NULL : &g->native);
	if (!result) {
		*ret_node = NO_NODE;
		result = ended;
	}
	g->changed = result != CUDA_SUCCESS;
	g->gone = x->gone;
	g->events_gone = x->events_gone;
	return result;
}

// ---- reading a description ----

struct reader {
	const uint8_t *at;
	uint64_t left;
};

static const void *take(struct reader *r, uint64_t bytes)
{
	const void *p = r->at;

	if (bytes > r->left)
		return NULL;
	r->at += bytes;
	r->left -= bytes;
	return p;
}

static bool reserved_is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

// Edges come sorted by where they lead, and lead upwards only.
static int32_t read_edges(struct graph *g, const struct graph_edge *edges, uint32_t n)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct graph_edge *e = &edges[i];

		if (e->to < last || e->to >= g->n_ops || e->from >= e->to ||
		    !reserved_is_zero(e->reserved, sizeof(e->reserved)))
			return CUDA_ERROR_INVALID_VALUE;
		if (!g->ops[e->to].n_behind)
			g->ops[e->to].first_behind = i;
		g->ops[e->to].n_behind++;
		g->behind[i] = e->from;
		last = e->to;
	}
	return CUDA_SUCCESS;
}

static int32_t read_host(const struct executor *x, const struct graph_op *op)
{
	struct graph_host_node h;

	if (op->bytes != sizeof(h))
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&h, op->body, sizeof(h));
	return h.request_slot < x->assign.geometry.fence_slots &&
		       h.answer_slot < x->assign.geometry.fence_slots && h.request_slot != h.answer_slot
		   ? CUDA_SUCCESS
		   : CUDA_ERROR_INVALID_VALUE;
}

static int32_t read_node(struct executor *x, struct graph *g, struct graph_op *op, struct reader *r)
{
	const struct graph_node *from = take(r, sizeof(*from));
	const void *body;
	struct graph_node n;

	if (!from)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&n, from, sizeof(n));
	body = take(r, ((uint64_t)n.bytes + 7) & ~7ull);
	if (!body || (n.flags & ~GRAPH_NODE_DISABLED) ||
	    !reserved_is_zero((uint8_t *)n.reserved, sizeof(n.reserved)))
		return CUDA_ERROR_INVALID_VALUE;
	op->kind = n.kind;
	op->opcode = n.opcode;
	op->enabled = !(n.flags & GRAPH_NODE_DISABLED);
	op->bytes = n.bytes;
	if (n.bytes) {
		op->body = malloc(n.bytes);
		if (!op->body)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(op->body, body, n.bytes);
	}
	switch (n.kind) {
	case GRAPH_NODE_EMPTY: return n.bytes || n.opcode ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
	case GRAPH_NODE_RECORD:
		g->has_events |= n.opcode == OPCODE_EVENT_RECORD;
		g->has_waits |= n.opcode == OPCODE_STREAM_WAIT_EVENT;
		return decode(x, op, &(struct decoded){ 0 });
	case GRAPH_NODE_HOST:
		g->has_host = true;
		return n.opcode ? CUDA_ERROR_INVALID_VALUE : read_host(x, op);
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

// The blob is the executor's own copy: it does not change while it is read.
static int32_t read_graph(struct executor *x, struct graph *g, const struct blob *blob, uint32_t *ret_node)
{
	struct reader r = { blob->data, blob->size };
	const struct graph_header *h = take(&r, sizeof(*h));
	const struct graph_edge *edges;
	int32_t result;

	if (!h || h->magic != GRAPH_MAGIC || h->reserved || h->n_nodes > VGPU_MAX_GRAPH_NODES ||
	    h->n_edges > VGPU_MAX_GRAPH_EDGES)
		return CUDA_ERROR_INVALID_VALUE;
	edges = take(&r, (uint64_t)h->n_edges * sizeof(*edges));
	if (!edges || h->n_nodes > r.left / sizeof(struct graph_node))
		return CUDA_ERROR_INVALID_VALUE;
	if ((uint64_t)h->n_nodes * NODE_BYTES > VGPU_MAX_GRAPH_BYTES - x->graph_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->bytes += (uint64_t)h->n_nodes * NODE_BYTES;
	x->graph_bytes += (uint64_t)h->n_nodes * NODE_BYTES;
	g->ops = calloc(h->n_nodes ? h->n_nodes : 1, sizeof(*g->ops));
	g->behind = calloc(h->n_edges ? h->n_edges : 1, sizeof(*g->behind));
	if (!g->ops || !g->behind)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->n_ops = h->n_nodes;
	result = read_edges(g, edges, h->n_edges);
	for (uint32_t i = 0; !result && i < g->n_ops; i++) {
		*ret_node = i;
		result = read_node(x, g, &g->ops[i], &r);
	}
	if (!result)
		*ret_node = NO_NODE;
	return !result && r.left ? CUDA_ERROR_INVALID_VALUE : result;
}

// ---- life ----

static void free_parts(struct executor *x, struct graph *g)
{
	if (g->native)
		x->ops->graph_free(x->backend, g->native);
	for (uint32_t i = 0; i < g->n_ops; i++)
		free(g->ops[i].body);
	free(g->ops);
	free(g->behind);
	x->graph_bytes -= g->bytes;
	free(g);
}

void graph_free(struct executor *x, void *object)
{
	struct graph *g = object;

	handle_remove(x, g->object.handle);
	free_parts(x, g);
}

static int32_t make(struct executor *x, struct blob *blob, struct graph **ret, uint32_t *ret_node)
{
	struct graph *g;
	int32_t result;

	if (blob->size > VGPU_MAX_GRAPH_BYTES - x->graph_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g = calloc(1, sizeof(*g));
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->bytes = blob->size;
	x->graph_bytes += g->bytes;
	g->id = ++x->last_function;
	result = read_graph(x, g, blob, ret_node);
	if (!result && !g->has_host && (x->ops->capabilities & BACKEND_CAP_GRAPHS)) {
		result = native_build(x, g, ret_node);
		if (result == CUDA_ERROR_NOT_SUPPORTED) { // something that only a replay can do
			*ret_node = NO_NODE;
			result = CUDA_SUCCESS;
		}
	}
	if (result) {
		free_parts(x, g);
		return result;
	}
	*ret = g;
	return CUDA_SUCCESS;
}

int32_t on_graph_create(struct executor *x, const struct record_graph_create *r, struct graph **ret_graph,
			struct blob *blob, struct reply_graph_create *ret)
{
	int32_t result = executor_ready(x);

	(void)r;
	ret->error_node = NO_NODE;
	if (!result)
		result = make(x, blob, ret_graph, &ret->error_node);
	blob_free(x, blob);
	return result;
}

int32_t on_graph_destroy(struct executor *x, const struct record_graph_destroy *r, struct graph *graph)
{
	(void)r;
	graph_free(x, graph);
	return executor_ready(x);
}

int32_t on_graph_set(struct executor *x, const struct record_graph_set *r, struct graph *graph,
		     const uint8_t *tail, uint32_t tail_bytes)
{
	int32_t result = executor_ready(x);
	struct graph_op *op;
	uint8_t *body;

	if (result)
		return result;
	if (r->node >= graph->n_ops || (tail_bytes && graph->ops[r->node].kind != GRAPH_NODE_RECORD))
		return CUDA_ERROR_INVALID_VALUE;
	op = &graph->ops[r->node];
	if (tail_bytes) {
		if (tail_bytes > op->bytes && tail_bytes - op->bytes > VGPU_MAX_GRAPH_BYTES - x->graph_bytes)
			return CUDA_ERROR_OUT_OF_MEMORY;
		body = realloc(op->body, tail_bytes);
		if (!body)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(body, tail, tail_bytes);
		graph->bytes = graph->bytes - op->bytes + tail_bytes;
		x->graph_bytes = x->graph_bytes - op->bytes + tail_bytes;
		op->body = body;
		op->bytes = tail_bytes;
	}
	op->enabled = r->enabled;
	graph->changed = true;
	return CUDA_SUCCESS;
}

// ---- launches ----

// Brings the backend's graph up to what graph_set changed since, and has all of it checked again when
// something is gone that it may name: capturing anew does both. A change that only a replay can do gives the
// backend's graph up.
static int32_t refresh(struct executor *x, struct graph *g)
{
	bool stale = g->changed || g->gone != x->gone ||
		     ((g->has_events || g->has_waits) && g->events_gone != x->events_gone);
	uint32_t node;
	int32_t result;

	if (!g->native || !stale)
		return CUDA_SUCCESS;
	result = native_build(x, g, &node);
	if (result != CUDA_ERROR_NOT_SUPPORTED)
		return result;
	x->ops->graph_free(x->backend, g->native);
	g->native = NULL;
	return CUDA_SUCCESS;
}

// The lane comes to stand behind what the graph's wait nodes wait for (before), and its events behind the
// lane.
static void tie_events(struct executor *x, const struct graph *g, uint32_t lane, uint16_t opcode)
{
	struct decoded d;

	for (uint32_t i = 0; i < g->n_ops; i++) {
		if (g->ops[i].opcode != opcode || decode(x, &g->ops[i], &d))
			continue;
		if (opcode == OPCODE_EVENT_RECORD)
			event_recorded(x, d.event, lane);
		else
			track_guard_add(x, lane, &d.event->guard);
	}
}

static int32_t launch_native(struct executor *x, struct graph *g, struct stream *stream)
{
	uint32_t lane = work_lane(stream);
	uint64_t key = predict_kernel_key(g->id, 1);
	int32_t result;

	track_before(x, lane);
	if (g->has_waits)
		tie_events(x, g, lane, OPCODE_STREAM_WAIT_EVENT);
	result = x->ops->graph_launch(x->backend, g->native, work_stream(stream));
	if (result)
		return result;
	counter_add(&x->turn->launches, g->each.launches);
	counter_add(&x->turn->copy_bytes, g->each.copy_bytes);
	track_after(
	    x, lane, key,
	    predict_ns(&x->predict, key, (g->each.launches ? g->each.launches : 1) * PREDICT_UNKNOWN_NS));
	if (g->has_events)
		tie_events(x, g, lane, OPCODE_EVENT_RECORD);
	return CUDA_SUCCESS;
}

static int32_t run_host(struct executor *x, const struct graph_op *op, struct stream *stream, uint64_t run)
{
	uint64_t lane = stream ? stream->object.handle : STREAM_LEGACY;
	struct record_stream_wait_value wait = { .stream = lane, .value = run };
	struct record_fence fence = { .stream = lane, .value = run };
	struct graph_host_node h;
	int32_t result;

	memcpy(&h, op->body, sizeof(h));
	fence.slot = h.request_slot;
	wait.slot = h.answer_slot;
	result = on_fence(x, &fence, stream);
	return result ? result : on_stream_wait_value(x, &wait, stream);
}

// As the loop asks before each record: room in flight (a host node takes two places), and the gate.
static bool may_go_on(const struct executor *x)
{
	if (x->track.records + 2 > TRACK_MAX_RECORDS)
		return false;
	return gate_is_free(&x->gate) ||
	       gate_ask_slow(&x->gate, clock_now_ns(), x->track.predicted_ns) == GATE_GO;
}

// Goes on where the attempt before had to stop.
static int32_t launch_replay(struct executor *x, struct graph *g, struct stream *stream, uint64_t run)
{
	int32_t result = CUDA_SUCCESS;

	while (!result && g->cursor < g->n_ops) {
		const struct graph_op *op = &g->ops[g->cursor];

		if (!may_go_on(x))
			return RESULT_AGAIN;
		if (op->kind == GRAPH_NODE_HOST)
			result = run_host(x, op, stream, run);
		else if (op->kind == GRAPH_NODE_RECORD && op->enabled)
			result = run_record(x, op, stream, false);
		g->cursor++;
	}
	g->cursor = 0;
	return result;
}

int32_t on_graph_upload(struct executor *x, const struct record_graph_upload *r, struct stream *stream,
			struct graph *graph)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (!result)
		result = refresh(x, graph);
	if (result || !graph->native)
		return result;
	track_before(x, work_lane(stream));
	result = x->ops->graph_upload(x->backend, graph->native, work_stream(stream));
	if (!result)
		track_after(x, work_lane(stream), 0, TRACK_SMALL_NS);
	return result;
}

int32_t on_graph_launch(struct executor *x, const struct record_graph_launch *r, struct stream *stream,
			struct graph *graph)
{
	int32_t result = executor_ready(x);

	if (!result)
		result = refresh(x, graph);
	if (result)
		return result;
	return graph->native ? launch_native(x, graph, stream) : launch_replay(x, graph, stream, r->run);
}
