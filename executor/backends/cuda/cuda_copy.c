// SPDX-License-Identifier: Apache-2.0
// Copies and fills of the cuda backend. Executor process, loop thread; all asynchronous. Host addresses are
// registered memory, so the driver transfers straight from and to it. Between two host addresses the driver's
// own copy would wait, so a host function does it.
#include "executor/backends/cuda/cuda_backend.h"
#include "executor/backends/rows.h"

static int copy_line(struct backend *b, const struct backend_copy *c, uint64_t bytes, CUstream s)
{
	void *dst = (void *)(uintptr_t)c->dst;
	const void *src = (const void *)(uintptr_t)c->src;

	if (c->dst_device && c->src_device)
		return cuda_result(b, b->cu.copy_d2d(c->dst, c->src, bytes, s));
	if (c->dst_device)
		return cuda_result(b, b->cu.copy_h2d(c->dst, src, bytes, s));
	return cuda_result(b, b->cu.copy_d2h(dst, c->src, bytes, s));
}

static int copy_plane(struct backend *b, const struct backend_copy *c, CUstream s)
{
	CUDA_MEMCPY2D copy = {
		.srcMemoryType = c->src_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST,
		.srcPitch = c->src_pitch,
		.dstMemoryType = c->dst_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST,
		.dstPitch = c->dst_pitch,
		.WidthInBytes = c->width,
		.Height = c->height,
	};

	if (c->src_device)
		copy.srcDevice = c->src;
	else
		copy.srcHost = (const void *)(uintptr_t)c->src;
	if (c->dst_device)
		copy.dstDevice = c->dst;
	else
		copy.dstHost = (void *)(uintptr_t)c->dst;
	return cuda_result(b, b->cu.copy_2d(&copy, s));
}

// The driver knows slices as a number of rows, so a slice has to be whole rows.
static int copy_volume(struct backend *b, const struct backend_copy *c, CUstream s)
{
	CUDA_MEMCPY3D copy = {
		.srcMemoryType = c->src_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST,
		.srcPitch = c->src_pitch,
		.dstMemoryType = c->dst_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST,
		.dstPitch = c->dst_pitch,
		.WidthInBytes = c->width,
		.Height = c->height,
		.Depth = c->depth,
	};

	if (!c->src_pitch || !c->dst_pitch || c->src_slice % c->src_pitch || c->dst_slice % c->dst_pitch)
		return CUDA_ERROR_INVALID_VALUE;
	copy.srcHeight = c->src_slice / c->src_pitch;
	copy.dstHeight = c->dst_slice / c->dst_pitch;
	if (c->src_device)
		copy.srcDevice = c->src;
	else
		copy.srcHost = (const void *)(uintptr_t)c->src;
	if (c->dst_device)
		copy.dstDevice = c->dst;
	else
		copy.dstHost = (void *)(uintptr_t)c->dst;
	return cuda_result(b, b->cu.copy_3d(&copy, s));
}

int cuda_copy_direct(struct backend *b, const struct backend_copy *c, CUstream s)
{
	if (c->dst_array || c->src_array)
		return cuda_array_copy(b, c, s);
	if (c->depth > 1)
		return copy_volume(b, c, s);
	if (c->height == 1)
		return copy_line(b, c, c->width, s);
	if (c->dst_pitch == c->width && c->src_pitch == c->width)
		return copy_line(b, c, c->width * c->height, s);
	return copy_plane(b, c, s);
}

int cuda_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *stream)
{
	CUstream s = cuda_stream(stream);

	if (!c->dst_device && !c->src_device)
		return cuda_host_copy(b, s, c, NULL);
	if (!b->host_mapped && c->dst_device != c->src_device)
		return cuda_stage_copy(b, c, s);
	return cuda_copy_direct(b, c, s);
}

// The driver has taken up to 64 KiB of pageable memory when the call returns; a record holds less.
int cuda_write(struct backend *b, uint64_t dst, bool dst_device, const void *data, uint32_t size,
	       struct backend_stream *s)
{
	if (!dst_device)
		return cuda_host_write(b, cuda_stream(s), dst, data, size);
	return cuda_result(b, b->cu.copy_h2d(dst, data, size, cuda_stream(s)));
}

static CUresult set_line(struct backend *b, const struct backend_set *set, CUstream s)
{
	switch (set->element) {
	case 1: return b->cu.set_8(set->dst, (unsigned char)set->value, set->width, s);
	case 2: return b->cu.set_16(set->dst, (unsigned short)set->value, set->width, s);
	default: return b->cu.set_32(set->dst, set->value, set->width, s);
	}
}

static CUresult set_plane(struct backend *b, const struct backend_set *set, CUstream s)
{
	switch (set->element) {
	case 1:
		return b->cu.set_2d_8(set->dst, set->pitch, (unsigned char)set->value, set->width,
				      set->height, s);
	case 2:
		return b->cu.set_2d_16(set->dst, set->pitch, (unsigned short)set->value, set->width,
				       set->height, s);
	default: return b->cu.set_2d_32(set->dst, set->pitch, set->value, set->width, set->height, s);
	}
}

int cuda_set(struct backend *b, const struct backend_set *set, struct backend_stream *stream)
{
	CUstream s = cuda_stream(stream);

	if (!rows_set_valid(set))
		return CUDA_ERROR_INVALID_VALUE;
	if (!set->dst_device && !b->host_mapped)
		return cuda_host_set(b, s, set);
	return cuda_result(b, set->height == 1 ? set_line(b, set, s) : set_plane(b, set, s));
}
