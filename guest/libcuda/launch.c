// SPDX-License-Identifier: Apache-2.0
// Launches: what the driver would refuse at once is refused here, from what is known of device and function;
// the rest is one record, its parameters written straight into the ring. The hottest path of the library: no
// lock but the ring's. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"
#include "protocol/guest/launch_attributes.h"

struct launch {
	struct vc_function *f;
	struct vc_stream *stream;
	unsigned int grid[3], block[3], shared;
	void **params;	  // kernelParams, or NULL
	const void *blob; // of `extra`, or NULL
	uint32_t blob_bytes;
	const CUlaunchAttribute *attributes;
	unsigned int attribute_count;
};

// Said once for a function that is launched again and again.
static CUresult refuse(const struct vc_function *f)
{
	static _Atomic(const struct vc_function *) said;

	if (atomic_exchange(&said, f) != f)
		vc_log("launch of %s: the image has no code that this device can run", f->name);
	return (CUresult)f->refusal;
}

static CUresult check_shape(const struct launch *l)
{
	const int32_t *a = vc_device.attributes;
	uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];

	if (!VC_LIKELY(!l->f->refusal))
		return refuse(l->f);
	for (int i = 0; i < 3; i++) {
		if (!l->grid[i] || l->grid[i] > (unsigned int)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + i])
			return CUDA_ERROR_INVALID_VALUE;
		if (!l->block[i] || l->block[i] > (unsigned int)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + i])
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (threads > (uint64_t)a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK])
		return CUDA_ERROR_INVALID_VALUE;
	if (threads > (uint64_t)atomic_load_explicit(
			  &l->f->attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK], memory_order_relaxed))
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (l->shared >
	    (uint64_t)atomic_load_explicit(&l->f->attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES],
					   memory_order_relaxed))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

// The buffer that `extra` names, a list of keys and values.
static CUresult read_extra(void **extra, struct launch *l)
{
	const size_t *size = NULL;

	for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
		if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
			l->blob = extra[1];
		else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
			size = extra[1];
		else
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (!l->blob || !size || *size > VGPU_MAX_PARAM_BYTES || *size < l->f->param_bytes)
		return CUDA_ERROR_INVALID_VALUE;
	l->blob_bytes = l->f->param_bytes; // what lies behind is padding
	return CUDA_SUCCESS;
}

static CUresult check_params(struct launch *l, void **params, void **extra)
{
	if (params && extra)
		return CUDA_ERROR_INVALID_VALUE;
	if (extra)
		return read_extra(extra, l);
	if (!params && l->f->n_params)
		return CUDA_ERROR_INVALID_VALUE;
	l->params = params;
	for (uint32_t i = 0; i < l->f->n_params; i++)
		if (!params[i])
			return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static void write_params(const struct launch *l, char *to)
{
	const struct vc_function *f = l->f;

	if (l->blob)
		memcpy(to, l->blob, l->blob_bytes);
	else
		vgpu_params_pack(f->params, f->n_params, f->param_bytes, (const void *const *)l->params, to);
}

static struct record_launch record_of(const struct launch *l, uint64_t stream)
{
	return (struct record_launch){
		.stream = stream,
		.function = vc_object_handle(VC_FUNCTION, l->f),
		.grid_x = l->grid[0],
		.grid_y = l->grid[1],
		.grid_z = l->grid[2],
		.block_x = l->block[0],
		.block_y = l->block[1],
		.block_z = l->block[2],
		.dynamic_shared = l->shared,
		.n_attributes = l->attribute_count,
		.param_bytes = l->f->param_bytes,
	};
}

static void write_tail(const struct launch *l, char *to)
{
	uint32_t attribute_bytes = l->attribute_count * (uint32_t)sizeof(CUlaunchAttribute);

	if (attribute_bytes)
		memcpy(to, l->attributes, attribute_bytes);
	write_params(l, to + attribute_bytes);
}

// The launch as a node of a graph: *body is the caller's.
static CUresult describe(const struct launch *l, void **body, uint32_t *bytes)
{
	struct record_launch record = record_of(l, STREAM_LEGACY);
	uint32_t tail = l->attribute_count * (uint32_t)sizeof(CUlaunchAttribute) + record.param_bytes;
	char *to = malloc(sizeof(record) + tail);

	if (!to)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(to, &record, sizeof(record));
	write_tail(l, to + sizeof(record));
	*body = to;
	*bytes = (uint32_t)sizeof(record) + tail;
	return CUDA_SUCCESS;
}

// The node carries what the launch would have had from its stream.
static CUresult capture(const struct launch *launch)
{
	struct vc_what what = { .type = CU_GRAPH_NODE_TYPE_KERNEL, .opcode = OPCODE_LAUNCH };
	CUlaunchAttribute attributes[VGPU_MAX_LAUNCH_ATTRS];
	struct launch l = *launch;
	CUresult result;

	if (l.attribute_count)
		memcpy(attributes, l.attributes, l.attribute_count * sizeof(attributes[0]));
	l.attributes = attributes;
	l.attribute_count = vc_stream_attributes_of(l.stream, attributes, l.attribute_count);
	result = describe(&l, &what.body, &what.bytes);
	return result ? result : vc_capture_add(l.stream, &what);
}

static CUresult submit(const struct launch *l)
{
	uint32_t attribute_bytes = l->attribute_count * (uint32_t)sizeof(CUlaunchAttribute);
	struct record_launch record = record_of(l, l->stream->handle);
	char *tail;

	if (!VC_LIKELY(!vc_stream_captures(l->stream)))
		return capture(l);
	tail = vgpu_client_begin(vc_client, OPCODE_LAUNCH, &record, sizeof(record),
				 attribute_bytes + record.param_bytes);

	if (!tail)
		return (CUresult)vgpu_client_lost(vc_client);
	write_tail(l, tail);
	vgpu_client_commit(vc_client);
	vc_stream_submitted(l->stream);
	return CUDA_SUCCESS;
}

// A cluster's dimensions divide the grid's.
static int cluster_fits(const CUlaunchAttribute *a, const struct launch *l)
{
	const unsigned int c[3] = { a->value.clusterDim.x, a->value.clusterDim.y, a->value.clusterDim.z };

	for (int i = 0; i < 3; i++)
		if (!c[i] || l->grid[i] % c[i])
			return 0;
	return 1;
}

// All blocks of a cooperative grid run at once.
static CUresult check_cooperative(const CUlaunchAttribute *a, const struct launch *l)
{
	uint64_t blocks = (uint64_t)l->grid[0] * l->grid[1] * l->grid[2];
	CUresult result;
	int fit;

	if (!a->value.cooperative)
		return CUDA_SUCCESS;
	if (!vc_device.attributes[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH])
		return CUDA_ERROR_NOT_SUPPORTED;
	result = vc_function_blocks(l->f, (int)(l->block[0] * l->block[1] * l->block[2]), l->shared,
				    CU_OCCUPANCY_DEFAULT, &fit);
	if (result)
		return result;
	if (blocks > (uint64_t)fit * (uint64_t)vc_device.attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT])
		return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
	return CUDA_SUCCESS;
}

