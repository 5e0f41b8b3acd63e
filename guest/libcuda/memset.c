// SPDX-License-Identifier: Apache-2.0
// Fills: one record each, of 1, 2 or 4 byte elements in rows. Runs in the guest program.
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

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

// The fill as a record, for a stream to be named.
static CUresult describe(const struct fill *f, struct record_set *ret)
{
	struct vc_range range;
	uint64_t bytes = extent(f);

	if (!bytes || f->dst % f->element || (f->height > 1 && f->pitch % f->element) ||
	    vc_range_find(f->dst, &range) || range.bytes - (f->dst - range.base) < bytes ||
	    !vc_range_allows(&range, f->dst, bytes, CU_MEM_ACCESS_FLAGS_PROT_READWRITE))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = (struct record_set){ .stream = STREAM_LEGACY,
				    .dst = f->dst,
				    .width = f->width,
				    .height = f->height,
				    .pitch = f->pitch,
				    .value = f->value,
				    .element = f->element,
				    .dst_space = vc_range_is_device(&range) ? MEMORY_SPACE_DEVICE
									    : MEMORY_SPACE_HOST };
	return CUDA_SUCCESS;
}

CUresult vc_set_describe(CUdeviceptr dst, uint64_t pitch, uint32_t value, uint32_t element, uint64_t width,
			 uint64_t height, struct record_set *ret)
{
	struct fill f = { dst, pitch, width, height, value, element };

	return width && height ? describe(&f, ret) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult capture(struct vc_stream *s, const struct record_set *record)
{
	struct vc_what what = { .type = CU_GRAPH_NODE_TYPE_MEMSET,
				.opcode = OPCODE_SET,
				.bytes = sizeof(*record),
				.body = malloc(sizeof(*record)) };

	if (!what.body)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(what.body, record, sizeof(*record));
	return vc_capture_add(s, &what);
}

static CUresult submit(const struct fill *f, CUstream stream, int sync)
{
	struct record_set record;
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result || !f->width || !f->height)
		return result;
	result = describe(f, &record);
	if (result)
		return result;
	if (!VC_LIKELY(!vc_stream_captures(s)))
		return capture(s, &record);
	record.stream = s->handle;
	result = (CUresult)vgpu_push_set(vc_client, &record);
	if (result)
		return result;
	vc_stream_submitted(s);
	// Device memory is filled asynchronously even by the synchronous calls.
	return sync && record.dst_space == MEMORY_SPACE_HOST ? vc_stream_wait(s) : CUDA_SUCCESS;
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
