// SPDX-License-Identifier: Apache-2.0
// The copy calls: each says in its own way what to copy; copy.c does it. Runs in the guest program.
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "protocol/cuda/array_shape.h"

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

// The handle of an array that the copy's box, at that place, lies inside of.
static CUresult array_end(CUarray array, const uint64_t at[3], const struct vc_copy *box, uint64_t *ret)
{
	const struct vc_array *a = vc_array_find(array);
	struct array_shape shape;

	if (!a)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = (uint64_t)(uintptr_t)array;
	shape = (struct array_shape){ a->desc.Width,
				      a->desc.Height,
				      a->desc.Depth,
				      (uint32_t)a->desc.Format,
				      a->desc.NumChannels,
				      a->desc.Flags,
				      0 };
	return array_holds(&shape, at, box->width, box->height, box->depth) ? CUDA_SUCCESS
									    : CUDA_ERROR_INVALID_VALUE;
}

// ---- arrays in the old way: a run of bytes of a one-dimensional array, or of the first row of another

static CUresult array_run(CUstream stream, struct vc_copy *copy, CUarray dst, CUarray src, size_t bytes,
			  int sync)
{
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter_report(&ctx);

	copy->width = bytes;
	copy->height = copy->depth = 1;
	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result || !bytes)
		return result;
	if (copy->dst_side == VC_SIDE_ARRAY)
		result = array_end(dst, copy->dst_at, copy, &copy->dst);
	if (!result && copy->src_side == VC_SIDE_ARRAY)
		result = array_end(src, copy->src_at, copy, &copy->src);
	return result ? result : vc_copy_submit(s, copy, sync);
}

CUresult cuMemcpyAtoA_v2(CUarray dst, size_t dst_offset, CUarray src, size_t src_offset, size_t bytes)
{
	struct vc_copy copy = { .dst_side = VC_SIDE_ARRAY,
				.src_side = VC_SIDE_ARRAY,
				.dst_at = { dst_offset },
				.src_at = { src_offset } };

	return array_run(NULL, &copy, dst, src, bytes, 1);
}

CUresult cuMemcpyAtoD_v2(CUdeviceptr dst, CUarray src, size_t src_offset, size_t bytes)
{
	struct vc_copy copy = {
		.dst = dst, .dst_side = VC_SIDE_DEVICE, .src_side = VC_SIDE_ARRAY, .src_at = { src_offset }
	};

	return array_run(NULL, &copy, NULL, src, bytes, 1);
}

CUresult cuMemcpyDtoA_v2(CUarray dst, size_t dst_offset, CUdeviceptr src, size_t bytes)
{
	struct vc_copy copy = {
		.src = src, .src_side = VC_SIDE_DEVICE, .dst_side = VC_SIDE_ARRAY, .dst_at = { dst_offset }
	};

	return array_run(NULL, &copy, dst, NULL, bytes, 1);
}

static CUresult array_to_host(void *dst, CUarray src, size_t src_offset, size_t bytes, CUstream stream,
			      int sync)
{
	struct vc_copy copy = { .dst = (uintptr_t)dst,
				.dst_side = VC_SIDE_HOST,
				.src_side = VC_SIDE_ARRAY,
				.src_at = { src_offset } };

	return array_run(stream, &copy, NULL, src, bytes, sync);
}

static CUresult host_to_array(CUarray dst, size_t dst_offset, const void *src, size_t bytes, CUstream stream,
			      int sync)
{
	struct vc_copy copy = { .src = (uintptr_t)src,
				.src_side = VC_SIDE_HOST,
				.dst_side = VC_SIDE_ARRAY,
				.dst_at = { dst_offset } };

	return array_run(stream, &copy, dst, NULL, bytes, sync);
}

CUresult cuMemcpyAtoH_v2(void *dst, CUarray src, size_t src_offset, size_t bytes)
{
	return array_to_host(dst, src, src_offset, bytes, NULL, 1);
}

CUresult cuMemcpyAtoHAsync_v2(void *dst, CUarray src, size_t src_offset, size_t bytes, CUstream stream)
{
	return array_to_host(dst, src, src_offset, bytes, stream, 0);
}

