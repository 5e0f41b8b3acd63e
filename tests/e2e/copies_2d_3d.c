// SPDX-License-Identifier: Apache-2.0
//
// Rectangular and box-shaped copies between host and device, with pitches and offsets, byte-exact outside and
// in.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

enum { PITCH = 512, WIDTH = 301, HEIGHT = 37, DEPTH = 5, SLICE_ROWS = 41 };
#define BOX ((size_t)PITCH * SLICE_ROWS * DEPTH)
static CUstream stream;

// What the target must be: zero outside the rectangle, the source's bytes inside.
static bool rectangle_right(const uint8_t *got, const uint8_t *source, size_t dst_x, size_t dst_y,
			    size_t src_x, size_t src_y)
{
	if (!check_computes())
		return true;
	for (size_t y = 0; y < SLICE_ROWS * DEPTH; y++) {
		for (size_t x = 0; x < PITCH; x++) {
			bool inside = x >= dst_x && x < dst_x + WIDTH && y >= dst_y && y < dst_y + HEIGHT;
			uint8_t want = inside ? source[(y - dst_y + src_y) * PITCH + x - dst_x + src_x] : 0;
			if (got[y * PITCH + x] != want)
				return CHECK(false, "row %zu column %zu: expected %02x, got %02x", y, x, want,
					     got[y * PITCH + x]);
		}
	}
	return true;
}

static CUresult copy_2d(int form, const CUDA_MEMCPY2D *copy)
{
	switch (form) {
	case 0: return cuMemcpy2D_v2(copy);
	case 1: return cuMemcpy2DUnaligned_v2(copy);
	default: return cuMemcpy2DAsync_v2(copy, stream);
	}
}

static void rectangles(int form, bool unified, uint8_t *in, uint8_t *out, CUdeviceptr a)
{
	CUDA_MEMCPY2D up = { .srcXInBytes = 9,
			     .srcY = 2,
			     .srcMemoryType = unified ? CU_MEMORYTYPE_UNIFIED : CU_MEMORYTYPE_HOST,
			     .srcHost = in,
			     .srcPitch = PITCH,
			     .dstXInBytes = 17,
			     .dstY = 4,
			     .dstMemoryType = unified ? CU_MEMORYTYPE_UNIFIED : CU_MEMORYTYPE_DEVICE,
			     .dstDevice = a,
			     .dstPitch = PITCH,
			     .WidthInBytes = WIDTH,
			     .Height = HEIGHT };
	CUDA_MEMCPY2D down = { .srcMemoryType = up.dstMemoryType,
			       .srcDevice = a,
			       .srcPitch = PITCH,
			       .dstMemoryType = up.srcMemoryType,
			       .dstHost = out,
			       .dstPitch = PITCH,
			       .WidthInBytes = PITCH,
			       .Height = SLICE_ROWS * DEPTH };
	if (unified) {
		up.srcDevice = (CUdeviceptr)in;
		down.dstDevice = (CUdeviceptr)out;
	}
	memset(out, 0xee, BOX);
	MUST(cuMemsetD8_v2(a, 0, BOX));
	MUST(cuCtxSynchronize());
	OK(copy_2d(form, &up));
	MUST(cuStreamSynchronize(stream));
	OK(copy_2d(form, &down));
	MUST(cuStreamSynchronize(stream));
	CHECK(rectangle_right(out, in, 17, 4, 9, 2), "form %d, %s: rectangle in place", form,
	      unified ? "unified" : "typed");
}

static void boxes(uint8_t *in, uint8_t *out, CUdeviceptr a, CUdeviceptr b, bool async)
{
	CUDA_MEMCPY3D up = { .srcXInBytes = 3,
			     .srcY = 1,
			     .srcZ = 1,
			     .srcMemoryType = CU_MEMORYTYPE_HOST,
			     .srcHost = in,
			     .srcPitch = PITCH,
			     .srcHeight = SLICE_ROWS,
			     .dstXInBytes = 21,
			     .dstY = 2,
			     .dstZ = 0,
			     .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			     .dstDevice = a,
			     .dstPitch = PITCH,
			     .dstHeight = SLICE_ROWS,
			     .WidthInBytes = WIDTH,
			     .Height = HEIGHT,
			     .Depth = DEPTH - 1 };
	CUDA_MEMCPY3D across = up;
	across.srcXInBytes = 21;
	across.srcY = 2;
	across.srcZ = 0;
	across.srcMemoryType = CU_MEMORYTYPE_DEVICE;
	across.srcDevice = a;
	across.dstXInBytes = 8;
	across.dstY = 0;
	across.dstZ = 1;
	across.dstDevice = b;
	bool right = true;
	MUST(cuMemsetD8_v2(a, 0, BOX));
	MUST(cuMemsetD8_v2(b, 0, BOX));
	MUST(cuCtxSynchronize());
	if (async) {
		OK(cuMemcpy3DAsync_v2(&up, stream));
		OK(cuMemcpy3DAsync_v2(&across, stream));
		MUST(cuStreamSynchronize(stream));
	} else {
		OK(cuMemcpy3D_v2(&up));
		OK(cuMemcpy3D_v2(&across));
	}
	MUST(cuMemcpyDtoH_v2(out, b, BOX));
	for (size_t at = 0; at < BOX && right && check_computes(); at++) {
		size_t x = at % PITCH, y = at / PITCH % SLICE_ROWS, z = at / PITCH / SLICE_ROWS;
		bool inside = x >= 8 && x < 8 + WIDTH && y < HEIGHT && z >= 1;
		uint8_t want = inside ? in[(z * SLICE_ROWS + y + 1) * PITCH + x - 8 + 3] : 0;
		if (out[at] != want)
			right = CHECK(false, "box at %zu,%zu,%zu: expected %02x, got %02x", x, y, z, want,
				      out[at]);
	}
	CHECK(right, "a box from host to device to device%s", async ? ", on a stream" : "");
}

static void errors(CUdeviceptr a, uint8_t *in)
{
	CUDA_MEMCPY2D copy = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			       .srcHost = in,
			       .srcPitch = 16,
			       .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			       .dstDevice = a,
			       .dstPitch = PITCH,
			       .WidthInBytes = 100,
			       .Height = 2 };
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&copy)); // pitch below width
	copy.srcPitch = PITCH;
	copy.srcMemoryType = 77;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&copy));
	copy.srcMemoryType = CU_MEMORYTYPE_HOST;
	copy.Height = 0;
	OK(cuMemcpy2D_v2(&copy));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(NULL));
}

int main(void)
{
	uint8_t *in = malloc(BOX), *out = malloc(BOX);
	CUdeviceptr a, b;
	check_context();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc_v2(&a, BOX));
	MUST(cuMemAlloc_v2(&b, BOX));
	pattern_fill(in, BOX, 9);
	for (int form = 0; form < 3; form++) {
		rectangles(form, false, in, out, a);
		rectangles(form, true, in, out, a);
	}
	boxes(in, out, a, b, false);
	boxes(in, out, a, b, true);
	errors(a, in);
	MUST(cuMemFree_v2(a));
	MUST(cuMemFree_v2(b));
	free(in);
	free(out);
	return check_done();
}
