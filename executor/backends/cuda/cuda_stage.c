// SPDX-License-Identifier: Apache-2.0
// Copies between the device and host memory that the driver below cannot map, as when that driver is our own
// libcuda.so.1 over a second mediator: through pinned buffers of that driver, in stream order and without
// waiting, a host function doing the host's half. Executor process, loop thread; never used on a GPU's own
// driver.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>

#define STAGE_MIN_BYTES VGPU_KIB(64)

struct cuda_stage {
	SLIST_ENTRY(cuda_stage) link;
	void *memory;
	uint64_t size;
	atomic_bool busy; // cleared by a host function, taken by the loop thread
};

static int stage_take(struct backend *b, uint64_t bytes, struct cuda_stage **ret)
{
	struct cuda_stage *stage;
	int result;

	if (bytes < STAGE_MIN_BYTES)
		bytes = STAGE_MIN_BYTES;
	for (stage = SLIST_FIRST(&b->stages); stage; stage = SLIST_NEXT(stage, link))
		if (stage->size >= bytes && !atomic_load_explicit(&stage->busy, memory_order_acquire))
			break;
	if (!stage) {
		stage = calloc(1, sizeof(*stage));
		if (!stage)
			return CUDA_ERROR_OUT_OF_MEMORY;
		result = cuda_result(b, b->cu.host_alloc(&stage->memory, bytes, CU_MEMHOSTALLOC_PORTABLE));
		if (result) {
			free(stage);
			return result;
		}
		stage->size = bytes;
		SLIST_INSERT_HEAD(&b->stages, stage, link);
	}
	atomic_store(&stage->busy, true);
	*ret = stage;
	return 0;
}

// Once the first half is queued the buffer belongs to the stream: it is given back by a host function or,
// when the context is lost, with the process.
int cuda_stage_copy(struct backend *b, const struct backend_copy *c, CUstream s)
{
	struct backend_copy in = *c, out = *c;
	struct cuda_stage *stage;
	uint64_t plane, bytes;
	int result;

	if (__builtin_mul_overflow(c->width, c->height, &plane) ||
	    __builtin_mul_overflow(plane, c->depth, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	if (b->capture.active)
		return CUDA_ERROR_NOT_SUPPORTED;
	result = stage_take(b, bytes, &stage);
	if (result)
		return result;
	in.dst = out.src = (uintptr_t)stage->memory;
	in.dst_pitch = out.src_pitch = c->width;
	in.dst_slice = out.src_slice = plane;
	in.dst_device = out.src_device = false;
	in.dst_array = out.src_array = NULL;
	if (c->src_device) {
		result = cuda_copy_direct(b, &in, s);
		return result ? result : cuda_host_copy(b, s, &out, &stage->busy);
	}
	result = cuda_host_copy(b, s, &in, NULL);
	if (!result)
		result = cuda_copy_direct(b, &out, s);
	return result ? result : cuda_host_release(b, s, &stage->busy);
}

void cuda_stages_free(struct backend *b)
{
	struct cuda_stage *stage;

	while ((stage = SLIST_FIRST(&b->stages))) {
		SLIST_REMOVE_HEAD(&b->stages, link);
		b->cu.host_free(stage->memory);
		free(stage);
	}
}
