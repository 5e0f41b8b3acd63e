// SPDX-License-Identifier: Apache-2.0
// Tensor maps: the executor's driver encodes them, here the arrays are gathered and what would read or write
// memory of the program wrongly is refused. Runs in the guest program.
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

#define MAX_RANK	5u
#define IM2COL_MIN_RANK 3u // its corners have rank - 2 elements

static CUresult enter_map(const CUtensorMap *map)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	return map && (uintptr_t)map % CU_TENSOR_MAP_ALIGN == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// The arrays that both ways of encoding have. A tensor of one dimension has no strides.
static CUresult gather(struct record_tensor_map *r, uint32_t least_rank, const uint64_t *dims,
		       const uint64_t *strides, const uint32_t *element_strides)
{
	if (r->rank < least_rank || r->rank > MAX_RANK || !dims || (r->rank > 1 && !strides) ||
	    !element_strides)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(r->dims, dims, r->rank * sizeof(*dims));
	if (r->rank > 1)
		memcpy(r->strides, strides, (r->rank - 1) * sizeof(*strides));
	memcpy(r->element_strides, element_strides, r->rank * sizeof(*element_strides));
	return CUDA_SUCCESS;
}

static CUresult encode(const struct record_tensor_map *r, CUtensorMap *map)
{
	struct reply_tensor_map reply;
	CUresult result = (CUresult)vgpu_call_tensor_map(vc_client, r, &reply);

	if (!result)
		memcpy(map->opaque, reply.map, sizeof(map->opaque));
	return result;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, uint32_t rank, void *address,
				const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
				const uint32_t *element_strides, CUtensorMapInterleave interleave,
				CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
				CUtensorMapFloatOOBfill fill)
{
	struct record_tensor_map r = { .kind = TENSOR_MAP_KIND_TILED,
				       .address = (uintptr_t)address,
				       .data_type = (uint32_t)type,
				       .rank = rank,
				       .interleave = (uint32_t)interleave,
				       .swizzle = (uint32_t)swizzle,
				       .promotion = (uint32_t)promotion,
				       .fill = (uint32_t)fill };
	CUresult result = enter_map(map);

	if (!result)
		result = gather(&r, 1, dims, strides, element_strides);
	if (result)
		return result;
	if (!box)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(r.box, box, rank * sizeof(*box));
	return encode(&r, map);
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap *map, CUtensorMapDataType type, uint32_t rank, void *address,
				 const uint64_t *dims, const uint64_t *strides, const int *lower,
				 const int *upper, uint32_t channels, uint32_t pixels,
				 const uint32_t *element_strides, CUtensorMapInterleave interleave,
				 CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
				 CUtensorMapFloatOOBfill fill)
{
	struct record_tensor_map r = { .kind = TENSOR_MAP_KIND_IM2COL,
				       .address = (uintptr_t)address,
				       .data_type = (uint32_t)type,
				       .rank = rank,
				       .channels = channels,
				       .pixels = pixels,
				       .interleave = (uint32_t)interleave,
				       .swizzle = (uint32_t)swizzle,
				       .promotion = (uint32_t)promotion,
				       .fill = (uint32_t)fill };
	CUresult result = enter_map(map);

	if (!result)
		result = gather(&r, IM2COL_MIN_RANK, dims, strides, element_strides);
	if (result)
		return result;
	if (!lower || !upper)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(r.lower, lower, (rank - 2) * sizeof(*lower));
	memcpy(r.upper, upper, (rank - 2) * sizeof(*upper));
	return encode(&r, map);
}

CUresult cuTensorMapReplaceAddress(CUtensorMap *map, void *address)
{
	struct record_tensor_map r = { .kind = TENSOR_MAP_KIND_REPLACE, .address = (uintptr_t)address };
	CUresult result = enter_map(map);

	if (result)
		return result;
	memcpy(r.map, map->opaque, sizeof(r.map));
	return encode(&r, map);
}
