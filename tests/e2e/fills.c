// SPDX-License-Identifier: Apache-2.0
//
// cuMemset in all widths, linear and in rectangles, synchronous and on a stream; device and pinned memory.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

enum { AREA = 300000, PITCH = 1024 };
static CUstream stream;
static uint8_t *got;

static void read_back(CUdeviceptr ptr)
{
	MUST(cuStreamSynchronize(stream));
	MUST(cuMemcpyDtoH_v2(got, ptr, AREA));
}

// Bytes [from, to) repeat `value` of `width` bytes; all others are 0xa5.
static void linear_right(CUdeviceptr ptr, size_t from, size_t to, uint32_t value, size_t width,
			 const char *what)
{
	read_back(ptr);
	for (size_t i = 0; i < AREA && check_computes(); i++) {
		uint8_t want = i >= from && i < to ? (uint8_t)(value >> (8 * ((i - from) % width))) : 0xa5;
		if (got[i] != want) {
			CHECK(false, "%s: byte %zu: expected %02x, got %02x", what, i, want, got[i]);
			return;
		}
	}
	CHECK(true, "%s", what);
}

static void clear(CUdeviceptr ptr)
{
	MUST(cuMemsetD8_v2(ptr, 0xa5, AREA));
	MUST(cuCtxSynchronize());
}

static void linear(CUdeviceptr ptr)
{
	static const size_t counts[] = { 1, 3, 4097, 65537 };
	for (int i = 0; i < 4; i++) {
		size_t n = counts[i];
		clear(ptr);
		OK(cuMemsetD8_v2(ptr + 5, 0x31, n));
		linear_right(ptr, 5, 5 + n, 0x31, 1, "D8");
		clear(ptr);
		OK(cuMemsetD16_v2(ptr + 6, 0x1234, n));
		linear_right(ptr, 6, 6 + 2 * n, 0x1234, 2, "D16");
		clear(ptr);
		OK(cuMemsetD32_v2(ptr + 8, 0x89abcdef, n));
		linear_right(ptr, 8, 8 + 4 * n, 0x89abcdef, 4, "D32");
		clear(ptr);
		OK(cuMemsetD8Async(ptr + 7, 0x77, n, stream));
		linear_right(ptr, 7, 7 + n, 0x77, 1, "D8Async");
		clear(ptr);
		OK(cuMemsetD16Async(ptr + 2, 0xfedc, n, stream));
		linear_right(ptr, 2, 2 + 2 * n, 0xfedc, 2, "D16Async");
		clear(ptr);
		OK(cuMemsetD32Async(ptr + 4, 0x01020304, n, stream));
		linear_right(ptr, 4, 4 + 4 * n, 0x01020304, 4, "D32Async");
	}
}

static void rectangle_right(CUdeviceptr ptr, size_t width, size_t height, uint32_t value, size_t unit,
			    const char *what)
{
	read_back(ptr);
	for (size_t i = 0; i < AREA && check_computes(); i++) {
		size_t x = i % PITCH, y = i / PITCH;
		uint8_t want = x < width * unit && y < height ? (uint8_t)(value >> (8 * (x % unit))) : 0xa5;
		if (got[i] != want) {
			CHECK(false, "%s: row %zu byte %zu: expected %02x, got %02x", what, y, x, want,
			      got[i]);
			return;
		}
	}
	CHECK(true, "%s", what);
}

static void rectangles(CUdeviceptr ptr)
{
	clear(ptr);
	OK(cuMemsetD2D8_v2(ptr, PITCH, 0x11, 333, 50));
	rectangle_right(ptr, 333, 50, 0x11, 1, "2D8");
	clear(ptr);
	OK(cuMemsetD2D16_v2(ptr, PITCH, 0x2233, 101, 7));
	rectangle_right(ptr, 101, 7, 0x2233, 2, "2D16");
	clear(ptr);
	OK(cuMemsetD2D32_v2(ptr, PITCH, 0x44556677, 256, 3));
	rectangle_right(ptr, 256, 3, 0x44556677, 4, "2D32 over the whole pitch");
	clear(ptr);
	OK(cuMemsetD2D8Async(ptr, PITCH, 0x12, 1, 99, stream));
	rectangle_right(ptr, 1, 99, 0x12, 1, "2D8Async");
	clear(ptr);
	OK(cuMemsetD2D16Async(ptr, PITCH, 0x9876, 17, 17, stream));
	rectangle_right(ptr, 17, 17, 0x9876, 2, "2D16Async");
	clear(ptr);
	OK(cuMemsetD2D32Async(ptr, PITCH, 0xdeadbeef, 3, 200, stream));
	rectangle_right(ptr, 3, 200, 0xdeadbeef, 4, "2D32Async");
}

static void errors(CUdeviceptr ptr)
{
	OK(cuMemsetD8_v2(ptr, 1, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD8_v2(0, 1, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD16_v2(ptr + 1, 1, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32_v2(ptr + 2, 1, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD2D8_v2(ptr, 16, 1, 17, 2));
}

int main(void)
{
	CUdeviceptr ptr;
	void *pinned;
	check_context();
	got = malloc(AREA);
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc_v2(&ptr, AREA));
	linear(ptr);
	rectangles(ptr);
	errors(ptr);
	MUST(cuMemFree_v2(ptr));
	MUST(cuMemHostAlloc(&pinned, AREA, 0));
	linear((CUdeviceptr)pinned);
	MUST(cuMemFreeHost(pinned));
	free(got);
	return check_done();
}
