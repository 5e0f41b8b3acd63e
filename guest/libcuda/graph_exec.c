// SPDX-License-Identifier: Apache-2.0
// Executable graphs: what went over to the executor, kept here as well so that a change can be told from what
// stays and an update be checked without a call. Launching one is one record. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/condition.h"

#define FLAGS                                                                                   \
	(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD | \
	 CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY)

// Runs of all graphs are numbered in one sequence, so a fence slot may go from one host node to another.
static uint64_t last_run;

// ---- making one

static void free_parts(struct vc_gexec *x)
{
	for (uint32_t i = 0; i < x->n_nodes; i++) {
		for (int s = 0; s < 2 && x->nodes[i].what.type == CU_GRAPH_NODE_TYPE_HOST; s++)
			if (x->nodes[i].slots[s] != UINT32_MAX)
				vgpu_slot_put(vc_client, x->nodes[i].slots[s]);
		vc_what_done(&x->nodes[i].what);
	}
	free(x->nodes);
	free(x->index);
	free(x->edges);
}

static int compare_handles(const void *a, const void *b)
{
	uint64_t left = ((const struct by_handle *)a)->handle, right = ((const struct by_handle *)b)->handle;

	return left < right ? -1 : left > right;
}

struct exec_node *vc_gexec_node(const struct vc_gexec *x, CUgraphNode node)
{
	struct by_handle key = { .handle = (uint64_t)(uintptr_t)node };
	const struct by_handle *found = bsearch(&key, x->index, x->n_nodes, sizeof(key), compare_handles);

	return key.handle && found ? &x->nodes[found->number] : NULL;
}

static CUresult fill_node(struct vc_gexec *x, struct exec_node *n, const struct vc_flat_node *from)
{
	n->handle = from->handle;
	n->enabled = 1;
	n->what.type = CU_GRAPH_NODE_TYPE_EMPTY;
	if (!from->what)
		return CUDA_SUCCESS;
	n->slots[0] = n->slots[1] = UINT32_MAX;
	if (vc_what_copy(&n->what, from->what))
		return CUDA_ERROR_OUT_OF_MEMORY;
	x->n_events += n->what.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD;
	if (n->what.type != CU_GRAPH_NODE_TYPE_HOST)
		return CUDA_SUCCESS;
	x->n_hosts++;
	n->slots[0] = vgpu_slot_get(vc_client);
	n->slots[1] = vgpu_slot_get(vc_client);
	return n->slots[0] == UINT32_MAX || n->slots[1] == UINT32_MAX ? CUDA_ERROR_OUT_OF_MEMORY
								      : CUDA_SUCCESS;
}

// Copies the list; the edges move.
static CUresult fill(struct vc_gexec *x, struct vc_flat *flat)
{
	CUresult result = CUDA_SUCCESS;

	x->edges = flat->edges;
	x->n_edges = flat->n_edges;
	flat->edges = NULL;
	x->nodes = calloc(flat->n_nodes ? flat->n_nodes : 1, sizeof(*x->nodes));
	x->index = calloc(flat->n_nodes ? flat->n_nodes : 1, sizeof(*x->index));
	if (!x->nodes || !x->index)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (uint32_t i = 0; !result && i < flat->n_nodes; i++) {
		x->index[i] = (struct by_handle){ flat->nodes[i].handle, i };
		x->n_nodes = i + 1;
		result = fill_node(x, &x->nodes[i], &flat->nodes[i]);
	}
	qsort(x->index, x->n_nodes, sizeof(*x->index), compare_handles);
	return result;
}

// ---- the description (protocol/guest/graph.h)

static uint64_t padded(uint64_t bytes)
{
	return (bytes + 7) & ~7ull;
}

static uint32_t body_bytes(const struct exec_node *n)
{
	return n->what.type == CU_GRAPH_NODE_TYPE_HOST ? (uint32_t)sizeof(struct graph_host_node)
						       : n->what.bytes;
}

static uint64_t description_bytes(const struct vc_gexec *x)
{
	uint64_t bytes = sizeof(struct graph_header) + (uint64_t)x->n_edges * sizeof(struct graph_edge);

	for (uint32_t i = 0; i < x->n_nodes; i++)
		bytes += sizeof(struct graph_node) + padded(body_bytes(&x->nodes[i]));
	return bytes;
}

