// SPDX-License-Identifier: Apache-2.0
//
// Surface objects under kernels of kernels/textures.cu: what is written through one and read through another
// or by copies, and what lies outside.
#include "tests/e2e/check.h"

#include <string.h>

enum { THREADS = 128 };

static CUmodule module;

static CUsurfObject surface_of(CUarray array)
{
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY }, told;
	CUsurfObject s = 0;
	r.res.array.hArray = array;
	MUST(cuSurfObjectCreate(&s, &r));
	MUST(cuSurfObjectGetResourceDesc(&told, s));
	CHECK(told.res.array.hArray == array, "a surface tells its array");
	return s;
}

static CUarray surface_array(size_t width, size_t height, size_t depth, int format, unsigned channels,
			     unsigned flags)
{
	CUDA_ARRAY3D_DESCRIPTOR d = { width,  height,	depth,
				      format, channels, flags | CUDA_ARRAY3D_SURFACE_LDST };
	CUarray array;
	MUST(cuArray3DCreate_v2(&array, &d));
	return array;
}

static void transpose(void)
{
	enum { W = 45, H = 19 };
	static float in[W * H], back[W * H];
	CUarray from = surface_array(W, H, 0, CU_AD_FORMAT_FLOAT, 1, 0),
		to = surface_array(H, W, 0, CU_AD_FORMAT_FLOAT, 1, 0);
	CUsurfObject a = surface_of(from), b = surface_of(to);
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			    .srcHost = in,
			    .srcPitch = W * 4,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			    .dstArray = from,
			    .WidthInBytes = W * 4,
			    .Height = H };
	int width = W, height = H, wrong = 0;
	for (int i = 0; i < W * H; i++)
		in[i] = (float)i;
	MUST(cuMemcpy2D_v2(&c));
	LAUNCH(check_function(module, "surface_transpose"), (W * H + THREADS - 1) / THREADS, THREADS, NULL,
	       &a, &b, &width, &height);
	c = (CUDA_MEMCPY2D){ .srcMemoryType = CU_MEMORYTYPE_ARRAY,
			     .srcArray = to,
			     .dstMemoryType = CU_MEMORYTYPE_HOST,
			     .dstHost = back,
			     .dstPitch = H * 4,
			     .WidthInBytes = H * 4,
			     .Height = W };
	MUST(cuMemcpy2D_v2(&c));
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++)
			wrong += back[x * H + y] != in[y * W + x];
	CHECK(!wrong || !check_computes(), "read from one surface, written to another: %d wrong", wrong);
	OK(cuSurfObjectDestroy(a));
	OK(cuSurfObjectDestroy(b));
	OK(cuArrayDestroy(from));
	OK(cuArrayDestroy(to));
}

static void boundaries(void)
{
	enum { W = 100, N = 140 };
	static uint32_t in[W][2], got[N][2];
	CUarray array = surface_array(W, 0, 0, CU_AD_FORMAT_UNSIGNED_INT32, 2, 0);
	CUsurfObject s = surface_of(array);
	CUdeviceptr results;
	int first = -20, n = N;
	MUST(cuMemAlloc_v2(&results, sizeof(got)));
	pattern_fill(in, sizeof(in), 9);
	MUST(cuMemcpyHtoA_v2(array, 0, in, sizeof(in)));
	for (int clamp = 0; clamp < 2; clamp++) {
		int wrong = 0;
		LAUNCH(check_function(module, clamp ? "surface_clamp" : "surface_zero"), 2, THREADS, NULL, &s,
		       &first, &results, &n);
		MUST(cuMemcpyDtoH_v2(got, results, sizeof(got)));
		for (int i = 0; i < N; i++) {
			int x = i + first, in_x = x < 0 ? 0 : x >= W ? W - 1 : x;
			static const uint32_t zeros[2];
			wrong += memcmp(got[i], clamp || x == in_x ? in[in_x] : zeros, 8) != 0;
		}
		CHECK(!wrong || !check_computes(), "outside of a surface, %s: %d wrong",
		      clamp ? "clamped" : "zeros", wrong);
	}
	OK(cuSurfObjectDestroy(s));
	OK(cuArrayDestroy(array));
	MUST(cuMemFree_v2(results));
}

static void volumes_and_layers(void)
{
	enum { W = 10, H = 6, D = 4 };
	static uint16_t shorts[W * H * D];
	static uint8_t bytes[W * H * D][4];
	CUarray volume = surface_array(W, H, D, CU_AD_FORMAT_UNSIGNED_INT16, 1, 0),
		layers = surface_array(W, H, D, CU_AD_FORMAT_UNSIGNED_INT8, 4, CUDA_ARRAY3D_LAYERED);
	CUsurfObject a = surface_of(volume), b = surface_of(layers);
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_ARRAY,
			    .srcArray = volume,
			    .dstMemoryType = CU_MEMORYTYPE_HOST,
			    .dstHost = shorts,
			    .dstPitch = W * 2,
			    .dstHeight = H,
			    .WidthInBytes = W * 2,
			    .Height = H,
			    .Depth = D };
	int width = W, height = H, depth = D, wrong = 0;
	LAUNCH(check_function(module, "surface_fill_3d"), 2, THREADS, NULL, &a, &width, &height, &depth);
	LAUNCH(check_function(module, "surface_fill_layers"), 2, THREADS, NULL, &b, &width, &height, &depth);
	MUST(cuMemcpy3D_v2(&c));
	c.srcArray = layers;
	c.dstHost = bytes;
	c.dstPitch = c.WidthInBytes = W * 4;
	MUST(cuMemcpy3D_v2(&c));
	for (int i = 0; i < W * H * D; i++) {
		const uint8_t want[4] = { (uint8_t)(i % W), (uint8_t)(i / W % H), (uint8_t)(i / W / H), 255 };
		wrong += shorts[i] != (uint16_t)(i * 7 + 1) || memcmp(bytes[i], want, 4) != 0;
	}
	CHECK(!wrong || !check_computes(), "surfaces of volumes and layers: %d wrong", wrong);
	OK(cuSurfObjectDestroy(a));
	OK(cuSurfObjectDestroy(b));
	OK(cuArrayDestroy(volume));
	OK(cuArrayDestroy(layers));
}

int main(void)
{
	check_context();
	module = check_module("textures.ptx");
	transpose();
	boundaries();
	volumes_and_layers();
	return check_done();
}
