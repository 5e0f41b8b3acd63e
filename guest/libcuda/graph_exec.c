// SPDX-License-Identifier: Apache-2.0
// Executable graphs: what went over to the executor, kept here as well so that a change can be told from what
// stays and an update be checked without a call. Launching one is one record. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"

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
				vgpu_fence_put(vc_client, x->nodes[i].slots[s]);
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

static struct exec_node *node_of(const struct vc_gexec *x, CUgraphNode node)
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
	n->slots[0] = vgpu_fence_get(vc_client);
	n->slots[1] = vgpu_fence_get(vc_client);
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
	struct record_graph_create record = { .graph = vc_object_handle(VC_GEXEC, x) };
	struct reply_graph_create reply = { .error_node = UINT32_MAX };
	uint64_t bytes = description_bytes(x);
	char *text = bytes <= VGPU_MAX_IMAGE_BYTES ? calloc(1, bytes) : NULL;
	struct vc_object *blob;
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

static CUresult instantiate(CUgraphExec *ret, CUgraph graph, uint64_t flags, CUgraphNode *error_node)
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
	result = vc_flatten(g, &flat);
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
		if (error_node && bad < x->n_nodes)
			*error_node = (CUgraphNode)(uintptr_t)x->nodes[bad].handle;
		free_parts(x);
		vc_object_free(VC_GEXEC, x);
		return result;
	}
	vc_object_publish(VC_GEXEC, x);
	*ret = (CUgraphExec)(uintptr_t)vc_object_handle(VC_GEXEC, x);
	return CUDA_SUCCESS;
}

static CUresult enter(struct vc_context **ctx)
{
	CUresult result = vc_enter_report(ctx);

	if (!result)
		pthread_mutex_lock(&vc_graph_lock);
	return result;
}

static CUresult leave(CUresult result)
{
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
	struct vc_context *ctx;
	CUresult result = enter(&ctx);

	return result ? result : leave(instantiate(exec, graph, flags, NULL));
}

CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error_node, char *log,
			       size_t bytes)
{
	struct vc_context *ctx;
	CUresult result = enter(&ctx);

	if (result)
		return result;
	if (error_node)
		*error_node = NULL;
	if (log && bytes)
		log[0] = '\0';
	return leave(instantiate(exec, graph, 0, error_node));
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *p)
{
	struct vc_context *ctx;
	CUresult result = p ? enter(&ctx) : CUDA_ERROR_INVALID_VALUE;

	if (result)
		return result;
	p->hErrNode_out = NULL;
	result = leave(instantiate(exec, graph, p->flags, &p->hErrNode_out));
	p->result_out = !result		  ? CUDA_GRAPH_INSTANTIATE_SUCCESS
			: p->hErrNode_out ? CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED
					  : CUDA_GRAPH_INSTANTIATE_ERROR;
	if (!result && (p->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD))
		result = cuGraphUpload(*exec, p->hUploadStream);
	return result;
}

// ---- using one

static struct vc_gexec *exec_find(CUgraphExec exec)
{
	return vc_object_find(VC_GEXEC, (uint64_t)(uintptr_t)exec);
}

static void note_launch(struct vc_gexec *x, struct vc_stream *s, uint64_t position, uint64_t run)
{
	for (uint32_t i = 0; (x->n_events || x->n_hosts) && i < x->n_nodes; i++) {
		const struct exec_node *n = &x->nodes[i];

		if (n->what.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) {
			struct record_event_record r;

			memcpy(&r, n->what.body, sizeof(r));
			vc_event_recorded(r.event, s, position);
		} else if (n->what.type == CU_GRAPH_NODE_TYPE_HOST) {
			vc_host_job(n->what.host.fn, n->what.host.userData, n->slots[0], n->slots[1], run);
		}
	}
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
	struct record_graph_launch record = { .graph = (uint64_t)(uintptr_t)exec };
	struct vc_context *ctx;
	struct vc_gexec *x;
	struct vc_stream *s;
	CUresult result = enter(&ctx);

	if (result)
		return result;
	x = exec_find(exec);
	result = x ? vc_stream_resolve(stream, &s) : CUDA_ERROR_INVALID_VALUE;
	if (!result && vc_stream_captures(s))
		result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (!result && x->n_hosts)
		result = vc_host_start();
	if (result)
		return leave(result);
	record.stream = s->handle;
	record.run = ++last_run;
	result = (CUresult)vgpu_push_graph_launch(vc_client, &record);
	if (!result)
		note_launch(x, s, vc_stream_submitted(s), record.run);
	return leave(result);
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream stream)
{
	struct record_graph_upload record = { .graph = (uint64_t)(uintptr_t)exec };
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = enter(&ctx);

	if (result)
		return result;
	result = exec_find(exec) ? vc_stream_resolve(stream, &s) : CUDA_ERROR_INVALID_VALUE;
	if (result)
		return leave(result);
	record.stream = s->handle;
	result = (CUresult)vgpu_push_graph_upload(vc_client, &record);
	if (!result)
		vc_stream_submitted(s);
	return leave(result);
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
	struct record_graph_destroy record = { .graph = (uint64_t)(uintptr_t)exec };
	CUresult result = vc_ready();
	struct vc_gexec *x;

	if (result)
		return result;
	pthread_mutex_lock(&vc_graph_lock);
	x = exec_find(exec);
	if (!x || !vc_object_claim(x, record.graph))
		return leave(CUDA_ERROR_INVALID_VALUE);
	result = (CUresult)vgpu_push_graph_destroy(vc_client, &record);
	free_parts(x);
	vc_object_free(VC_GEXEC, x);
	return leave(result);
}

