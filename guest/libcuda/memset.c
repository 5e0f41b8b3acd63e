// SPDX-License-Identifier: Apache-2.0
// Fills: one record each, of 1, 2 or 4 byte elements in rows. Runs in the guest program.
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

struct fill {
	CUdeviceptr dst;
	uint64_t pitch, width, height; // width in elements
	uint32_t value, element;
};

// Bytes from the first to the last one that is written; 0 on overflow.
static uint64_t extent(const struct fill *f)
{
	uint64_t row, rows, sum;

	if (__builtin_mul_overflow(f->width, f->element, &row) ||
	    __builtin_mul_overflow(f->height - 1, f->pitch, &rows) || __builtin_add_overflow(rows, row, &sum))
		return 0;
	return f->height > 1 && f->pitch < row ? 0 : sum;
}

static CUresult submit(const struct fill *f, CUstream stream, int sync)
{
	struct record_set record;
	struct vc_range range;
	struct vc_context *ctx;
	struct vc_stream *s;
	uint64_t bytes;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result || !f->width || !f->height)
		return result;
	bytes = extent(f);
	if (!bytes || f->dst % f->element || (f->height > 1 && f->pitch % f->element) ||
	    vc_range_find(f->dst, &range) || range.bytes - (f->dst - range.base) < bytes)
		return CUDA_ERROR_INVALID_VALUE;
	record = (struct record_set){ .stream = s->handle,
				      .dst = f->dst,
				      .width = f->width,
				      .height = f->height,
				      .pitch = f->pitch,
				      .value = f->value,
				      .element = f->element,
				      .dst_space = vc_range_is_device(&range) ? MEMORY_SPACE_DEVICE
									      : MEMORY_SPACE_HOST };
	result = (CUresult)vgpu_push_set(vc_client, &record);
	if (result)
		return result;
	vc_stream_submitted(s);
	// Device memory is filled asynchronously even by the synchronous calls.
	return sync && !vc_range_is_device(&range) ? vc_stream_wait(s) : CUDA_SUCCESS;
}

static struct fill row(CUdeviceptr dst, uint32_t value, uint32_t element, size_t count)
{
	return (struct fill){ .dst = dst, .width = count, .height = 1, .value = value, .element = element };
}

static struct fill rows(CUdeviceptr dst, size_t pitch, uint32_t value, uint32_t element, size_t width,
			size_t height)
{
	return (struct fill){ .dst = dst,
			      .pitch = pitch,
			      .width = width,
			      .height = height,
			      .value = value,
			      .element = element };
}

CUresult cuMemsetD8_v2(CUdeviceptr dst, unsigned char value, size_t count)
{
	struct fill f = row(dst, value, 1, count);

	return submit(&f, NULL, 1);
}

CUresult cuMemsetD16_v2(CUdeviceptr dst, unsigned short value, size_t count)
{
	struct fill f = row(dst, value, 2, count);

	return submit(&f, NULL, 1);
}

CUresult cuMemsetD32_v2(CUdeviceptr dst, unsigned int value, size_t count)
{
	struct fill f = row(dst, value, 4, count);

	return submit(&f, NULL, 1);
}

CUresult cuMemsetD2D8_v2(CUdeviceptr dst, size_t pitch, unsigned char value, size_t width, size_t height)
{
	struct fill f = rows(dst, pitch, value, 1, width, height);

	return submit(&f, NULL, 1);
}

CUresult cuMemsetD2D16_v2(CUdeviceptr dst, size_t pitch, unsigned short value, size_t width, size_t height)
{
	struct fill f = rows(dst, pitch, value, 2, width, height);

	return submit(&f, NULL, 1);
}

CUresult cuMemsetD2D32_v2(CUdeviceptr dst, size_t pitch, unsigned int value, size_t width, size_t height)
{
	struct fill f = rows(dst, pitch, value, 4, width, height);

	return submit(&f, NULL, 1);
}

CUresult cuMemsetD8Async(CUdeviceptr dst, unsigned char value, size_t count, CUstream stream)
{
	struct fill f = row(dst, value, 1, count);

	return submit(&f, stream, 0);
}

CUresult cuMemsetD16Async(CUdeviceptr dst, unsigned short value, size_t count, CUstream stream)
{
	struct fill f = row(dst, value, 2, count);

	return submit(&f, stream, 0);
}

CUresult cuMemsetD32Async(CUdeviceptr dst, unsigned int value, size_t count, CUstream stream)
{
	struct fill f = row(dst, value, 4, count);

	return submit(&f, stream, 0);
}

CUresult cuMemsetD2D8Async(CUdeviceptr dst, size_t pitch, unsigned char value, size_t width, size_t height,
			   CUstream stream)
{
	struct fill f = rows(dst, pitch, value, 1, width, height);

	return submit(&f, stream, 0);
}

CUresult cuMemsetD2D16Async(CUdeviceptr dst, size_t pitch, unsigned short value, size_t width, size_t height,
			    CUstream stream)
{
	struct fill f = rows(dst, pitch, value, 2, width, height);

	return submit(&f, stream, 0);
}

CUresult cuMemsetD2D32Async(CUdeviceptr dst, size_t pitch, unsigned int value, size_t width, size_t height,
			    CUstream stream)
{
	struct fill f = rows(dst, pitch, value, 4, width, height);

	return submit(&f, stream, 0);
}
