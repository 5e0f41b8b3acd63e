// SPDX-License-Identifier: Apache-2.0
// Executable graphs: the handlers of graph_*. A graph is a list of records that were checked once, with their
// order (graph_read.c). A backend that has graphs of its own gets them by capture: the records run
// through their ordinary handlers while a private stream collects them. Otherwise, and where a node stands
// for a function of the guest or waits for a word in memory, a launch replays the records in the stream, one
// after the other. Graphs with conditional nodes are the backend's alone: what becomes of a condition is
// known where kernels run. Called by the generated dispatch in an executor's loop.
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

#define NO_NODE UINT32_MAX

// Gives the node's record to the stream; its handles may have died since it was looked at last.
static int32_t run_record(struct executor *x, const struct graph_op *op, struct stream *stream,
			  bool capturing)
{
	uint32_t event_flags = capturing ? CU_EVENT_RECORD_EXTERNAL : 0; // means something in a capture only
	struct graph_decoded d;
	int32_t result = graph_decode(x, op, &d);

	if (result)
		return result;
	switch (op->opcode) {
	case OPCODE_LAUNCH:
		return on_launch(x, &d.launch, stream, d.function, op->body + sizeof(d.launch),
				 op->bytes - (uint32_t)sizeof(d.launch));
	case OPCODE_COPY: return on_copy(x, &d.copy, stream);
	case OPCODE_COPY_ARRAY: return on_copy_array(x, &d.copy_array, stream, d.dst_array, d.src_array);
	case OPCODE_SET: return on_set(x, &d.set, stream);
	case OPCODE_WORDS:
		return on_words(x, &d.words, stream, op->body + sizeof(d.words),
				op->bytes - (uint32_t)sizeof(d.words));
	case OPCODE_EVENT_RECORD:
		d.record.flags = event_flags;
		return on_event_record(x, &d.record, stream, d.event);
	default: d.wait.flags = event_flags; return on_stream_wait_event(x, &d.wait, stream, d.event);
	}
}

// ---- the backend's own graph ----

static int32_t capture_range(struct executor *x, struct graph *g, struct stream *into, uint32_t from,
			     uint32_t to, uint32_t *ret_node);

static int32_t capture_branch(struct executor *x, struct graph *g, uint32_t node, uint32_t *ret_node)
{
	const uint8_t *counts;
	struct graph_condition_node c = graph_branch_of(&g->ops[node], &counts);
	struct backend_branch branch = { g->conditions->backend, c.condition, c.type, c.n_bodies };
	struct stream into = { .lane = TRACK_NOWHERE };
	int32_t result = x->ops->branch_enter(x->backend, &branch);
	uint32_t first = node + 1;

	for (uint32_t i = 0; !result && i < c.n_bodies; i++) {
		uint32_t n = graph_branch_count(counts, i);

		result = x->ops->branch_body(x->backend, &into.backend);
		if (!result)
			result = capture_range(x, g, &into, first, first + n, ret_node);
		first += n;
	}
	return result ? result : x->ops->branch_leave(x->backend);
}

// The nodes [from, to), which are those of one body or of the whole graph.
static int32_t capture_range(struct executor *x, struct graph *g, struct stream *into, uint32_t from,
			     uint32_t to, uint32_t *ret_node)
{
	int32_t result = CUDA_SUCCESS;

	for (uint32_t i = from; !result && i < to; i += 1 + g->ops[i].n_inside) {
		const struct graph_op *op = &g->ops[i];

		*ret_node = i;
		result = x->ops->graph_place(x->backend, &g->behind[op->first_behind], op->n_behind);
		if (!result && op->kind == GRAPH_NODE_CONDITION) {
			result = capture_branch(x, g, i, ret_node);
			continue;
		}
		if (!result && op->kind == GRAPH_NODE_RECORD && op->enabled)
			result = run_record(x, op, into, true);
		if (!result)
			result = x->ops->graph_placed(x->backend);
	}
	return result;
}