CUresult cuGraphExecGetFlags(CUgraphExec exec, uint64_t *flags)
{
	CUresult result = vc_ready();
	struct vc_gexec *x;

	if (result)
		return result;
	pthread_mutex_lock(&vc_graph_lock);
	x = exec_find(exec);
	if (x && flags)
		*flags = x->flags;
	return leave(x && flags ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

// ---- changing one

// The node's new operation goes over; what is taken.
static CUresult set_node(struct vc_gexec *x, struct exec_node *n, struct vc_what *what)
{
	struct record_graph_set record = { .graph = vc_object_handle(VC_GEXEC, x),
					   .node = (uint32_t)(n - x->nodes),
					   .enabled = (uint32_t)n->enabled };
	CUresult result = CUDA_SUCCESS;

	if (what->opcode)
		result = (CUresult)vgpu_call_graph_set(vc_client, &record, what->body, what->bytes);
	if (result) {
		vc_what_done(what);
		return result;
	}
	vc_what_done(&n->what);
	n->what = *what;
	return CUDA_SUCCESS;
}

static CUresult enter_node(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, const void *params,
			   struct vc_gexec **x, struct exec_node **n)
{
	struct vc_context *ctx;
	CUresult result = params ? enter(&ctx) : CUDA_ERROR_INVALID_VALUE;

	if (result)
		return result;
	*x = exec_find(exec);
	*n = *x ? node_of(*x, node) : NULL;
	return *n && (*n)->what.type == type ? CUDA_SUCCESS : leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult set_result(struct vc_gexec *x, struct exec_node *n, CUresult result, struct vc_what *what)
{
	return leave(result ? result : set_node(x, n, what));
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
					   const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, p, &x, &n);

	return result ? result : set_result(x, n, vc_what_kernel(p, &n->what, &what), &what);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
					const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS wide = { 0 };

	if (p)
		memcpy(&wide, p, sizeof(*p));
	return cuGraphExecKernelNodeSetParams_v2(exec, node, p ? &wide : NULL);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *p,
					CUcontext ctx)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, p, &x, &n);

	(void)ctx;
	return result ? result : set_result(x, n, vc_what_copy3d(p, &what), &what);
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *p,
					CUcontext ctx)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, p, &x, &n);

	(void)ctx;
	return result ? result : set_result(x, n, vc_what_memset(p, &what), &what);
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS *p)
{
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_HOST, p, &x, &n);

	if (result)
		return result;
	if (!p->fn)
		return leave(CUDA_ERROR_INVALID_VALUE);
	n->what.host = *p;
	return leave(CUDA_SUCCESS);
}

static CUresult set_event(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, CUevent event)
{
	struct vc_what what = { 0 };
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter_node(exec, node, type, event, &x, &n);

	return result ? result : set_result(x, n, vc_what_event(type, event, &what), &what);
}

CUresult cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
	return set_event(exec, node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
	return set_event(exec, node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

CUresult cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *p)
{
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL: return cuGraphExecKernelNodeSetParams_v2(exec, node, &p->kernel);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return cuGraphExecMemcpyNodeSetParams(exec, node, &p->memcpy.copyParams, NULL);
	case CU_GRAPH_NODE_TYPE_MEMSET: return cuGraphExecMemsetNodeSetParams(exec, node, &p->memset, NULL);
	case CU_GRAPH_NODE_TYPE_HOST: return cuGraphExecHostNodeSetParams(exec, node, &p->host);
	case CU_GRAPH_NODE_TYPE_GRAPH: return cuGraphExecChildGraphNodeSetParams(exec, node, p->graph.graph);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return set_event(exec, node, p->type, p->event);
	default: return CUDA_ERROR_NOT_SUPPORTED;
	}
}

CUresult cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int enabled)
{
	struct record_graph_set record = { .graph = (uint64_t)(uintptr_t)exec, .enabled = enabled != 0 };
	struct vc_context *ctx;
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enter(&ctx);

	if (result)
		return result;
	x = exec_find(exec);
	n = x ? node_of(x, node) : NULL;
	if (!n || n->what.type > CU_GRAPH_NODE_TYPE_MEMSET)
		return leave(CUDA_ERROR_INVALID_VALUE);
	record.node = (uint32_t)(n - x->nodes);
	result = (CUresult)vgpu_call_graph_set(vc_client, &record, NULL, 0);
	if (!result)
		n->enabled = (int)record.enabled;
	return leave(result);
}

