// SPDX-License-Identifier: Apache-2.0
// The calls that read and change a node's parameters. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"

CUresult vc_node_enter_typed(CUgraphNode handle, CUgraphNodeType type, const void *out, struct vc_gnode **ret)
{
	CUresult result = vc_graph_enter_node(handle, ret);

	if (!result && ((*ret)->what.type != type || !out))
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	return result;
}

CUresult vc_node_replace(struct vc_gnode *node, CUresult result, struct vc_what *what)
{
	if (!result) {
		vc_what_done(&node->what);
		node->what = *what;
	}
	return vc_graph_leave(result);
}

static CUresult get_kernel(struct vc_gnode *node, CUDA_KERNEL_NODE_PARAMS *p)
{
	struct record_launch r;
	struct vc_function *f;
	char *params;

	memcpy(&r, node->what.body, sizeof(r));
	f = vc_object_find(VC_FUNCTION, r.function);
	if (!f)
		return CUDA_ERROR_INVALID_HANDLE;
	free(node->params);
	node->params = calloc(f->n_params ? f->n_params : 1, sizeof(void *));
	if (!node->params)
		return CUDA_ERROR_OUT_OF_MEMORY;
	params = (char *)node->what.body + sizeof(r) + r.n_attributes * sizeof(CUlaunchAttribute);
	for (uint32_t i = 0; i < f->n_params; i++)
		node->params[i] = params + f->params[i].offset;
	*p = (CUDA_KERNEL_NODE_PARAMS){ .func = (CUfunction)(uintptr_t)r.function,
					.gridDimX = r.grid_x,
					.gridDimY = r.grid_y,
					.gridDimZ = r.grid_z,
					.blockDimX = r.block_x,
					.blockDimY = r.block_y,
					.blockDimZ = r.block_z,
					.sharedMemBytes = r.dynamic_shared,
					.kernelParams = f->n_params ? node->params : NULL };
	return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, p, &node);

	return result ? result : vc_graph_leave(get_kernel(node, p));
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS wide;
	CUresult result = p ? cuGraphKernelNodeGetParams_v2(handle, &wide) : vc_invalid();

	if (!result)
		memcpy(p, &wide, sizeof(*p)); // the older form is the newer one's beginning
	return result;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, p, &node);

	return result ? result : vc_node_replace(node, vc_what_kernel(p, &node->what, &what), &what);
}

CUresult cuGraphKernelNodeSetParams(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS wide = { 0 };

	if (p)
		memcpy(&wide, p, sizeof(*p));
	return cuGraphKernelNodeSetParams_v2(handle, p ? &wide : NULL);
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode handle, CUDA_MEMCPY3D *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMCPY, p, &node);

	if (result)
		return result;
	*p = node->what.copy;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode handle, const CUDA_MEMCPY3D *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMCPY, p, &node);

	return result ? result : vc_node_replace(node, vc_what_copy3d(p, &what), &what);
}

static void get_memset(const struct vc_gnode *node, CUDA_MEMSET_NODE_PARAMS *p)
{
	struct record_set r;

	memcpy(&r, node->what.body, sizeof(r));
	*p = (CUDA_MEMSET_NODE_PARAMS){ r.dst, r.pitch, r.value, r.element, r.width, r.height };
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode handle, CUDA_MEMSET_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMSET, p, &node);

	if (result)
		return result;
	get_memset(node, p);
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode handle, const CUDA_MEMSET_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMSET, p, &node);

	return result ? result : vc_node_replace(node, vc_what_memset(p, &what), &what);
}

CUresult cuGraphHostNodeGetParams(CUgraphNode handle, CUDA_HOST_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_HOST, p, &node);

	if (result)
		return result;
	*p = node->what.host;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphHostNodeSetParams(CUgraphNode handle, const CUDA_HOST_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_HOST, p, &node);

	if (result)
		return result;
	if (!p->fn)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	node->what.host = *p;
	return vc_graph_leave(CUDA_SUCCESS);
}

static CUevent event_of(const struct vc_what *what)
{
	struct record_event_record record;
	struct record_stream_wait_event wait;

	if (what->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) {
		memcpy(&record, what->body, sizeof(record));
		return (CUevent)(uintptr_t)record.event;
	}
	memcpy(&wait, what->body, sizeof(wait));
	return (CUevent)(uintptr_t)wait.event;
}

static CUresult get_event(CUgraphNode handle, CUgraphNodeType type, CUevent *event)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, type, event, &node);

	if (result)
		return result;
	*event = event_of(&node->what);
	return vc_graph_leave(CUDA_SUCCESS);
}

static CUresult set_event(CUgraphNode handle, CUgraphNodeType type, CUevent event)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, type, event, &node);

	return result ? result : vc_node_replace(node, vc_what_event(type, event, &what), &what);
}