// Runs all nodes into the backend's capture; *ret_node: the one that was refused.
static int32_t capture_nodes(struct executor *x, struct graph *g, uint32_t *ret_node)
{
	struct backend_conditions *conditions = g->conditions ? g->conditions->backend : NULL;
	struct stream into = { .lane = TRACK_NOWHERE };
	int32_t result = x->ops->graph_begin(x->backend, conditions, g->n_ops, &into.backend);

	x->collected = (struct collected){ 0, 0 };
	if (!result)
		result = capture_range(x, g, &into, 0, g->n_ops, ret_node);
	g->each = x->collected;
	return result;
}

static int32_t native_build(struct executor *x, struct graph *g, uint32_t *ret_node)
{
	int32_t result, ended;

	*ret_node = NO_NODE;
	result = capture_nodes(x, g, ret_node);
	ended = x->ops->graph_end(x->backend, result ? NULL : &g->native, g->flags);
	if (!result) {
		*ret_node = NO_NODE;
		result = ended;
	}
	g->changed = result != CUDA_SUCCESS;
	g->gone = x->gone;
	g->events_gone = x->events_gone;
	return result;
}

// ---- life ----

static void free_parts(struct executor *x, struct graph *g)
{
	if (g->native)
		x->ops->graph_free(x->backend, g->native);
	graph_conditions_release(x, g);
	for (uint32_t i = 0; i < g->n_ops; i++)
		free(g->ops[i].body);
	free(g->ops);
	free(g->order);
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

static int32_t make(struct executor *x, struct blob *blob, uint32_t flags, struct graph **ret,
		    uint32_t *ret_node)
{
	struct graph *g;
	int32_t result;

	if (blob->size > VGPU_MAX_GRAPH_BYTES - x->graph_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g = calloc(1, sizeof(*g));
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->flags = flags;
	g->bytes = blob->size;
	x->graph_bytes += g->bytes;
	g->id = ++x->last_function;
	result = graph_read(x, g, blob->data, blob->size, ret_node);
	if (!result && !g->has_host && (x->ops->capabilities & BACKEND_CAP_GRAPHS)) {
		result = native_build(x, g, ret_node);
		if (result == CUDA_ERROR_NOT_SUPPORTED &&
		    !g->conditions) { // something that only a replay can do
			*ret_node = NO_NODE;
			result = CUDA_SUCCESS;
		}
	}
	if (!result && g->conditions && !g->native)
		result = CUDA_ERROR_NOT_SUPPORTED;
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

	ret->error_node = NO_NODE;
	if (!result)
		result = make(x, blob, r->flags, ret_graph, &ret->error_node);
	blob_free(x, blob);
	return result;
}

int32_t on_graph_destroy(struct executor *x, const struct record_graph_destroy *r, struct graph *graph)
{
	(void)r;
	graph_free(x, graph);
	return executor_ready(x);
}

// The node's record becomes this one, which is checked as those of a description are.
static int32_t set_body(struct executor *x, struct graph *g, struct graph_op *op, const uint8_t *tail,
			uint32_t bytes)
{
	struct graph_op next = *op;
	int32_t result;
	bool reorder;

	if (bytes > op->bytes && bytes - op->bytes > VGPU_MAX_GRAPH_BYTES - x->graph_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	next.bytes = bytes;
	next.body = malloc(bytes);
	if (!next.body)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(next.body, tail, bytes);
	result = graph_decode(x, &next, &(struct graph_decoded){ 0 });
	if (result) {
		free(next.body);
		return result;
	}
	g->bytes = g->bytes - op->bytes + bytes;
	x->graph_bytes = x->graph_bytes - op->bytes + bytes;
	reorder = graph_op_waits(op) != graph_op_waits(&next);
	free(op->body);
	*op = next;
	if (reorder)
		graph_order(g);
	return CUDA_SUCCESS;
}

// Switches a node of the backend's graph as it is; false: it has to be captured anew.
static bool toggle(struct executor *x, struct graph *g, uint32_t node, bool enabled)
{
	if (!g->native || g->changed || !x->ops->graph_enable ||
	    x->ops->graph_enable(x->backend, g->native, node, enabled))
		return false;
	g->ops[node].enabled = enabled;
	return true;
}

int32_t on_graph_set(struct executor *x, const struct record_graph_set *r, struct graph *graph,
		     const uint8_t *tail, uint32_t tail_bytes)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (r->node >= graph->n_ops || (tail_bytes && graph->ops[r->node].kind != GRAPH_NODE_RECORD))
		return CUDA_ERROR_INVALID_VALUE;
	if (tail_bytes)
		result = set_body(x, graph, &graph->ops[r->node], tail, tail_bytes);
	if (result)
		return result;
	if (!tail_bytes && toggle(x, graph, r->node, r->enabled))
		return CUDA_SUCCESS;
	graph->ops[r->node].enabled = r->enabled;
	graph->changed = true;
	// Whether the backend can make a graph anew from conditions that had one, the program is told at
	// once.
	return graph->conditions ? native_build(x, graph, &(uint32_t){ 0 }) : CUDA_SUCCESS;
}

// ---- launches ----

// Whether all that the nodes name is there still. Memory that is not is the kernel's or copy's own fault.
static int32_t still_there(struct executor *x, struct graph *g)
{
	int32_t result = CUDA_SUCCESS;

	for (uint32_t i = 0; !result && i < g->n_ops; i++)
		if (g->ops[i].kind == GRAPH_NODE_RECORD)
			result = graph_decode(x, &g->ops[i], &(struct graph_decoded){ 0 });
	if (result)
		return result;
	g->gone = x->gone;
	g->events_gone = x->events_gone;
	return CUDA_SUCCESS;
}

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
	if (g->conditions && !g->changed)
		return still_there(x, g);
	result = native_build(x, g, &node);
	if (result != CUDA_ERROR_NOT_SUPPORTED || g->conditions)
		return result;
	x->ops->graph_free(x->backend, g->native);
	g->native = NULL;
	return CUDA_SUCCESS;
}

// The lane comes to stand behind what the graph's wait nodes wait for (before), and its events behind the
// lane.
static void tie_events(struct executor *x, const struct graph *g, uint32_t lane, uint16_t opcode)
{
	struct graph_decoded d;

	for (uint32_t i = 0; i < g->n_ops; i++) {
		if (g->ops[i].opcode != opcode || graph_decode(x, &g->ops[i], &d))
			continue;
		if (opcode == OPCODE_EVENT_RECORD)
			event_recorded(x, d.event, lane);
		else
			track_guard_add(x, lane, &d.event->guard);
	}
}

// What a graph may take that never ran.
static uint64_t first_guess_ns(const struct collected *each)
{
	uint64_t ns = each->copy_bytes ? predict_copy_guess_ns(each->copy_bytes) : 0;

	return ns + each->launches * PREDICT_UNKNOWN_NS + PREDICT_MIN_NS;
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
	track_after(x, lane, key, predict_ns(&x->predict, key, first_guess_ns(&g->each)));
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

// As the loop asks before each record: room in flight (a host node takes two places), limits, and the gate.
static bool may_go_on(struct executor *x, uint16_t opcode)
{
	if (x->track.records + 2 > TRACK_MAX_RECORDS)
		return false;
	if (rates_are_set(&x->rates) && !executor_admits(x, opcode))
		return false;
	return gate_is_free(&x->gate) ||
	       gate_ask_slow(&x->gate, clock_now_ns(), x->track.predicted_ns) == GATE_GO;
}

static int32_t run_node(struct executor *x, const struct graph_op *op, struct stream *stream, uint64_t run)
{
	if (op->kind == GRAPH_NODE_HOST)
		return run_host(x, op, stream, run);
	return op->kind == GRAPH_NODE_RECORD && op->enabled ? run_record(x, op, stream, false) : CUDA_SUCCESS;
}

// By rank, so that what stands behind no wait is not kept back by one. Goes on where the attempt before had
// to stop.
static int32_t launch_replay(struct executor *x, struct graph *g, struct stream *stream, uint64_t run)
{
	int32_t result = CUDA_SUCCESS;

	while (!result && g->cursor < g->n_ops) {
		const struct graph_op *op = &g->ops[g->order[g->cursor]];

		if (!may_go_on(x, op->opcode))
			return RESULT_AGAIN;
		result = run_node(x, op, stream, run);
		if (result == RESULT_AGAIN)
			return result;
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