CUresult cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int *enabled)
{
	struct vc_context *ctx;
	struct exec_node *n;
	struct vc_gexec *x;
	CUresult result = enabled ? enter(&ctx) : CUDA_ERROR_INVALID_VALUE;

	if (result)
		return result;
	x = exec_find(exec);
	n = x ? node_of(x, node) : NULL;
	if (!n || n->what.type > CU_GRAPH_NODE_TYPE_MEMSET)
		return leave(CUDA_ERROR_INVALID_VALUE);
	*enabled = (unsigned int)n->enabled;
	return leave(CUDA_SUCCESS);
}

// ---- updating from a graph

static int same_what(const struct vc_what *a, const struct vc_what *b)
{
	if (a->type == CU_GRAPH_NODE_TYPE_HOST)
		return a->host.fn == b->host.fn && a->host.userData == b->host.userData;
	return a->bytes == b->bytes && (!a->bytes || !memcmp(a->body, b->body, a->bytes));
}

static int same_edges(const struct graph_edge *a, const struct graph_edge *b, uint32_t n)
{
	return !n || !memcmp(a, b, n * sizeof(*a));
}

// nodes [first, first + flat's) of the executable graph take what the flat list says. Types first, then
// changes.
static CUresult update_nodes(struct vc_gexec *x, uint32_t first, const struct vc_flat *flat,
			     CUgraphExecUpdateResultInfo *info)
{
	static const struct vc_what empty = { .type = CU_GRAPH_NODE_TYPE_EMPTY };
	CUresult result = CUDA_SUCCESS;

	for (uint32_t i = 0; i < flat->n_nodes; i++) {
		const struct vc_what *to = flat->nodes[i].what ? flat->nodes[i].what : &empty;

		if (to->type == x->nodes[first + i].what.type)
			continue;
		*info = (CUgraphExecUpdateResultInfo){ .result = CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED,
						       .errorNode =
							   (CUgraphNode)(uintptr_t)flat->nodes[i].handle };
		return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	}
	for (uint32_t i = 0; !result && i < flat->n_nodes; i++) {
		struct exec_node *n = &x->nodes[first + i];
		struct vc_what what;

		if (!flat->nodes[i].what || same_what(flat->nodes[i].what, &n->what))
			continue;
		if (n->what.type == CU_GRAPH_NODE_TYPE_HOST)
			n->what.host = flat->nodes[i].what->host;
		else if (vc_what_copy(&what, flat->nodes[i].what))
			result = CUDA_ERROR_OUT_OF_MEMORY;
		else
			result = set_node(x, n, &what);
	}
	if (result)
		info->result = CU_GRAPH_EXEC_UPDATE_ERROR;
	return result;
}

static CUresult update(struct vc_gexec *x, struct vc_graph *g, CUgraphExecUpdateResultInfo *info)
{
	struct vc_flat flat;
	CUresult result = vc_flatten(g, &flat);

	if (result)
		return result;
	if (flat.n_nodes != x->n_nodes || flat.n_edges != x->n_edges ||
	    !same_edges(flat.edges, x->edges, x->n_edges)) {
		info->result = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
		result = CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	} else {
		result = update_nodes(x, 0, &flat, info);
	}
	vc_flat_done(&flat);
	return result;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
	struct vc_context *ctx;
	struct vc_graph *g;
	struct vc_gexec *x;
	CUresult result = info ? enter(&ctx) : CUDA_ERROR_INVALID_VALUE;

	if (result)
		return result;
	*info = (CUgraphExecUpdateResultInfo){ .result = CU_GRAPH_EXEC_UPDATE_SUCCESS };
	x = exec_find(exec);
	g = vc_graph_find(graph);
	return leave(x && g ? update(x, g, info) : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error_node,
			   CUgraphExecUpdateResult *result)
{
	CUgraphExecUpdateResultInfo info = { .result = CU_GRAPH_EXEC_UPDATE_ERROR };
	CUresult r = cuGraphExecUpdate_v2(exec, graph, &info);

	if (result)
		*result = info.result;
	if (error_node)
		*error_node = info.errorNode;
	return r;
}

// A child graph's nodes follow its own empty one; the shape must be that of the child there.
CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph child)
{
	CUgraphExecUpdateResultInfo info = { 0 };
	struct vc_flat flat;
	struct exec_node *n;
	struct vc_gexec *x;
	struct vc_graph *g;
	uint32_t first;
	CUresult result = enter_node(exec, node, CU_GRAPH_NODE_TYPE_EMPTY, child, &x, &n);

	if (result)
		return result;
	g = vc_graph_find(child);
	first = (uint32_t)(n - x->nodes) + 1;
	if (!g)
		return leave(CUDA_ERROR_INVALID_VALUE);
	result = vc_flatten(g, &flat);
	if (result)
		return leave(result);
	if (flat.n_nodes >= x->n_nodes - first + 1 || x->nodes[first + flat.n_nodes].handle)
		result = CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	else
		result = update_nodes(x, first, &flat, &info);
	vc_flat_done(&flat);
	return leave(result);
}
