// SPDX-License-Identifier: Apache-2.0
// A dozen ordinary kernels. Remake: nvcc -ptx -arch=sm_80 nvcc_kernels.cu -o nvcc_kernels.ptx
#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void saxpy(float a, const float *x, float *y, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		y[i] = a * x[i] + y[i];
}

extern "C" __global__ void reduce_shared(const float *x, float *out, int n)
{
	__shared__ float tile[256];
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	tile[threadIdx.x] = i < n ? x[i] : 0;
	__syncthreads();
	for (int o = blockDim.x / 2; o; o >>= 1) {
		if (threadIdx.x < o)
			tile[threadIdx.x] += tile[threadIdx.x + o];
		__syncthreads();
	}
	if (threadIdx.x == 0)
		atomicAdd(out, tile[0]);
}

extern "C" __global__ void reduce_warp(const int *x, int *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x, v = i < n ? x[i] : 0;
	for (int o = 16; o; o >>= 1)
		v += __shfl_down_sync(0xffffffffu, v, o);
	if (threadIdx.x % 32 == 0)
		atomicAdd(out, v);
}

extern "C" __global__ void matmul_tiled(const float *a, const float *b, float *c, int n)
{
	__shared__ float ta[16][16], tb[16][17];
	int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
	float sum = 0;
	for (int k = 0; k < n; k += 16) {
		ta[threadIdx.y][threadIdx.x] = a[y * n + k + threadIdx.x];
		tb[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + x];
		__syncthreads();
		for (int i = 0; i < 16; i++)
			sum += ta[threadIdx.y][i] * tb[i][threadIdx.x];
		__syncthreads();
	}
	c[y * n + x] = sum;
}

extern "C" __global__ void scan_dynamic(const int *in, int *out)
{
	extern __shared__ int buf[];
	int t = threadIdx.x;
	buf[t] = in[t];
	__syncthreads();
	for (int o = 1; o < blockDim.x; o *= 2) {
		int v = t >= o ? buf[t - o] : 0;
		__syncthreads();
		buf[t] += v;
		__syncthreads();
	}
	out[t] = buf[t];
}

extern "C" __global__ void math_functions(const float *x, float *out, const double *xd, double *outd, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	out[i] = sinf(x[i]) + cosf(x[i]) * expf(x[i]) - logf(1.0f + x[i] * x[i]) + sqrtf(fabsf(x[i])) + tanhf(x[i]) +
		 powf(fabsf(x[i]), 0.7f) + erff(x[i]);
	outd[i] = sin(xd[i]) + exp(xd[i]) - log(1.0 + xd[i] * xd[i]) + pow(fabs(xd[i]), 1.3) + cbrt(xd[i]) + atan2(xd[i], 2.0);
}

extern "C" __global__ void half_kernel(const __half *a, const __half *b, __half *c, __nv_bfloat16 *d, __half2 *e, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	c[i] = __hfma(a[i], b[i], __hadd(a[i], b[i]));
	d[i] = __float2bfloat16(__half2float(a[i]) / (1.0f + fabsf(__half2float(b[i]))));
	e[i] = __hmul2(__halves2half2(a[i], b[i]), __float2half2_rn(0.5f));
}

struct point {
	double x, y;
	int id;
	char tag[12];
};

extern "C" __global__ void by_value(point p, const point *q, double *out)
{
	out[threadIdx.x] = p.x * q[threadIdx.x].y + p.tag[threadIdx.x] + p.id;
}

