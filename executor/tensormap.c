// SPDX-License-Identifier: Apache-2.0
// Tensor maps: the handler of tensor_map. The driver that encodes them reads arrays of rank elements, so the
// rank is bounded here. Any address may stand in a map: it is judged where a kernel uses it, and libraries
// encode maps before they have memory. Called by the generated dispatch in an executor.
#include "executor/executor.h"
#include "protocol/cuda/cuda_abi.h"

#define IM2COL_MIN_RANK 3u // its corners have rank - 2 elements

int32_t on_tensor_map(struct executor *x, const struct record_tensor_map *r, struct reply_tensor_map *ret)
{
	uint32_t least = r->kind == TENSOR_MAP_KIND_IM2COL ? IM2COL_MIN_RANK : 1;
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (r->kind != TENSOR_MAP_KIND_REPLACE && r->rank < least)
		return CUDA_ERROR_INVALID_VALUE;
	return x->ops->tensor_map(x->backend, r, ret);
}