static CUresult check_attribute(const CUlaunchAttribute *a, const struct launch *l)
{
	if (!launch_attribute_travels((uint32_t)a->id)) {
		vc_log("launch attribute %d is not supported yet", a->id);
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	if (a->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
		return check_cooperative(a, l);
	if (a->id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION && !cluster_fits(a, l))
		return CUDA_ERROR_INVALID_CLUSTER_SIZE;
	return CUDA_SUCCESS;
}

static CUresult check_attributes(const CUlaunchAttribute *from, unsigned int count, struct launch *l,
				 CUlaunchAttribute *to)
{
	CUresult result;

	l->attributes = to;
	l->attribute_count = 0;
	for (unsigned int i = 0; i < count; i++) {
		if (from[i].id == CU_LAUNCH_ATTRIBUTE_IGNORE)
			continue;
		if (l->attribute_count == VGPU_MAX_LAUNCH_ATTRS)
			return CUDA_ERROR_INVALID_VALUE;
		result = check_attribute(&from[i], l);
		if (result)
			return result;
		to[l->attribute_count] = from[i];
		memset(to[l->attribute_count++].pad, 0, sizeof(from[i].pad));
	}
	return CUDA_SUCCESS;
}

static CUresult find_function(CUfunction function, struct launch *l)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	l->f = vc_function_find(function);
	return l->f ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult prepare(CUfunction function, CUstream stream, struct launch *l)
{
	CUresult result = find_function(function, l);

	return result ? result : vc_stream_resolve(stream, &l->stream);
}

CUresult cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz,
			unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared,
			CUstream stream, void **params, void **extra)
{
	struct launch l = { .grid = { gx, gy, gz }, .block = { bx, by, bz }, .shared = shared };
	CUresult result = prepare(function, stream, &l);

	if (!result)
		result = check_shape(&l);
	if (!result)
		result = check_params(&l, params, extra);
	return result ? result : submit(&l);
}

static struct launch of_config(const CUlaunchConfig *config)
{
	return (struct launch){ .grid = { config->gridDimX, config->gridDimY, config->gridDimZ },
				.block = { config->blockDimX, config->blockDimY, config->blockDimZ },
				.shared = config->sharedMemBytes };
}

CUresult vc_launch_describe(CUfunction function, const CUlaunchConfig *config, void **params, void **extra,
			    void **body, uint32_t *bytes)
{
	CUlaunchAttribute attributes[VGPU_MAX_LAUNCH_ATTRS];
	struct launch l = of_config(config);
	CUresult result = find_function(function, &l);

	if (!result)
		result = check_shape(&l);
	if (!result)
		result = check_attributes(config->attrs, config->numAttrs, &l, attributes);
	if (!result)
		result = check_params(&l, params, extra);
	return result ? result : describe(&l, body, bytes);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra)
{
	CUlaunchAttribute attributes[VGPU_MAX_LAUNCH_ATTRS];
	struct launch l = { .f = NULL };
	CUresult result;

	if (!config || (config->numAttrs && !config->attrs))
		return vc_ready() ? vc_ready() : CUDA_ERROR_INVALID_VALUE;
	l = of_config(config);
	result = prepare(function, config->hStream, &l);
	if (!result)
		result = check_shape(&l);
	if (!result)
		result = check_attributes(config->attrs, config->numAttrs, &l, attributes);
	if (!result)
		result = check_params(&l, params, extra);
	return result ? result : submit(&l);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz,
				   unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared,
				   CUstream stream, void **params)
{
	CUlaunchAttribute cooperative = { .id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1 };
	CUlaunchConfig config = { gx, gy, gz, bx, by, bz, shared, stream, &cooperative, 1 };

	return cuLaunchKernelEx(&config, function, params, NULL);
}
