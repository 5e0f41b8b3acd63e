// SPDX-License-Identifier: Apache-2.0
// Kernels built without any SDK. Remake: clang-19 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 -nocudainc -nocudalib
// -Xclang -target-feature -Xclang +ptx70 -O2 -S clang_kernels.cu -o clang_kernels.ptx
#define __global__   __attribute__((global))
#define __device__   __attribute__((device))
#define __shared__   __attribute__((shared))
#define __constant__ __attribute__((constant))

struct uint3 {
	unsigned x, y, z;
};
#define TID  __nvvm_read_ptx_sreg_tid_x()
#define CTA  __nvvm_read_ptx_sreg_ctaid_x()
#define NTID __nvvm_read_ptx_sreg_ntid_x()

extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n)
{
	int i = CTA * NTID + TID;
	if (i < n)
		c[i] = a[i] + b[i];
}

extern "C" __global__ void block_sum(const int *in, int *out)
{
	__shared__ int tile[128];
	int t = TID;
	tile[t] = in[CTA * 128 + t];
	__syncthreads();
	for (int s = 64; s; s >>= 1) {
		if (t < s)
			tile[t] += tile[t + s];
		__syncthreads();
	}
	if (t == 0)
		out[CTA] = tile[0];
}

extern "C" __global__ void histogram(const unsigned char *data, unsigned *bins, int n)
{
	for (int i = CTA * NTID + TID; i < n; i += NTID * __nvvm_read_ptx_sreg_nctaid_x())
		__nvvm_atom_add_gen_i((int *)&bins[data[i]], 1);
}

extern "C" __global__ void mandelbrot(int *image, int w, int h, int limit)
{
	int x = CTA * NTID + TID, y = __nvvm_read_ptx_sreg_ctaid_y(), n = 0;
	if (x >= w)
		return;
	double cr = -2.0 + 3.0 * x / w, ci = -1.0 + 2.0 * y / h, zr = 0, zi = 0;
	while (n < limit && zr * zr + zi * zi < 4.0) {
		double t = zr * zr - zi * zi + cr;
		zi = 2 * zr * zi + ci;
		zr = t;
		n++;
	}
	image[y * w + x] = n;
}

extern "C" __global__ void warp_sum(const int *in, int *out)
{
	int v = in[TID];
	for (int o = 16; o; o >>= 1)
		v += __nvvm_shfl_sync_bfly_i32(0xffffffff, v, o, 31);
	out[TID] = v;
}

struct pair {
	double d;
	short s[3];
	char c;
};

__device__ __attribute__((noinline)) double take(pair p, int k)
{
	return p.d * k + p.s[k % 3] + p.c;
}

extern "C" __global__ void by_value(pair p, double *out)
{
	out[TID] = take(p, TID);
}

__constant__ float weights[4] = { 0.25f, 0.5f, 1.0f, 2.0f };
__device__ unsigned long long total = 5;

extern "C" __global__ void variables(float *out)
{
	out[TID] = weights[TID & 3];
	if (TID == 0)
		total += 37;
}

extern "C" __global__ void local_sort(int *data)
{
	int a[16];
	for (int i = 0; i < 16; i++)
		a[i] = data[TID * 16 + i];
	for (int i = 0; i < 16; i++)
		for (int k = 0; k + 1 < 16 - i; k++)
			if (a[k] > a[k + 1]) {
				int t = a[k];
				a[k] = a[k + 1];
				a[k + 1] = t;
			}
	for (int i = 0; i < 16; i++)
		data[TID * 16 + i] = a[i];
}
