// SPDX-License-Identifier: Apache-2.0
//
// Kernels as NVIDIA's own compiler makes them (its PTX looks different from clang's): templates, math functions,
// shuffles, a local array, a constant table. nvcc_mix.ptx beside this file is made by CUDA 13.0's
// nvcc -ptx -arch=sm_75 -o tests/e2e/kernels/nvcc_mix.ptx tests/e2e/kernels/nvcc_mix.cu

__constant__ float weights[5] = { 0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f };

template <typename T> __device__ T square(T x)
{
	return x * x;
}

// A five-point filter over a shared tile with its edges.
extern "C" __global__ void blur(const float *in, float *out, int n)
{
	__shared__ float tile[128 + 4];
	int i = blockIdx.x * 128 + threadIdx.x;
	for (int k = threadIdx.x; k < 132; k += 128) {
		int at = blockIdx.x * 128 + k - 2;
		tile[k] = at >= 0 && at < n ? in[at] : 0.0f;
	}
	__syncthreads();
	if (i >= n)
		return;
	float sum = 0;
	for (int k = 0; k < 5; k++)
		sum += tile[threadIdx.x + k] * weights[k];
	out[i] = sum;
}

extern "C" __global__ void math(const double *in, double *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		out[i] = sqrt(in[i]) + square(in[i]) + floor(in[i]) + fmin(in[i], 3.0) / (in[i] + 1.0);
}

// Insertion sort of 16 numbers a thread, in local memory; 64-bit keys.
extern "C" __global__ void sort16(long long *data)
{
	long long v[16];
	long long *mine = data + 16 * (blockIdx.x * blockDim.x + threadIdx.x);
	for (int i = 0; i < 16; i++) {
		long long x = mine[i];
		int k = i;
		for (; k > 0 && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
	for (int i = 0; i < 16; i++)
		mine[i] = v[i];
}

extern "C" __global__ void warp_max(const int *in, int *out)
{
	int v = in[blockIdx.x * blockDim.x + threadIdx.x];
	for (int d = 16; d; d /= 2)
		v = max(v, __shfl_xor_sync(0xffffffffu, v, d));
	if (threadIdx.x % 32 == 0)
		atomicMax(out, v);
	if (__any_sync(0xffffffffu, v < 0) && threadIdx.x == 0)
		atomicAdd(out + 1, __popc(__ballot_sync(__activemask(), true)));
}
