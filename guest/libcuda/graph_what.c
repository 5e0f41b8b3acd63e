// SPDX-License-Identifier: Apache-2.0
// From the parameters that a program gives a node to the record that will travel. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/condition.h"
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
	struct vc_copy_record record;
	CUresult result = CUDA_SUCCESS;

	if (copy->dst_side != VC_SIDE_DEVICE && copy->dst_side != VC_SIDE_ARRAY)
		result = pin_side(copy->dst, copy->dst_pitch, copy->dst_slice, copy, &held[0]);
	if (!result && copy->src_side != VC_SIDE_DEVICE && copy->src_side != VC_SIDE_ARRAY)
		result = pin_side(copy->src, copy->src_pitch, copy->src_slice, copy, &held[1]);
	if (!result)
		result = vc_copy_describe(copy, &record);
	if (!result)
		result = set_body(ret, CU_GRAPH_NODE_TYPE_MEMCPY, record.opcode,
				  record.opcode == OPCODE_COPY ? (void *)&record.copy : &record.copy_array,
				  vc_copy_record_bytes(&record));
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

// ---- words, events, memory

CUresult vc_what_words(const CUstreamBatchMemOpParams *params, unsigned int count, unsigned int flags,
		       struct vc_what *ret)
{
	struct {
		struct record_words record;
		struct word_op ops[VC_MAX_WORDS];
	} body = { .record = { .n = count } };
	CUresult result = vc_words_read(params, count, flags, body.ops);

	if (!result)
		result = set_body(ret, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, OPCODE_WORDS, &body,
				  (uint32_t)(sizeof(body.record) + count * sizeof(body.ops[0])));
	if (result)
		return result;
	ret->words = calloc(count, sizeof(*params));
	if (!ret->words) {
		vc_what_done(ret);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	memcpy(ret->words, params, count * sizeof(*params));
	ret->n_words = count;
	return CUDA_SUCCESS;
}

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
	vc_graph_memory_counts(m->bytes);
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
		if (vc_graph_branches(child))
			return CUDA_ERROR_NOT_SUPPORTED;
		*ret = (struct vc_what){ .type = p->type, .child = vc_graph_clone(child) };
		return ret->child ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	case CU_GRAPH_NODE_TYPE_EMPTY: *ret = (struct vc_what){ .type = p->type }; return CUDA_SUCCESS;
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD: return vc_what_event(p->type, p->event, ret);
	case CU_GRAPH_NODE_TYPE_MEM_ALLOC: return vc_what_alloc(&p->alloc, ret);
	case CU_GRAPH_NODE_TYPE_MEM_FREE:
		*ret = (struct vc_what){ .type = p->type, .address = p->free };
		return CUDA_SUCCESS;
	case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
		return vc_what_words(p->memOp.paramArray, p->memOp.count, p->memOp.flags, ret);
	default: return CUDA_ERROR_NOT_SUPPORTED; // semaphores; conditions stay as they were made
	}
}
