// SPDX-License-Identifier: Apache-2.0
// Kernel launches: the handlers of launch and occupancy_clusters, and what of a launch attribute may pass.
#include <string.h>

#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/guest/launch_attributes.h"

#define LAUNCH_COOPERATIVE 1u

static int32_t check_attributes(const uint8_t *attributes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id;

		memcpy(&id, attributes + (size_t)i * sizeof(CUlaunchAttribute), sizeof(id));
		if (!launch_attribute_travels(id))
			return CUDA_ERROR_NOT_SUPPORTED;
	}
	return CUDA_SUCCESS;
}

int32_t on_launch(struct executor *x, const struct record_launch *r, struct stream *stream,
		  struct function *function, const uint8_t *tail, uint32_t tail_bytes)
{
	uint32_t attribute_bytes = r->n_attributes * (uint32_t)sizeof(CUlaunchAttribute),
		 lane = work_lane(stream);
	int32_t result = executor_ready(x);
	struct backend_launch l;
	uint64_t blocks, key;

	if (result)
		return result;
	if (tail_bytes != attribute_bytes + r->param_bytes || r->param_bytes != function->param_bytes ||
	    !r->grid_x || !r->grid_y || !r->grid_z || !r->block_x || !r->block_y || !r->block_z)
		return CUDA_ERROR_INVALID_VALUE;
	result = check_attributes(tail, r->n_attributes);
	if (result)
		return result;
	l = (struct backend_launch){
		.grid = { r->grid_x, r->grid_y, r->grid_z },
		.block = { r->block_x, r->block_y, r->block_z },
		.dynamic_shared = r->dynamic_shared,
		.cooperative = r->flags & LAUNCH_COOPERATIVE,
		.params = tail + attribute_bytes,
		.param_bytes = r->param_bytes,
		.attributes = tail,
		.n_attributes = r->n_attributes,
	};
	track_before(x, lane);
	result = x->ops->launch(x->backend, function->backend, &l, work_stream(stream));
	if (result)
		return result;
	if (__builtin_mul_overflow((uint64_t)r->grid_x * r->grid_y, (uint64_t)r->grid_z, &blocks))
		blocks = UINT64_MAX;
	key = predict_kernel_key(function->id, blocks);
	if (lane == TRACK_NOWHERE)
		x->collected.launches++;
	else
		counter_add(&x->turn->launches, 1);
	track_after(x, lane, key, predict_ns(&x->predict, key, PREDICT_UNKNOWN_NS));
	return CUDA_SUCCESS;
}

int32_t on_occupancy_clusters(struct executor *x, const struct record_occupancy_clusters *r,
			      struct function *function, const uint8_t *tail, uint32_t tail_bytes,
			      struct reply_occupancy_clusters *ret)
{
	struct backend_launch l = {
		.grid = { r->grid_x, r->grid_y, r->grid_z },
		.block = { r->block_x, r->block_y, r->block_z },
		.dynamic_shared = r->dynamic_shared,
		.attributes = tail,
		.n_attributes = r->n_attributes,
	};
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (tail_bytes != r->n_attributes * (uint32_t)sizeof(CUlaunchAttribute))
		return CUDA_ERROR_INVALID_VALUE;
	result = check_attributes(tail, r->n_attributes);
	return result ? result
		      : x->ops->occupancy_clusters(x->backend, function->backend, &l,
						   (enum cluster_question)r->what, &ret->value);
}