static char *describe_node(const struct exec_node *n, char *to)
{
	struct graph_node head = { .bytes = body_bytes(n),
				   .kind = GRAPH_NODE_EMPTY,
				   .opcode = n->what.opcode };
	struct graph_host_node host = { n->slots[0], n->slots[1] };

	if (n->what.opcode)
		head.kind = GRAPH_NODE_RECORD;
	else if (n->what.type == CU_GRAPH_NODE_TYPE_HOST)
		head.kind = GRAPH_NODE_HOST;
	else if (n->what.type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
		head.kind = GRAPH_NODE_CONDITION;
	memcpy(to, &head, sizeof(head));
	to += sizeof(head);
	if (head.kind == GRAPH_NODE_HOST)
		memcpy(to, &host, sizeof(host));
	else if (n->what.body)
		memcpy(to, n->what.body, head.bytes);
	return to + padded(head.bytes);
}

static void describe(const struct vc_gexec *x, char *to)
{
	struct graph_header head = { .magic = GRAPH_MAGIC, .n_nodes = x->n_nodes, .n_edges = x->n_edges };

	memcpy(to, &head, sizeof(head));
	to += sizeof(head);
	if (x->n_edges)
		memcpy(to, x->edges, x->n_edges * sizeof(*x->edges));
	to += x->n_edges * sizeof(*x->edges);
	for (uint32_t i = 0; i < x->n_nodes; i++)
		to = describe_node(&x->nodes[i], to);
}

static CUresult send(struct vc_gexec *x, uint32_t *error_node)
{
	struct record_graph_create record = { .graph = vc_object_handle(VC_GEXEC, x),
					      .flags =
						  x->flags & CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY };
	struct reply_graph_create reply = { .error_node = UINT32_MAX };
	uint64_t bytes = description_bytes(x);
	char *text = bytes <= VGPU_MAX_IMAGE_BYTES ? calloc(1, bytes) : NULL;
	struct vgpu_object *blob;
	CUresult result;

	if (!text)
		return CUDA_ERROR_OUT_OF_MEMORY;
	describe(x, text);
	result = vc_blob_send(text, bytes, &blob);
	free(text);
	if (result)
		return result;
	record.blob = vc_object_handle(VC_BLOB, blob);
	result = (CUresult)vgpu_call_graph_create(vc_client, &record, &reply);
	vc_object_free(VC_BLOB, blob);
	*error_node = reply.error_node;
	return result;
}

// told: of the answers only, which must be empty.
static CUresult instantiate(CUgraphExec *ret, CUgraph graph, uint64_t flags,
			    CUDA_GRAPH_INSTANTIATE_PARAMS *told)
{
	struct vc_graph *g = vc_graph_find(graph);
	uint32_t bad = UINT32_MAX;
	struct vc_gexec *x;
	struct vc_flat flat;
	CUresult result;

	if (!g || !ret || (flags & ~(uint64_t)FLAGS))
		return g && ret && (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH)
			   ? CUDA_ERROR_NOT_SUPPORTED
			   : CUDA_ERROR_INVALID_VALUE;
	if (g->body_of)
		return CUDA_ERROR_INVALID_VALUE; // a part of another graph
	result = vc_flatten(g, &flat);
	if (!result && vc_conditions_unused(g)) {
		vc_flat_done(&flat);
		told->result_out = CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED;
		result = CUDA_ERROR_INVALID_VALUE;
	}
	if (result)
		return result;
	x = vc_object_new(VC_GEXEC);
	if (!x) {
		vc_flat_done(&flat);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	memset((char *)x + sizeof(x->object), 0, sizeof(*x) - sizeof(x->object));
	x->flags = flags;
	result = fill(x, &flat);
	vc_flat_done(&flat);
	if (!result)
		result = send(x, &bad);
	if (result) {
		if (bad < x->n_nodes)
			told->hErrNode_out = (CUgraphNode)(uintptr_t)x->nodes[bad].handle;
		free_parts(x);
		vc_object_free(VC_GEXEC, x);
		return result;
	}
	vc_object_publish(VC_GEXEC, x);
	*ret = (CUgraphExec)(uintptr_t)vc_object_handle(VC_GEXEC, x);
	return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
	struct vc_context *ctx;
	CUresult result = vc_graph_enter_context(&ctx);

	return result
		   ? result
		   : vc_graph_leave(instantiate(exec, graph, flags, &(CUDA_GRAPH_INSTANTIATE_PARAMS){ 0 }));
}

CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
			       size_t bytes)
{
	CUDA_GRAPH_INSTANTIATE_PARAMS told = { 0 };
	struct vc_context *ctx;
	CUresult result = vc_graph_enter_context(&ctx);

	if (result)
		return result;
	if (log && bytes)
		log[0] = '\0';
	result = vc_graph_leave(instantiate(exec, graph, 0, &told));
	if (error_node)
		*error_node = told.hErrNode_out;
	return result;
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *p)
{
	struct vc_context *ctx;
	CUresult result = p ? vc_graph_enter_context(&ctx) : vc_invalid();

	if (result)
		return result;
	p->hErrNode_out = NULL;
	p->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
	result = vc_graph_leave(instantiate(exec, graph, p->flags, p));
	if (result && p->result_out == CUDA_GRAPH_INSTANTIATE_SUCCESS)
		p->result_out = p->hErrNode_out ? CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED
						: CUDA_GRAPH_INSTANTIATE_ERROR;
	if (!result && (p->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD))
		result = cuGraphUpload(*exec, p->hUploadStream);
	return result;
}

// ---- using one

struct vc_gexec *vc_gexec_find(CUgraphExec exec)
{
	return vc_object_find(VC_GEXEC, (uint64_t)(uintptr_t)exec);
}

static void note_events(const struct vc_gexec *x, struct vc_stream *s, uint64_t position)
{
	for (uint32_t i = 0; x->n_events && i < x->n_nodes; i++) {
		struct record_event_record r;

		if (x->nodes[i].what.type != CU_GRAPH_NODE_TYPE_EVENT_RECORD)
			continue;
		memcpy(&r, x->nodes[i].what.body, sizeof(r));
		vc_event_recorded(r.event, s, position);
	}
}

static CUresult prepare_hosts(const struct vc_gexec *x, uint64_t run, struct vc_host_jobs *jobs)
{
	CUresult result = x->n_hosts ? vc_host_start() : CUDA_SUCCESS;

	for (uint32_t i = 0; x->n_hosts && !result && i < x->n_nodes; i++) {
		const struct exec_node *n = &x->nodes[i];

		if (n->what.type == CU_GRAPH_NODE_TYPE_HOST)
			result = vc_host_prepare(jobs, n->what.host.fn, n->what.host.userData, n->slots[0],
						 n->slots[1], run);
	}
	return result;
}

static CUresult launch(struct vc_gexec *x, struct vc_stream *s)
{
	struct record_graph_launch record = { .stream = s->handle,
					      .graph = vc_object_handle(VC_GEXEC, x),
					      .run = ++last_run };
	struct vc_host_jobs jobs = { NULL };
	CUresult result = prepare_hosts(x, record.run, &jobs);

	if (!result)
		result = (CUresult)vgpu_push_graph_launch(vc_client, &record);
	if (result) {
		vc_host_drop(&jobs);
		return result;
	}
	note_events(x, s, vc_stream_submitted(s));
	vc_host_queue(&jobs);
	return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
	struct vc_context *ctx;
	struct vc_gexec *x;
	struct vc_stream *s;
	CUresult result = vc_graph_enter_context(&ctx);

	if (result)
		return result;
	x = vc_gexec_find(exec);
	result = x ? vc_stream_resolve(stream, &s) : CUDA_ERROR_INVALID_VALUE;
	if (!result && vc_stream_captures(s))
		result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	return vc_graph_leave(result ? result : launch(x, s));
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream stream)
{
	struct record_graph_upload record = { .graph = (uint64_t)(uintptr_t)exec };
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_graph_enter_context(&ctx);

	if (result)
		return result;
	result = vc_gexec_find(exec) ? vc_stream_resolve(stream, &s) : CUDA_ERROR_INVALID_VALUE;
	if (result)
		return vc_graph_leave(result);
	record.stream = s->handle;
	result = (CUresult)vgpu_push_graph_upload(vc_client, &record);
	if (!result)
		vc_stream_submitted(s);
	return vc_graph_leave(result);
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
	struct record_graph_destroy record = { .graph = (uint64_t)(uintptr_t)exec };
	CUresult result = vc_ready();
	struct vc_gexec *x;

	if (result)
		return result;
	pthread_mutex_lock(&vc_graph_lock);
	x = vc_gexec_find(exec);
	if (!x || !vc_object_claim(x, record.graph))
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	result = (CUresult)vgpu_push_graph_destroy(vc_client, &record);
	free_parts(x);
	vc_object_free(VC_GEXEC, x);
	return vc_graph_leave(result);
}

CUresult cuGraphExecGetFlags(CUgraphExec exec, uint64_t *flags)
{
	CUresult result = vc_ready();
	struct vc_gexec *x;

	if (result)
		return result;
	pthread_mutex_lock(&vc_graph_lock);
	x = vc_gexec_find(exec);
	if (x && flags)
		*flags = x->flags;
	return vc_graph_leave(x && flags ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}
