// SPDX-License-Identifier: Apache-2.0
// The copy calls: each says in its own way what to copy; copy.c does it. Runs in the guest program.
#include "guest/libcuda/libcuda.h"

// A run of bytes, in the synchronous or asynchronous way.
static CUresult linear(CUstream stream, uint64_t dst, enum vc_side dst_side, uint64_t src,
		       enum vc_side src_side, size_t bytes, int sync)
{
	struct vc_copy copy = { .dst = dst,
				.src = src,
				.dst_side = dst_side,
				.src_side = src_side,
				.width = bytes,
				.height = 1,
				.depth = 1 };
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	return result ? result : vc_copy_submit(s, &copy, sync);
}

CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t bytes)
{
	return linear(NULL, dst, VC_SIDE_ANY, src, VC_SIDE_ANY, bytes, 1);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream)
{
	return linear(stream, dst, VC_SIDE_ANY, src, VC_SIDE_ANY, bytes, 0);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr dst, const void *src, size_t bytes)
{
	return linear(NULL, dst, VC_SIDE_DEVICE, (uintptr_t)src, VC_SIDE_HOST, bytes, 1);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t bytes, CUstream stream)
{
	return linear(stream, dst, VC_SIDE_DEVICE, (uintptr_t)src, VC_SIDE_HOST, bytes, 0);
}

CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t bytes)
{
	return linear(NULL, (uintptr_t)dst, VC_SIDE_HOST, src, VC_SIDE_DEVICE, bytes, 1);
}

CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t bytes, CUstream stream)
{
	return linear(stream, (uintptr_t)dst, VC_SIDE_HOST, src, VC_SIDE_DEVICE, bytes, 0);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes)
{
	return linear(NULL, dst, VC_SIDE_DEVICE, src, VC_SIDE_DEVICE, bytes, 1);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream)
{
	return linear(stream, dst, VC_SIDE_DEVICE, src, VC_SIDE_DEVICE, bytes, 0);
}

// One device: copies between contexts are copies on it.
static CUresult peer(CUcontext dst_ctx, CUcontext src_ctx)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	return vc_context_find(dst_ctx) && vc_context_find(src_ctx) ? CUDA_SUCCESS
								    : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuMemcpyPeer(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t bytes)
{
	CUresult result = peer(dst_ctx, src_ctx);

	return result ? result : linear(NULL, dst, VC_SIDE_DEVICE, src, VC_SIDE_DEVICE, bytes, 1);
}

CUresult cuMemcpyPeerAsync(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx,
			   size_t bytes, CUstream stream)
{
	CUresult result = peer(dst_ctx, src_ctx);

	return result ? result : linear(stream, dst, VC_SIDE_DEVICE, src, VC_SIDE_DEVICE, bytes, 0);
}

// One end of a described copy.
struct end {
	int type;
	uint64_t host, device;
	uint64_t x, y, z, pitch, height; // height: rows of a slice
};

// The address that the end begins at, its row and slice steps checked against the box.
static CUresult end_address(const struct end *e, const struct vc_copy *box, uint64_t *address,
			    uint64_t *pitch, uint64_t *slice, enum vc_side *side)
{
	uint64_t row_end, offset, rows, slices;

	if (e->type == CU_MEMORYTYPE_ARRAY)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (e->type != CU_MEMORYTYPE_HOST && e->type != CU_MEMORYTYPE_DEVICE &&
	    e->type != CU_MEMORYTYPE_UNIFIED)
		return CUDA_ERROR_INVALID_VALUE;
	if (__builtin_add_overflow(e->x, box->width, &row_end))
		return CUDA_ERROR_INVALID_VALUE;
	*pitch = e->pitch ? e->pitch : row_end; // 0: rows without a gap
	if (*pitch < row_end && (box->height > 1 || box->depth > 1))
		return CUDA_ERROR_INVALID_VALUE;
	if (box->depth > 1 && e->height < e->y + box->height)
		return CUDA_ERROR_INVALID_VALUE;
	if (__builtin_mul_overflow(*pitch, e->height, slice) || __builtin_mul_overflow(e->y, *pitch, &rows) ||
	    __builtin_mul_overflow(e->z, *slice, &slices) || __builtin_add_overflow(rows, slices, &offset) ||
	    __builtin_add_overflow(offset, e->x, &offset))
		return CUDA_ERROR_INVALID_VALUE;
	*address = (e->type == CU_MEMORYTYPE_HOST ? e->host : e->device) + offset;
	*side = e->type == CU_MEMORYTYPE_HOST	  ? VC_SIDE_HOST
		: e->type == CU_MEMORYTYPE_DEVICE ? VC_SIDE_DEVICE
						  : VC_SIDE_ANY;
	return CUDA_SUCCESS;
}

