// SPDX-License-Identifier: Apache-2.0
//
// What kernels compute: shared memory and barriers, atomics, warps, floats; each against the processor.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

enum { N = 1 << 20 };
static CUmodule module;

static void sums(const uint32_t *host, CUdeviceptr in, CUdeviceptr out)
{
	CUfunction f = check_function(module, "sum_blocks");
	uint32_t n = N - 77, want = 0, got = 0;
	for (uint32_t i = 0; i < n; i++)
		want += host[i];
	MUST(cuMemsetD32_v2(out, 0, 1));
	LAUNCH(f, 64, 256, NULL, &in, &n, &out);
	MUST(cuMemcpyDtoH_v2(&got, out, 4));
	EQUAL(want, got);
}

static void histogram(const uint8_t *host, CUdeviceptr in, CUdeviceptr out)
{
	CUfunction f = check_function(module, "histogram");
	uint32_t n = N, want[256] = { 0 }, got[256];
	for (uint32_t i = 0; i < n; i++)
		want[host[i]]++;
	MUST(cuMemsetD32_v2(out, 0, 256));
	LAUNCH(f, 32, 128, NULL, &in, &n, &out);
	MUST(cuMemcpyDtoH_v2(got, out, sizeof(got)));
	CHECK(!memcmp(want, got, sizeof(got)), "histogram with atomics");
}

static void atomics(CUdeviceptr out)
{
	CUfunction f = check_function(module, "atomics");
	enum { THREADS = 96 * 21 };
	CUdeviceptr wide = out + 64;
	uint32_t w[5], x = 0;
	uint64_t d, sum = 0;
	for (uint32_t i = 0; i < THREADS; i++) {
		x ^= i;
		sum += (uint64_t)i << 20;
	}
	MUST(cuMemsetD8_v2(out, 0, 128));
	LAUNCH(f, 21, 96, NULL, &out, &wide);
	MUST(cuMemcpyDtoH_v2(w, out, sizeof(w)));
	MUST(cuMemcpyDtoH_v2(&d, wide, 8));
	EQUAL((uint32_t)(sum >> 20), w[0]);
	EQUAL(THREADS - 1, w[1]);
	EQUAL(0xffffffffu, w[2]);
	EQUAL(x, w[3]);
	EQUAL(2 * THREADS, w[4]);
	EQUAL(sum, d);
}

static void warps(const uint32_t *host, CUdeviceptr in, CUdeviceptr out)
{
	CUfunction f = check_function(module, "warp_sums");
	enum { WARPS = 8 * 4 };
	uint32_t got[WARPS * 2], wrong = 0;
	LAUNCH(f, 8, 128, NULL, &in, &out);
	MUST(cuMemcpyDtoH_v2(got, out, sizeof(got)));
	for (int w = 0; w < WARPS; w++) {
		uint32_t sum = 0, odd = 0;
		for (int i = 0; i < 32; i++) {
			sum += host[w * 32 + i];
			odd |= (host[w * 32 + i] & 1) << i;
		}
		wrong += got[2 * w] != sum || got[2 * w + 1] != odd;
	}
	EQUAL(0, wrong);
}

static void floats(CUdeviceptr a, CUdeviceptr b, CUdeviceptr c)
{
	CUfunction f = check_function(module, "vector_add");
	float *x = malloc(N * 4), *y = malloc(N * 4), *z = malloc(N * 4);
	uint32_t n = N, wrong = 0;
	for (int i = 0; i < N; i++) {
		x[i] = (float)i * 0.37f;
		y[i] = 1e6f / (float)(i + 1);
	}
	MUST(cuMemcpyHtoD_v2(a, x, N * 4));
	MUST(cuMemcpyHtoD_v2(b, y, N * 4));
	LAUNCH(f, N / 256, 256, NULL, &a, &b, &c, &n);
	MUST(cuMemcpyDtoH_v2(z, c, N * 4));
	for (int i = 0; i < N; i++)
		wrong += z[i] != x[i] + y[i];
	EQUAL(0, wrong);
	free(x);
	free(y);
	free(z);
}

int main(void)
{
	CUdeviceptr in, out, more;
	uint32_t *host = malloc(N * 4);
	check_context();
	if (!check_computes())
		check_skip("this backend computes nothing");
	module = check_module("basic.ptx");
	MUST(cuMemAlloc_v2(&in, N * 4));
	MUST(cuMemAlloc_v2(&out, N * 4));
	MUST(cuMemAlloc_v2(&more, N * 4));
	pattern_fill(host, N * 4, 11);
	MUST(cuMemcpyHtoD_v2(in, host, N * 4));
	sums(host, in, out);
	histogram((uint8_t *)host, in, out);
	atomics(out);
	warps(host, in, out);
	floats(in, out, more);
	free(host);
	return check_done();
}
