// SPDX-License-Identifier: Apache-2.0
// Reading the description of an executable graph (protocol/guest/graph.h), which a hostile guest wrote. It
// lies in the executor's own memory and does not change meanwhile. Called by graph.c in an executor's loop.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "executor/executor.h"
#include "executor/graph.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

#define NODE_BYTES    1024u // charged for a node beside its description: what we and a driver keep of it
#define MAX_EDGE_TYPE 1u    // of CUgraphDependencyType
#define MAX_EDGE_PORT 2u    // of the kernel node's ports

// ---- one node ----

int32_t graph_decode(struct executor *x, const struct graph_op *op, struct graph_decoded *d)
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
	case OPCODE_COPY_ARRAY:
		bad = check_copy_array(x, op->body, op->bytes, &d->copy_array, &none, &d->dst_array,
				       &d->src_array, &result, &why);
		break;
	case OPCODE_SET: bad = check_set(x, op->body, op->bytes, &d->set, &none, &result, &why); break;
	case OPCODE_WORDS: bad = check_words(x, op->body, op->bytes, &d->words, &none, &result, &why); break;
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

// ---- the list ----

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

// Edges come sorted by where they lead, and lead upwards only; no node has more of them than there are nodes
// in front of it, so that backends need room for those only.
static int32_t read_edges(struct graph *g, const struct graph_edge *edges, uint32_t n)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct graph_edge *e = &edges[i];

		if (e->to < last || e->to >= g->n_ops || e->from >= e->to || e->type > MAX_EDGE_TYPE ||
		    e->from_port > MAX_EDGE_PORT || e->to_port > MAX_EDGE_PORT ||
		    !reserved_is_zero(e->reserved, sizeof(e->reserved)))
			return CUDA_ERROR_INVALID_VALUE;
		if (g->ops[e->to].n_behind == e->to)
			return CUDA_ERROR_INVALID_VALUE;
		if (!g->ops[e->to].n_behind)
			g->ops[e->to].first_behind = i;
		g->ops[e->to].n_behind++;
		g->behind[i] = (struct backend_edge){ e->from, e->from_port, e->to_port, e->type };
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
		return graph_decode(x, op, &(struct graph_decoded){ 0 });
	case GRAPH_NODE_HOST:
		g->has_host = true;
		return n.opcode ? CUDA_ERROR_INVALID_VALUE : read_host(x, op);
	case GRAPH_NODE_CONDITION:
		return n.opcode || n.flags ? CUDA_ERROR_INVALID_VALUE : graph_branch_check(op);
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

bool graph_op_waits(const struct graph_op *op)
{
	return op->kind == GRAPH_NODE_RECORD && op->opcode == OPCODE_WORDS &&
	       words_wait(op->body + sizeof(struct record_words),
			  op->bytes - (uint32_t)sizeof(struct record_words));
}

static int compare_ranks(const void *left, const void *right, void *opaque)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	const struct graph_op *ops = opaque;

	if (ops[a].rank != ops[b].rank)
		return ops[a].rank < ops[b].rank ? -1 : 1;
	return a < b ? -1 : a > b;
}

void graph_order(struct graph *g)
{
	for (uint32_t i = 0; i < g->n_ops; i++) {
		struct graph_op *op = &g->ops[i];

		g->order[i] = i;
		op->rank = 0;
		for (uint32_t k = 0; k < op->n_behind; k++) {
			uint32_t rank = g->ops[g->behind[op->first_behind + k].node].rank;

			op->rank = rank > op->rank ? rank : op->rank;
		}
		op->rank += graph_op_waits(op);
	}
	qsort_r(g->order, g->n_ops, sizeof(*g->order), compare_ranks, g->ops);
}

int32_t graph_read(struct executor *x, struct graph *g, const uint8_t *bytes, uint64_t n, uint32_t *ret_node)
{
	struct reader r = { bytes, n };
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
	g->order = calloc(h->n_nodes ? h->n_nodes : 1, sizeof(*g->order));
	g->behind = calloc(h->n_edges ? h->n_edges : 1, sizeof(*g->behind));
	if (!g->ops || !g->order || !g->behind)
		return CUDA_ERROR_OUT_OF_MEMORY;
	g->n_ops = h->n_nodes;
	result = read_edges(g, edges, h->n_edges);
	for (uint32_t i = 0; !result && i < g->n_ops; i++) {
		*ret_node = i;
		result = read_node(x, g, &g->ops[i], &r);
	}
	if (!result)
		result = graph_branches_read(x, g, ret_node);
	if (result)
		return result;
	*ret_node = UINT32_MAX;
	if (r.left)
		return CUDA_ERROR_INVALID_VALUE;
	graph_order(g);
	return CUDA_SUCCESS;
}