static CUresult copy_of(const struct end *dst, const struct end *src, uint64_t width, uint64_t height,
			uint64_t depth, struct vc_copy *copy)
{
	CUresult result;

	*copy = (struct vc_copy){ .width = width, .height = height, .depth = depth };
	result = end_address(dst, copy, &copy->dst, &copy->dst_pitch, &copy->dst_slice, &copy->dst_side);
	return result
		   ? result
		   : end_address(src, copy, &copy->src, &copy->src_pitch, &copy->src_slice, &copy->src_side);
}

static CUresult boxed(CUstream stream, const struct end *dst, const struct end *src, uint64_t width,
		      uint64_t height, uint64_t depth, int sync)
{
	struct vc_copy copy;
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result || !width || !height || !depth)
		return result;
	result = copy_of(dst, src, width, height, depth, &copy);
	return result ? result : vc_copy_submit(s, &copy, sync);
}

static CUresult copy_2d(const CUDA_MEMCPY2D *c, CUstream stream, int sync)
{
	struct end dst, src;

	if (!c)
		return CUDA_ERROR_INVALID_VALUE;
	dst = (struct end){ .type = c->dstMemoryType,
			    .host = (uintptr_t)c->dstHost,
			    .device = c->dstDevice,
			    .x = c->dstXInBytes,
			    .y = c->dstY,
			    .pitch = c->dstPitch,
			    .height = 0 };
	src = (struct end){ .type = c->srcMemoryType,
			    .host = (uintptr_t)c->srcHost,
			    .device = c->srcDevice,
			    .x = c->srcXInBytes,
			    .y = c->srcY,
			    .pitch = c->srcPitch,
			    .height = 0 };
	return boxed(stream, &dst, &src, c->WidthInBytes, c->Height, 1, sync);
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *copy)
{
	return copy_2d(copy, NULL, 1);
}

CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *copy)
{
	return copy_2d(copy, NULL, 1);
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream)
{
	return copy_2d(copy, stream, 0);
}

static void ends_of(const CUDA_MEMCPY3D *c, struct end *dst, struct end *src)
{
	*dst = (struct end){ .type = c->dstMemoryType,
			     .host = (uintptr_t)c->dstHost,
			     .device = c->dstDevice,
			     .x = c->dstXInBytes,
			     .y = c->dstY,
			     .z = c->dstZ,
			     .pitch = c->dstPitch,
			     .height = c->dstHeight };
	*src = (struct end){ .type = c->srcMemoryType,
			     .host = (uintptr_t)c->srcHost,
			     .device = c->srcDevice,
			     .x = c->srcXInBytes,
			     .y = c->srcY,
			     .z = c->srcZ,
			     .pitch = c->srcPitch,
			     .height = c->srcHeight };
}

CUresult vc_copy_of_3d(const CUDA_MEMCPY3D *c, struct vc_copy *ret)
{
	struct end dst, src;

	if (c->srcLOD || c->dstLOD)
		return CUDA_ERROR_INVALID_VALUE;
	ends_of(c, &dst, &src);
	return copy_of(&dst, &src, c->WidthInBytes, c->Height, c->Depth, ret);
}

static CUresult copy_3d(const CUDA_MEMCPY3D *c, CUstream stream, int sync)
{
	struct end dst, src;

	if (!c || c->srcLOD || c->dstLOD)
		return CUDA_ERROR_INVALID_VALUE;
	ends_of(c, &dst, &src);
	return boxed(stream, &dst, &src, c->WidthInBytes, c->Height, c->Depth, sync);
}

CUresult cuMemcpy3D_v2(const CUDA_MEMCPY3D *copy)
{
	return copy_3d(copy, NULL, 1);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *copy, CUstream stream)
{
	return copy_3d(copy, stream, 0);
}

// The same layout with two contexts in place of reserved words.
static CUresult copy_3d_peer(const CUDA_MEMCPY3D_PEER *copy, CUstream stream, int sync)
{
	CUresult result;

	if (!copy)
		return CUDA_ERROR_INVALID_VALUE;
	result = peer(copy->dstContext, copy->srcContext);
	return result ? result : copy_3d((const CUDA_MEMCPY3D *)(const void *)copy, stream, sync);
}

CUresult cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *copy)
{
	return copy_3d_peer(copy, NULL, 1);
}

CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *copy, CUstream stream)
{
	return copy_3d_peer(copy, stream, 0);
}
