// SPDX-License-Identifier: Apache-2.0
// From the parameters that a program gives a node to the record that will travel, and the calls that hand
// them out again. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/ranges.h"

static CUresult set_body(struct vc_what *what, CUgraphNodeType type, uint16_t opcode, const void *record,
			 uint32_t bytes)
{
	*what = (struct vc_what){ .type = type, .opcode = opcode, .bytes = bytes, .body = malloc(bytes) };
	if (!what->body)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(what->body, record, bytes);
	return CUDA_SUCCESS;
}

// ---- kernels

// The attributes that the node has so far stay.
CUresult vc_what_kernel(const CUDA_KERNEL_NODE_PARAMS *p, const struct vc_what *old, struct vc_what *ret)
{
	CUlaunchConfig config = { p->gridDimX,	p->gridDimY,  p->gridDimZ,	 p->blockDimX,
				  p->blockDimY, p->blockDimZ, p->sharedMemBytes, NULL };
	CUfunction f = p->func ? p->func : (CUfunction)(void *)p->kern;
	CUlaunchAttribute attributes[16];
	struct record_launch had;

	if (old) {
		memcpy(&had, old->body, sizeof(had));
		memcpy(attributes, (const char *)old->body + sizeof(had),
		       had.n_attributes * sizeof(attributes[0]));
		config.attrs = attributes;
		config.numAttrs = had.n_attributes;
	}
	*ret = (struct vc_what){ .type = CU_GRAPH_NODE_TYPE_KERNEL, .opcode = OPCODE_LAUNCH };
	return vc_launch_describe(f, &config, p->kernelParams, p->extra, &ret->body, &ret->bytes);
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

// ---- copies

static LIST_HEAD(, vc_pin) pins = LIST_HEAD_INITIALIZER(pins);

void vc_pin_release(struct vc_pin *p)
{
	if (!p || --p->references)
		return;
	cuMemHostUnregister((void *)(uintptr_t)p->address);
	LIST_REMOVE(p, next);
	free(p);
}

// Memory of the program that the GPU does not reach yet is registered: the bytes count that are there when a
// launch comes to the copy.
static CUresult pin(uint64_t address, uint64_t bytes, struct vc_pin **ret)
{
	struct vc_pin *p = malloc(sizeof(*p));
	CUresult result =
	    p ? cuMemHostRegister_v2((void *)(uintptr_t)address, bytes, 0) : CUDA_ERROR_OUT_OF_MEMORY;

	if (result) {
		free(p);
		vc_log("memory %#llx of a graph's copy cannot be registered: error %d",
		       (unsigned long long)address, result);
		return result;
	}
	*p = (struct vc_pin){ .references = 1, .address = address, .bytes = bytes };
	LIST_INSERT_HEAD(&pins, p, next);
	*ret = p;
	return CUDA_SUCCESS;
}

static CUresult pin_side(uint64_t address, uint64_t pitch, uint64_t slice, const struct vc_copy *c,
			 struct vc_pin **ret)
{
	uint64_t bytes = (c->depth - 1) * slice + (c->height - 1) * pitch + c->width;
	struct vc_range range;
	struct vc_pin *p;

	LIST_FOREACH (p, &pins, next) {
		if (address < p->address || address + bytes > p->address + p->bytes)
			continue;
		p->references++;
		*ret = p;
		return CUDA_SUCCESS;
	}
	if (!vc_range_find(address, &range))
		return range.bytes - (address - range.base) >= bytes ? CUDA_SUCCESS
								     : CUDA_ERROR_INVALID_VALUE;
	return !address || vgpu_client_in_window(vc_client, address) ? CUDA_ERROR_INVALID_VALUE
								     : pin(address, bytes, ret);
}

CUresult vc_what_copy_body(const struct vc_copy *copy, struct vc_what *ret)
{
	struct vc_pin *held[2] = { NULL, NULL };
	struct record_copy record;
	CUresult result = CUDA_SUCCESS;

	if (copy->dst_side != VC_SIDE_DEVICE)
		result = pin_side(copy->dst, copy->dst_pitch, copy->dst_slice, copy, &held[0]);
	if (!result && copy->src_side != VC_SIDE_DEVICE)
		result = pin_side(copy->src, copy->src_pitch, copy->src_slice, copy, &held[1]);
	if (!result)
		result = vc_copy_describe(copy, &record);
	if (!result)
		result = set_body(ret, CU_GRAPH_NODE_TYPE_MEMCPY, OPCODE_COPY, &record, sizeof(record));
	for (int i = 0; i < 2; i++) {
		if (result)
			vc_pin_release(held[i]);
		else
			ret->pins[i] = held[i];
	}
	return result;
}

CUresult vc_what_copy3d(const CUDA_MEMCPY3D *p, struct vc_what *ret)
{
	struct vc_copy copy;
	CUresult result = vc_copy_of_3d(p, &copy);

	if (!result)
		result = vc_what_copy_body(&copy, ret);
	if (!result)
		ret->copy = *p;
	return result;
}

// ---- sets

CUresult vc_what_memset(const CUDA_MEMSET_NODE_PARAMS *p, struct vc_what *ret)
{
	struct record_set record;
	CUresult result;

	if (p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4)
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_set_describe(p->dst, p->pitch, p->value, p->elementSize, p->width, p->height, &record);
	return result ? result
		      : set_body(ret, CU_GRAPH_NODE_TYPE_MEMSET, OPCODE_SET, &record, sizeof(record));
}

static void get_memset(const struct vc_gnode *node, CUDA_MEMSET_NODE_PARAMS *p)
{
	struct record_set r;

	memcpy(&r, node->what.body, sizeof(r));
	*p = (CUDA_MEMSET_NODE_PARAMS){ r.dst, r.pitch, r.value, r.element, r.width, r.height };
}

// ---- events, memory

CUresult vc_what_event(CUgraphNodeType type, CUevent event, struct vc_what *ret)
{
	uint64_t handle = (uint64_t)(uintptr_t)event;
	struct record_event_record record = { .event = handle };
	struct record_stream_wait_event wait = { .event = handle };

	if (!vc_object_find(VC_EVENT, handle))
		return CUDA_ERROR_INVALID_VALUE;
	if (type == CU_GRAPH_NODE_TYPE_EVENT_RECORD)
		return set_body(ret, type, OPCODE_EVENT_RECORD, &record, sizeof(record));
	return set_body(ret, type, OPCODE_STREAM_WAIT_EVENT, &wait, sizeof(wait));
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

CUresult vc_what_alloc(CUDA_MEM_ALLOC_NODE_PARAMS *p, struct vc_what *ret)
{
	struct vc_graph_memory *m;
	CUresult result;

	if (!p->bytesize || p->poolProps.handleTypes ||
	    p->poolProps.locationType != CU_MEM_LOCATION_TYPE_DEVICE || p->poolProps.locationId)
		return CUDA_ERROR_INVALID_VALUE;
	m = calloc(1, sizeof(*m));
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cuMemAlloc_v2(&m->address, p->bytesize);
	if (result) {
		free(m);
		return result;
	}
	m->references = 1;
	m->bytes = p->bytesize;
	p->dptr = m->address;
	*ret = (struct vc_what){ .type = CU_GRAPH_NODE_TYPE_MEM_ALLOC, .memory = m };
	return CUDA_SUCCESS;
}

CUresult vc_what_any(CUgraphNodeParams *p, const struct vc_what *old, struct vc_what *ret)
{
	struct vc_graph *child;

	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_KERNEL: return vc_what_kernel(&p->kernel, old, ret);
	case CU_GRAPH_NODE_TYPE_MEMCPY: return vc_what_copy3d(&p->memcpy.copyParams, ret);
	case CU_GRAPH_NODE_TYPE_MEMSET: return vc_what_memset(&p->memset, ret);
	case CU_GRAPH_NODE_TYPE_HOST:
		*ret = (struct vc_what){ .type = p->type, .host = p->host };
		return p->host.fn ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	case CU_GRAPH_NODE_TYPE_GRAPH:
		child = vc_graph_find(p->graph.graph);
		if (!child)
			return CUDA_ERROR_INVALID_VALUE;
		*ret = (struct vc_what){ .type = p->type, .child = vc_graph_clone(child) };
		return ret->child ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	case CU_GRAPH_NODE_TYPE_EMPTY: *ret = (struct vc_what){ .type = p->type }; return CUDA_SUCCESS;
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return vc_what_event(p->type, p->event, ret);
	case CU_GRAPH_NODE_TYPE_MEM_ALLOC: return vc_what_alloc(&p->alloc, ret);
	case CU_GRAPH_NODE_TYPE_MEM_FREE:
		*ret = (struct vc_what){ .type = p->type, .address = p->free };
		return CUDA_SUCCESS;
	default: return CUDA_ERROR_NOT_SUPPORTED; // semaphores, batches of memory operations, conditions
	}
}

// ---- the calls that read and change a node's parameters

// Enters with the node of that type that the handle names.
static CUresult enter_typed(CUgraphNode handle, CUgraphNodeType type, const void *out, struct vc_gnode **ret)
{
	CUresult result = vc_graph_enter_node(handle, ret);

	if (!result && ((*ret)->what.type != type || !out))
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	return result;
}

// The node does something else of the same kind from here on.
static CUresult replace(struct vc_gnode *node, CUresult result, struct vc_what *what)
{
	if (!result) {
		vc_what_done(&node->what);
		node->what = *what;
	}
	return vc_graph_leave(result);
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, p, &node);

	return result ? result : vc_graph_leave(get_kernel(node, p));
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v1 *p)
{
	CUDA_KERNEL_NODE_PARAMS wide;
	CUresult result = p ? cuGraphKernelNodeGetParams_v2(handle, &wide) : CUDA_ERROR_INVALID_VALUE;

	if (!result)
		memcpy(p, &wide, sizeof(*p)); // the older form is the newer one's beginning
	return result;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, p, &node);

	return result ? result : replace(node, vc_what_kernel(p, &node->what, &what), &what);
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
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMCPY, p, &node);

	if (result)
		return result;
	*p = node->what.copy;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode handle, const CUDA_MEMCPY3D *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMCPY, p, &node);

	return result ? result : replace(node, vc_what_copy3d(p, &what), &what);
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode handle, CUDA_MEMSET_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMSET, p, &node);

	if (result)
		return result;
	get_memset(node, p);
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode handle, const CUDA_MEMSET_NODE_PARAMS *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_MEMSET, p, &node);

	return result ? result : replace(node, vc_what_memset(p, &what), &what);
}