CUresult cuMemcpyHtoA_v2(CUarray dst, size_t dst_offset, const void *src, size_t bytes)
{
	return host_to_array(dst, dst_offset, src, bytes, NULL, 1);
}

CUresult cuMemcpyHtoAAsync_v2(CUarray dst, size_t dst_offset, const void *src, size_t bytes, CUstream stream)
{
	return host_to_array(dst, dst_offset, src, bytes, stream, 0);
}

// With offsets and sizes of 32 bits, before version 3.2.
CUresult cuMemcpyAtoA(CUarray dst, unsigned int dst_offset, CUarray src, unsigned int src_offset,
		      unsigned int bytes)
{
	return cuMemcpyAtoA_v2(dst, dst_offset, src, src_offset, bytes);
}

CUresult cuMemcpyAtoH(void *dst, CUarray src, unsigned int src_offset, unsigned int bytes)
{
	return array_to_host(dst, src, src_offset, bytes, NULL, 1);
}

CUresult cuMemcpyAtoHAsync(void *dst, CUarray src, unsigned int src_offset, unsigned int bytes,
			   CUstream stream)
{
	return array_to_host(dst, src, src_offset, bytes, stream, 0);
}

CUresult cuMemcpyHtoA(CUarray dst, unsigned int dst_offset, const void *src, unsigned int bytes)
{
	return host_to_array(dst, dst_offset, src, bytes, NULL, 1);
}

CUresult cuMemcpyHtoAAsync(CUarray dst, unsigned int dst_offset, const void *src, unsigned int bytes,
			   CUstream stream)
{
	return host_to_array(dst, dst_offset, src, bytes, stream, 0);
}

// ---- boxes

// One end of a described copy.
struct end {
	int type;
	CUarray array;
	uint64_t host, device;
	uint64_t x, y, z, pitch, height; // height: rows of a slice
};

// The address that the end begins at, its row and slice steps checked against the box.
static CUresult end_address(const struct end *e, const struct vc_copy *box, uint64_t *address,
			    uint64_t *pitch, uint64_t *slice, enum vc_side *side)
{
	uint64_t row_end, offset, rows, slices;

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
	if (dst->type == CU_MEMORYTYPE_ARRAY) {
		copy->dst_side = VC_SIDE_ARRAY;
		memcpy(copy->dst_at, (uint64_t[]){ dst->x, dst->y, dst->z }, sizeof(copy->dst_at));
		result = array_end(dst->array, copy->dst_at, copy, &copy->dst);
	} else {
		result =
		    end_address(dst, copy, &copy->dst, &copy->dst_pitch, &copy->dst_slice, &copy->dst_side);
	}
	if (result)
		return result;
	if (src->type == CU_MEMORYTYPE_ARRAY) {
		copy->src_side = VC_SIDE_ARRAY;
		memcpy(copy->src_at, (uint64_t[]){ src->x, src->y, src->z }, sizeof(copy->src_at));
		return array_end(src->array, copy->src_at, copy, &copy->src);
	}
	return end_address(src, copy, &copy->src, &copy->src_pitch, &copy->src_slice, &copy->src_side);
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
		return vc_invalid();
	dst = (struct end){ .type = c->dstMemoryType,
			    .array = c->dstArray,
			    .host = (uintptr_t)c->dstHost,
			    .device = c->dstDevice,
			    .x = c->dstXInBytes,
			    .y = c->dstY,
			    .pitch = c->dstPitch,
			    .height = 0 };
	src = (struct end){ .type = c->srcMemoryType,
			    .array = c->srcArray,
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
			     .array = c->dstArray,
			     .host = (uintptr_t)c->dstHost,
			     .device = c->dstDevice,
			     .x = c->dstXInBytes,
			     .y = c->dstY,
			     .z = c->dstZ,
			     .pitch = c->dstPitch,
			     .height = c->dstHeight };
	*src = (struct end){ .type = c->srcMemoryType,
			     .array = c->srcArray,
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
		return vc_invalid();
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
		return vc_invalid();
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
