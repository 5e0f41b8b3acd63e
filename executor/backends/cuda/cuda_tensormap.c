// SPDX-License-Identifier: Apache-2.0
// Tensor maps of the cuda backend: the driver encodes, nothing of the GPU is asked. Executor process, loop
// thread. Guest and executor name memory by the same addresses, so the address goes along as it is.
#include <string.h>

#include "executor/backends/cuda/cuda_backend.h"

static int encode(struct backend *b, const struct record_tensor_map *r, CUtensorMap *map)
{
	void *address = (void *)(uintptr_t)r->address;

	switch ((enum tensor_map_kind)r->kind) {
	case TENSOR_MAP_KIND_TILED:
		if (!b->cu.tensor_map_tiled)
			return CUDA_ERROR_NOT_SUPPORTED;
		return b->cu.tensor_map_tiled(
		    map, (CUtensorMapDataType)r->data_type, r->rank, address, r->dims, r->strides, r->box,
		    r->element_strides, (CUtensorMapInterleave)r->interleave, (CUtensorMapSwizzle)r->swizzle,
		    (CUtensorMapL2promotion)r->promotion, (CUtensorMapFloatOOBfill)r->fill);
	case TENSOR_MAP_KIND_IM2COL:
		if (!b->cu.tensor_map_im2col)
			return CUDA_ERROR_NOT_SUPPORTED;
		return b->cu.tensor_map_im2col(
		    map, (CUtensorMapDataType)r->data_type, r->rank, address, r->dims, r->strides, r->lower,
		    r->upper, r->channels, r->pixels, r->element_strides,
		    (CUtensorMapInterleave)r->interleave, (CUtensorMapSwizzle)r->swizzle,
		    (CUtensorMapL2promotion)r->promotion, (CUtensorMapFloatOOBfill)r->fill);
	case TENSOR_MAP_KIND_REPLACE:
		if (!b->cu.tensor_map_replace)
			return CUDA_ERROR_NOT_SUPPORTED;
		return b->cu.tensor_map_replace(map, address);
	}
	return CUDA_ERROR_INVALID_VALUE;
}

int cuda_tensor_map(struct backend *b, const struct record_tensor_map *r, struct reply_tensor_map *ret)
{
	_Alignas(128) CUtensorMap map; // what the driver's own type is aligned to
	int result;

	memcpy(&map, r->map, sizeof(map));
	result = cuda_result(b, (CUresult)encode(b, r, &map));
	if (!result)
		memcpy(ret->map, &map, sizeof(ret->map));
	return result;
}
