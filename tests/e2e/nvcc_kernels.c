// SPDX-License-Identifier: Apache-2.0
//
// Kernels made by NVIDIA's compiler (kernels/nvcc_mix.cu), each against the processor.
#include "tests/e2e/check.h"

#include <math.h>
#include <stdlib.h>

enum { N = 5000, THREADS = 64 };
static CUmodule module;

static void blur(CUdeviceptr in, CUdeviceptr out)
{
	static const float weights[5] = { 0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f };
	static float x[N], y[N];
	int n = N, wrong = 0;
	for (int i = 0; i < N; i++)
		x[i] = (float)(i * 37 % 101);
	MUST(cuMemcpyHtoD_v2(in, x, sizeof(x)));
	LAUNCH(check_function(module, "blur"), (N + 127) / 128, 128, NULL, &in, &out, &n);
	MUST(cuMemcpyDtoH_v2(y, out, sizeof(y)));
	for (int i = 0; i < N; i++) {
		float sum = 0;
		for (int k = 0; k < 5; k++)
			sum += (i + k - 2 >= 0 && i + k - 2 < N ? x[i + k - 2] : 0) * weights[k];
		wrong += sum != y[i]; // exact: small numbers times powers of two
	}
	EQUAL(0, wrong);
}

static void math(CUdeviceptr in, CUdeviceptr out)
{
	static double x[N], y[N];
	int n = N, wrong = 0;
	for (int i = 0; i < N; i++)
		x[i] = i * 0.01;
	MUST(cuMemcpyHtoD_v2(in, x, sizeof(x)));
	LAUNCH(check_function(module, "math"), (N + 255) / 256, 256, NULL, &in, &out, &n);
	MUST(cuMemcpyDtoH_v2(y, out, sizeof(y)));
	for (int i = 0; i < N; i++) {
		double want = sqrt(x[i]) + x[i] * x[i] + floor(x[i]) + fmin(x[i], 3.0) / (x[i] + 1.0);
		wrong += fabs(want - y[i]) > 1e-12 * want;
	}
	EQUAL(0, wrong);
}

static void sort16(CUdeviceptr data)
{
	static long long v[16 * THREADS], got[16 * THREADS];
	int wrong = 0;
	long long sum = 0, sum_got = 0;
	pattern_fill(v, sizeof(v), 21);
	MUST(cuMemcpyHtoD_v2(data, v, sizeof(v)));
	LAUNCH(check_function(module, "sort16"), 2, THREADS / 2, NULL, &data);
	MUST(cuMemcpyDtoH_v2(got, data, sizeof(got)));
	for (int i = 0; i < 16 * THREADS; i++) {
		wrong += i % 16 && got[i] < got[i - 1];
		sum ^= v[i];
		sum_got ^= got[i];
	}
	EQUAL(0, wrong);
	EQUAL(sum, sum_got);
}

static void warp_max(CUdeviceptr in, CUdeviceptr out)
{
	int v[256], got[2], most = -1000000;
	for (int i = 0; i < 256; i++) {
		v[i] = i * 7919 % 1009 - 2000; // all negative: every warp votes
		most = v[i] > most ? v[i] : most;
	}
	int start[2] = { -1000000, 0 };
	MUST(cuMemcpyHtoD_v2(in, v, sizeof(v)));
	MUST(cuMemcpyHtoD_v2(out, start, sizeof(start)));
	LAUNCH(check_function(module, "warp_max"), 2, 128, NULL, &in, &out);
	MUST(cuMemcpyDtoH_v2(got, out, sizeof(got)));
	EQUAL(most, got[0]);
	CHECK(got[1] >= 2 && got[1] <= 64, "votes of two blocks: %d", got[1]);
}

int main(void)
{
	CUdeviceptr a, b;
	check_context();
	if (!check_computes())
		check_skip("this backend computes nothing");
	module = check_module("nvcc_mix.ptx");
	MUST(cuMemAlloc_v2(&a, 64 * KIB));
	MUST(cuMemAlloc_v2(&b, 64 * KIB));
	blur(a, b);
	math(a, b);
	sort16(a);
	warp_max(a, b);
	return check_done();
}
