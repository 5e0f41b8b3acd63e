// SPDX-License-Identifier: Apache-2.0
//
// Launches: every way to hand over parameters, all sizes and alignments, three-dimensional grids, dynamic
// shared memory, attributes, and what is refused at once.
#include "tests/e2e/check.h"

#include <string.h>

static CUmodule module;

struct odd {
	uint8_t a;
	uint64_t b;
	uint8_t c[3];
};

struct all {
	uint8_t a;
	uint16_t b;
	uint8_t c;
	uint32_t d;
	uint8_t e;
	uint64_t f;
	float g;
	double h;
	struct odd s;
	int8_t i;
	CUdeviceptr out;
};

static const struct all values = { .a = 0x81,
				   .b = 0xfedc,
				   .c = 0x7f,
				   .d = 0x89abcdef,
				   .e = 1,
				   .f = 0x123456789abcdef0ull,
				   .g = 1.25f,
				   .h = 1024.125,
				   .s = { 3, 0xfedcba9876543210ull, { 4, 5, 6 } },
				   .i = -5 };

static void all_right(CUdeviceptr out, const char *what)
{
	uint64_t got[12] = { 0 };
	const uint64_t want[12] = { 0x81,     0xfedc,
				    0x7f,     0x89abcdef,
				    1,	      0x123456789abcdef0ull,
				    5,	      8193,
				    3,	      0xfedcba9876543210ull,
				    0x060504, (uint64_t)-5 };
	MUST(cuMemcpyDtoH_v2(got, out, sizeof(got)));
	for (int i = 0; i < 12 && check_computes(); i++) {
		if (got[i] != want[i]) {
			CHECK(false, "%s: parameter %d: expected %llx, got %llx", what, i,
			      (unsigned long long)want[i], (unsigned long long)got[i]);
			return;
		}
	}
	CHECK(true, "%s: all parameters arrive", what);
	MUST(cuMemsetD8_v2(out, 0, sizeof(got)));
}

static void parameters(void)
{
	CUfunction f = check_function(module, "all_params");
	struct all v = values;
	MUST(cuMemAlloc_v2(&v.out, 96));
	void *pointers[] = { &v.a, &v.b, &v.c, &v.d, &v.e, &v.f, &v.g, &v.h, &v.s, &v.i, &v.out };
	OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, pointers, NULL));
	all_right(v.out, "by pointers");

	size_t size = sizeof(v);
	void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, &v, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
			  CU_LAUNCH_PARAM_END };
	OK(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
	all_right(v.out, "by buffer");

	CUlaunchConfig config = {
		.gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 1, .blockDimY = 1, .blockDimZ = 1
	};
	OK(cuLaunchKernelEx(&config, f, pointers, NULL));
	all_right(v.out, "LaunchKernelEx by pointers");
	CUlaunchAttribute attribute = { .id = CU_LAUNCH_ATTRIBUTE_PRIORITY };
	config.attrs = &attribute;
	config.numAttrs = 1;
	OK(cuLaunchKernelEx(&config, f, NULL, extra));
	all_right(v.out, "LaunchKernelEx by buffer, with an attribute");
	int cooperative = 0;
	MUST(cuDeviceGetAttribute(&cooperative, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 0));
	EXPECT(cooperative ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED,
	       cuLaunchCooperativeKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, pointers));
	if (cooperative)
		all_right(v.out, "cooperative");

	// The arguments may change as soon as the call is back.
	CUfunction fill = check_function(module, "fill");
	uint32_t n = 16, first = 0, got[16];
	CUdeviceptr p = v.out;
	for (int i = 0; i < 50; i++) {
		n = 16;
		first = (uint32_t)i;
		LAUNCH(fill, 1, 16, NULL, &p, &n, &first);
		first = 0xdead;
		n = 0;
	}
	MUST(cuMemcpyDtoH_v2(got, v.out, 64));
	if (check_computes())
		CHECK(got[0] == 49 && got[15] == 64, "arguments are taken when the call is made");
	MUST(cuMemFree_v2(v.out));
}

