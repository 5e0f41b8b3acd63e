// SPDX-License-Identifier: Apache-2.0
// Batches of copies: checked as a whole, then submitted one after another, which is one of the orders that a
// batch may have. Runs in the guest program.
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

#define KNOWN_FLAGS 1u // prefers to overlap with kernels: a hint

static int order_exists(int order)
{
	return order >= CU_MEMCPY_SRC_ACCESS_ORDER_STREAM && order <= CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
}

static CUresult enter(CUstream stream, struct vc_stream **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, ret);
	if (!result && *ret == &vc_legacy_stream)
		result = CUDA_ERROR_INVALID_VALUE;
	return result;
}

// A pageable source is read when the call is made. Where the program asks for the order of the stream, what
// is there before comes first.
static CUresult submit(struct vc_stream *s, const struct vc_copy *c, int order)
{
	struct vc_range range;
	CUresult result = CUDA_SUCCESS;

	if (order == CU_MEMCPY_SRC_ACCESS_ORDER_STREAM && !vc_stream_captures(s) &&
	    vc_range_find(c->src, &range))
		result = vc_stream_wait(s);
	return result ? result : vc_copy_submit(s, c, 0);
}

// The entries of a list that holds for runs of a batch: each begins behind the one before, the first at 0.
int vc_runs_are_right(const size_t *begins, size_t n, size_t count)
{
	if (!begins || !n || n > count || begins[0])
		return 0;
	for (size_t i = 1; i < n; i++)
		if (begins[i] <= begins[i - 1])
			return 0;
	return begins[n - 1] < count;
}

static CUresult copies(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
		       const CUmemcpyAttributes *attributes, const size_t *begins, size_t n, size_t *failed,
		       CUstream stream)
{
	struct vc_stream *s;
	CUresult result = enter(stream, &s);
	size_t run = 0;

	if (failed)
		*failed = SIZE_MAX;
	if (result)
		return result;
	if (!dsts || !srcs || !sizes || !count || !attributes || !vc_runs_are_right(begins, n, count))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < n; i++)
		if (!order_exists(attributes[i].srcAccessOrder) || (attributes[i].flags & ~KNOWN_FLAGS))
			return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count && !result; i++) {
		struct vc_copy c = { .dst = dsts[i],
				     .src = srcs[i],
				     .dst_side = VC_SIDE_ANY,
				     .src_side = VC_SIDE_ANY,
				     .width = sizes[i],
				     .height = 1,
				     .depth = 1 };

		if (run + 1 < n && begins[run + 1] == i)
			run++;
		result = submit(s, &c, attributes[run].srcAccessOrder);
		if (result && failed)
			*failed = i;
	}
	return result;
}

CUresult cuMemcpyBatchAsync(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
			    CUmemcpyAttributes *attributes, size_t *attribute_begins, size_t n_attributes,
			    size_t *failed, CUstream stream)
{
	return failed ? copies(dsts, srcs, sizes, count, attributes, attribute_begins, n_attributes, failed,
			       stream)
		      : vc_invalid();
}

CUresult cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
			       CUmemcpyAttributes *attributes, size_t *attribute_begins, size_t n_attributes,
			       CUstream stream)
{
	return copies(dsts, srcs, sizes, count, attributes, attribute_begins, n_attributes, NULL, stream);
}

// ---- boxes

// Elements of pointers are bytes. A length of 0 means that of the copy.
static CUresult operand(const CUmemcpy3DOperand *o, const CUDA_MEMCPY3D_BATCH_OP *op, uint64_t *ptr,
			uint64_t *pitch, uint64_t *slice)
{
	size_t rows = o->op.ptr.layerHeight ? o->op.ptr.layerHeight : op->height;

	if (o->type == CU_MEMCPY_OPERAND_TYPE_ARRAY)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (o->type != CU_MEMCPY_OPERAND_TYPE_POINTER)
		return CUDA_ERROR_INVALID_VALUE;
	*ptr = o->op.ptr.ptr;
	*pitch = o->op.ptr.rowLength ? o->op.ptr.rowLength : op->width;
	if (*pitch < op->width || rows < op->height || __builtin_mul_overflow(*pitch, rows, slice))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult box(const CUDA_MEMCPY3D_BATCH_OP *op, struct vc_copy *ret)
{
	CUresult result;

	if (!op->width || !op->height || !op->depth || !order_exists(op->srcAccessOrder) ||
	    (op->flags & ~KNOWN_FLAGS))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = (struct vc_copy){ .dst_side = VC_SIDE_ANY,
				 .src_side = VC_SIDE_ANY,
				 .width = op->width,
				 .height = op->height,
				 .depth = op->depth };
	result = operand(&op->src, op, &ret->src, &ret->src_pitch, &ret->src_slice);
	return result ? result : operand(&op->dst, op, &ret->dst, &ret->dst_pitch, &ret->dst_slice);
}

static CUresult boxes(size_t count, const CUDA_MEMCPY3D_BATCH_OP *ops, size_t *failed,
		      unsigned long long flags, CUstream stream)
{
	struct vc_stream *s;
	CUresult result = enter(stream, &s);
	struct vc_copy c;

	if (failed)
		*failed = SIZE_MAX;
	if (result)
		return result;
	if (!count || !ops || flags)
		return CUDA_ERROR_INVALID_VALUE;
	for (int act = 0; act < 2; act++)
		for (size_t i = 0; i < count && !result; i++) {
			result = box(&ops[i], &c);
			if (!result && act)
				result = submit(s, &c, ops[i].srcAccessOrder);
			if (result && failed)
				*failed = i;
		}
	return result;
}

CUresult cuMemcpy3DBatchAsync(size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *failed,
			      unsigned long long flags, CUstream stream)
{
	return failed ? boxes(count, ops, failed, flags, stream) : vc_invalid();
}

CUresult cuMemcpy3DBatchAsync_v2(size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags,
				 CUstream stream)
{
	return boxes(count, ops, NULL, flags, stream);
}