CUresult cuGraphEventRecordNodeGetEvent(CUgraphNode node, CUevent *event)
{
	return get_event(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult cuGraphEventWaitNodeGetEvent(CUgraphNode node, CUevent *event)
{
	return get_event(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

CUresult cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event)
{
	return set_event(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event)
{
	return set_event(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

// What is handed out stays the node's.
CUresult cuGraphBatchMemOpNodeGetParams(CUgraphNode handle, CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, p, &node);

	if (result)
		return result;
	*p = (CUDA_BATCH_MEM_OP_NODE_PARAMS){ .ctx = vc_context_handle(vc_thread.current),
					      .count = node->what.n_words,
					      .paramArray = node->what.words };
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphBatchMemOpNodeSetParams(CUgraphNode handle, const CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, p, &node);

	return result ? result
		      : vc_node_replace(node, vc_what_words(p->paramArray, p->count, p->flags, &what), &what);
}

CUresult cuGraphMemAllocNodeGetParams(CUgraphNode handle, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_MEM_ALLOC, p, &node);

	if (result)
		return result;
	*p = (CUDA_MEM_ALLOC_NODE_PARAMS){ .bytesize = node->what.memory->bytes,
					   .dptr = node->what.memory->address };
	p->poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
	p->poolProps.locationType = CU_MEM_LOCATION_TYPE_DEVICE;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphMemFreeNodeGetParams(CUgraphNode handle, CUdeviceptr *address)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_MEM_FREE, address, &node);

	if (result)
		return result;
	*address = node->what.address;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphNodeSetParams(CUgraphNode handle, CUgraphNodeParams *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = p ? vc_node_enter_typed(handle, p->type, p, &node) : vc_invalid();

	return result ? result : vc_node_replace(node, vc_what_any(p, &node->what, &what), &what);
}

// ---- attributes of kernel nodes: part of the record's tail

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode handle, CUkernelNodeAttrID id,
				       CUlaunchAttributeValue *value)
{
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, &node);
	struct record_launch r;

	if (result)
		return result;
	memset(value, 0, sizeof(*value));
	memcpy(&r, node->what.body, sizeof(r));
	for (uint32_t i = 0; i < r.n_attributes; i++) {
		CUlaunchAttribute a;

		memcpy(&a, (char *)node->what.body + sizeof(r) + i * sizeof(a), sizeof(a));
		if (a.id == id)
			*value = a.value;
	}
	return vc_graph_leave(CUDA_SUCCESS);
}

// The kernel described anew with another list of attributes.
static CUresult with_attributes(struct vc_gnode *node, const CUlaunchAttribute *list, uint32_t n)
{
	CUDA_KERNEL_NODE_PARAMS p;
	struct vc_what what = { .type = CU_GRAPH_NODE_TYPE_KERNEL, .opcode = OPCODE_LAUNCH };
	CUresult result = get_kernel(node, &p);
	CUlaunchConfig config;

	if (result)
		return vc_graph_leave(result);
	config = (CUlaunchConfig){ p.gridDimX,
				   p.gridDimY,
				   p.gridDimZ,
				   p.blockDimX,
				   p.blockDimY,
				   p.blockDimZ,
				   p.sharedMemBytes,
				   NULL,
				   (CUlaunchAttribute *)list,
				   n };
	return vc_node_replace(
	    node, vc_launch_describe(p.func, &config, p.kernelParams, NULL, &what.body, &what.bytes), &what);
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode handle, CUkernelNodeAttrID id,
				       const CUlaunchAttributeValue *value)
{
	CUlaunchAttribute list[17];
	struct vc_gnode *node;
	CUresult result = vc_node_enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, &node);
	struct record_launch r;
	uint32_t n = 0;

	if (result)
		return result;
	memcpy(&r, node->what.body, sizeof(r));
	for (uint32_t i = 0; i < r.n_attributes; i++) {
		memcpy(&list[n], (char *)node->what.body + sizeof(r) + i * sizeof(list[0]), sizeof(list[0]));
		n += list[n].id != id;
	}
	memset(&list[n], 0, sizeof(list[n]));
	list[n].id = id;
	list[n++].value = *value;
	return with_attributes(node, list, n);
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode dst, CUgraphNode src)
{
	CUlaunchAttribute list[16];
	struct vc_gnode *from, *to;
	CUresult result = vc_node_enter_typed(dst, CU_GRAPH_NODE_TYPE_KERNEL, dst, &to);
	struct record_launch r;

	if (result)
		return result;
	from = vc_gnode_find(src);
	if (!from || from->what.type != CU_GRAPH_NODE_TYPE_KERNEL)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	memcpy(&r, from->what.body, sizeof(r));
	memcpy(list, (char *)from->what.body + sizeof(r), r.n_attributes * sizeof(list[0]));
	return with_attributes(to, list, r.n_attributes);
}