__device__ __noinline__ int fib(int n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

extern "C" __global__ void recursion(int *out)
{
	out[threadIdx.x] = fib(threadIdx.x);
}

struct shape {
	__device__ virtual float area() const = 0;
};
struct square : shape {
	float s;
	__device__ square(float v) : s(v) {}
	__device__ float area() const override { return s * s; }
};
struct circle : shape {
	float r;
	__device__ circle(float v) : r(v) {}
	__device__ float area() const override { return 3.0f * r * r; }
};

__device__ __noinline__ float measure(const shape &s)
{
	return s.area();
}

extern "C" __global__ void virtual_calls(float *out)
{
	int t = threadIdx.x;
	square sq(t);
	circle ci(t);
	const shape *s = t & 1 ? static_cast<const shape *>(&sq) : &ci;
	out[t] = measure(*s);
}

__constant__ int table[8] = { 3, 1, 4, 1, 5, 9, 2, 6 };
__device__ int counter = 40;
__device__ int *indirect = &counter;

extern "C" __global__ void variables(int *out)
{
	out[threadIdx.x] = table[threadIdx.x & 7] + *indirect;
	atomicAdd(&counter, 1);
}

extern "C" __global__ void int_mix(const int *a, const int *b, long long *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	long long r = (long long)a[i] * b[i];
	r += __popc(a[i]) + __clz(b[i]) + __brev(a[i]) + __ffs(b[i]) + __umulhi(a[i], b[i]) + __sad(a[i], b[i], 7u);
	r ^= (long long)(a[i] / (b[i] | 1)) + a[i] % (b[i] | 1);
	r += __byte_perm(a[i], b[i], 0x5140) + __funnelshift_l(a[i], b[i], 11) + min(a[i], b[i]) + abs(a[i]);
	switch (a[i] & 7) {
	case 0: r += 1; break;
	case 1: r *= 3; break;
	case 2: r ^= 0x55; break;
	case 3: r -= 9; break;
	case 4: r <<= 2; break;
	case 5: r = ~r; break;
	default: r = -r; break;
	}
	out[i] = r;
}

extern "C" __global__ void votes(const int *x, unsigned *out)
{
	int t = threadIdx.x;
	unsigned all = __all_sync(0xffffffffu, x[t] > 0), any = __any_sync(0xffffffffu, x[t] > 50);
	unsigned ballot = __ballot_sync(0xffffffffu, x[t] & 1), match = __match_any_sync(0xffffffffu, x[t] % 3);
	unsigned sum = __reduce_add_sync(0xffffffffu, (unsigned)x[t]), active = 0;
	if (t & 1)
		active = __activemask();
	out[t * 6] = all;
	out[t * 6 + 1] = any;
	out[t * 6 + 2] = ballot;
	out[t * 6 + 3] = match;
	out[t * 6 + 4] = sum;
	out[t * 6 + 5] = active;
}

extern "C" __global__ void prints(int n)
{
	printf("thread %d of %d: %s %.2f %lld %c%%\n", threadIdx.x, n, "text", 1.5 * threadIdx.x, 1ll << 40, 'x');
}

extern "C" __global__ void asserts(int n)
{
	assert(n > (int)threadIdx.x);
}

extern "C" __global__ void local_array(const int *idx, int *out)
{
	int a[32];
	for (int i = 0; i < 32; i++)
		a[i] = i * i + threadIdx.x;
	out[threadIdx.x] = a[idx[threadIdx.x] & 31] + a[(idx[threadIdx.x] * 7) & 31];
}

extern "C" __global__ void grid_barrier(unsigned *arrived, int *data, int *out)
{
	data[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x + 1;
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0) {
		atomicAdd(arrived, 1);
		while (*(volatile unsigned *)arrived < gridDim.x)
			;
	}
	__syncthreads();
	if (threadIdx.x == 0) {
		int sum = 0;
		for (int i = 0; i < gridDim.x; i++)
			sum += ((volatile int *)data)[i * blockDim.x];
		out[blockIdx.x] = sum;
	}
}

extern "C" __global__ void float_atomics(float *f, double *d, unsigned *u, unsigned long long *l, int *mm)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	atomicAdd(f, 1.0f);
	atomicAdd(d, 0.5);
	atomicInc(u, 99);
	atomicAdd(l, 3ull);
	atomicMax(&mm[0], i);
	atomicMin(&mm[1], -i);
	atomicOr((unsigned *)&mm[2], 1u << (i & 31));
	int old = mm[3], seen;
	do {
		seen = old;
		old = atomicCAS(&mm[3], seen, seen + 2);
	} while (old != seen);
}