static void big_parameter(void)
{
	static uint32_t words[900];
	CUfunction f = check_function(module, "big_param");
	CUdeviceptr out;
	uint32_t sum = 0, got = 0;
	for (uint32_t i = 0; i < 900; i++)
		sum += words[i] = i * 2654435761u;
	MUST(cuMemAlloc_v2(&out, 4));
	MUST(cuMemsetD32_v2(out, 0, 1));
	LAUNCH(f, 1, 32, NULL, words, &out);
	MUST(cuMemcpyDtoH_v2(&got, out, 4));
	if (check_computes())
		EQUAL(sum, got);
	MUST(cuMemFree_v2(out));
}

static void shapes(void)
{
	enum { GX = 5, GY = 4, GZ = 3, BX = 7, BY = 3, BZ = 2, ALL = GX * GY * GZ * BX * BY * BZ };
	static uint32_t got[ALL];
	CUfunction f = check_function(module, "coordinates");
	CUdeviceptr out;
	int wrong = 0;
	MUST(cuMemAlloc_v2(&out, sizeof(got)));
	void *pointers[] = { &out };
	OK(cuLaunchKernel(f, GX, GY, GZ, BX, BY, BZ, 0, NULL, pointers, NULL));
	MUST(cuMemcpyDtoH_v2(got, out, sizeof(got)));
	for (uint32_t at = 0; at < ALL; at++) {
		uint32_t t = at % (BX * BY * BZ), b = at / (BX * BY * BZ);
		uint32_t want = b % GX | b / GX % GY << 5 | b / GX / GY << 10 | t % BX << 15 |
				t / BX % BY << 20 | t / BX / BY << 25;
		wrong += got[at] != want;
	}
	if (check_computes())
		EQUAL(0, wrong);
	MUST(cuMemFree_v2(out));
}

static void shared_memory(void)
{
	CUfunction f = check_function(module, "reverse_block");
	CUdeviceptr p;
	uint32_t got[1024];
	int wrong = 0;
	MUST(cuMemAlloc_v2(&p, 4096));
	for (uint32_t i = 0; i < 1024; i++)
		got[i] = i;
	MUST(cuMemcpyHtoD_v2(p, got, 4096));
	void *pointers[] = { &p };
	OK(cuLaunchKernel(f, 1, 1, 1, 1024, 1, 1, 4096, NULL, pointers, NULL));
	MUST(cuMemcpyDtoH_v2(got, p, 4096));
	for (uint32_t i = 0; i < 1024; i++)
		wrong += got[i] != 1023 - i;
	if (check_computes())
		EQUAL(0, wrong);
	OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 48 * KIB, NULL, pointers, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 48 * KIB + 1, NULL, pointers, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, MIB, NULL, pointers, NULL));
	OK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 * KIB));
	OK(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 64 * KIB, NULL, pointers, NULL));
	OK(cuCtxSynchronize());
	MUST(cuMemFree_v2(p));
}

static void refused(void)
{
	CUfunction f = check_function(module, "empty");
	void *none[] = { NULL };
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 2048, 1, 1, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 1, 1, 65, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 32, 32, 2, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 0, 1, 1, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 0, 1, 1, 1, 1, 1, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 65536, 1, 1, 1, 1, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 65536, 1, 1, 1, 0, NULL, none, NULL));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, none, NULL));
	OK(cuLaunchKernel(f, 1, 1, 1, 1024, 1, 1, 0, NULL, NULL, NULL));
	OK(cuLaunchKernel(f, 100000, 1, 1, 1, 1, 1, 0, NULL, none, NULL));
	OK(cuCtxSynchronize());
}

int main(void)
{
	check_context();
	module = check_module("basic.ptx");
	parameters();
	big_parameter();
	shapes();
	shared_memory();
	refused();
	return check_done();
}