CUresult cuGraphHostNodeGetParams(CUgraphNode handle, CUDA_HOST_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_HOST, p, &node);

	if (result)
		return result;
	*p = node->what.host;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphHostNodeSetParams(CUgraphNode handle, const CUDA_HOST_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_HOST, p, &node);

	if (result)
		return result;
	if (!p->fn)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	node->what.host = *p;
	return vc_graph_leave(CUDA_SUCCESS);
}

static CUresult get_event(CUgraphNode handle, CUgraphNodeType type, CUevent *event)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, type, event, &node);

	if (result)
		return result;
	*event = event_of(&node->what);
	return vc_graph_leave(CUDA_SUCCESS);
}

static CUresult set_event(CUgraphNode handle, CUgraphNodeType type, CUevent event)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, type, event, &node);

	return result ? result : replace(node, vc_what_event(type, event, &what), &what);
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

CUresult cuGraphMemAllocNodeGetParams(CUgraphNode handle, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_MEM_ALLOC, p, &node);

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
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_MEM_FREE, address, &node);

	if (result)
		return result;
	*address = node->what.address;
	return vc_graph_leave(CUDA_SUCCESS);
}

CUresult cuGraphNodeSetParams(CUgraphNode handle, CUgraphNodeParams *p)
{
	struct vc_what what = { 0 };
	struct vc_gnode *node;
	CUresult result = p ? enter_typed(handle, p->type, p, &node) : CUDA_ERROR_INVALID_VALUE;

	return result ? result : replace(node, vc_what_any(p, &node->what, &what), &what);
}

// ---- attributes of kernel nodes: part of the record's tail

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode handle, CUkernelNodeAttrID id,
				       CUlaunchAttributeValue *value)
{
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, &node);
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
	return replace(
	    node, vc_launch_describe(p.func, &config, p.kernelParams, NULL, &what.body, &what.bytes), &what);
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode handle, CUkernelNodeAttrID id,
				       const CUlaunchAttributeValue *value)
{
	CUlaunchAttribute list[17];
	struct vc_gnode *node;
	CUresult result = enter_typed(handle, CU_GRAPH_NODE_TYPE_KERNEL, value, &node);
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
	CUresult result = enter_typed(dst, CU_GRAPH_NODE_TYPE_KERNEL, dst, &to);
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
