// SPDX-License-Identifier: Apache-2.0
//
// A small language model's kernels, of the kinds that LLM runners have: weights and activations in blocks of 32
// signed bytes with one scale, products of four bytes at once, warp reductions, softmax. decoder.ptx beside this
// file is made by CUDA 13.0's
// nvcc -ptx -arch=sm_75 -o tests/e2e/kernels/decoder.ptx tests/e2e/kernels/decoder.cu

struct block {
	float scale;
	signed char q[32];
};

static __device__ float warp_sum(float v)
{
	for (int d = 16; d; d /= 2)
		v += __shfl_xor_sync(0xffffffffu, v, d);
	return v;
}

static __device__ float warp_max(float v)
{
	for (int d = 16; d; d /= 2)
		v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
	return v;
}

// out[row] (+)= weights[row] * x; one warp a row, a quarter of a block a lane.
extern "C" __global__ void matvec(const block *weights, const block *x, float *out, int rows, int blocks, int add)
{
	int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
	if (row >= rows)
		return;
	const block *w = weights + (size_t)row * blocks;
	float sum = 0;
	for (int i = lane / 4; i < blocks; i += 8) {
		const int *a = (const int *)w[i].q + lane % 4 * 2, *b = (const int *)x[i].q + lane % 4 * 2;
		int dot = __dp4a(a[0], b[0], __dp4a(a[1], b[1], 0));
		sum += (float)dot * w[i].scale * x[i].scale;
	}
	sum = warp_sum(sum);
	if (lane == 0)
		out[row] = add ? out[row] + sum : sum;
}

// One warp a block of 32 values.
extern "C" __global__ void quantize(const float *x, block *out)
{
	float v = x[blockIdx.x * 32 + threadIdx.x], top = warp_max(fabsf(v));
	float scale = top / 127.0f;
	out[blockIdx.x].q[threadIdx.x] = scale > 0 ? (signed char)__float2int_rn(v / scale) : 0;
	if (threadIdx.x == 0)
		out[blockIdx.x].scale = scale;
}

// Values of one row of a quantised table: the token's, which the host has put into *token.
extern "C" __global__ void get_row(const block *table, const int *token, float *out, int blocks)
{
	const block *row = table + (size_t)*token * blocks;
	int i = threadIdx.x;
	out[i] = (float)row[i / 32].q[i % 32] * row[i / 32].scale;
}

extern "C" __global__ void rms_norm(const float *x, float *out, int n)
{
	__shared__ float part[32];
	float sum = 0;
	for (int i = threadIdx.x; i < n; i += blockDim.x)
		sum += x[i] * x[i];
	sum = warp_sum(sum);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = sum;
	__syncthreads();
	sum = warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : 0.0f);
	float by = rsqrtf(sum / (float)n + 1e-5f);
	for (int i = threadIdx.x; i < n; i += blockDim.x)
		out[i] = x[i] * by;
}

// Keys and values of the token at `position` go to their places.
extern "C" __global__ void store(const float *k, const float *v, float *keys, float *values, int position, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) {
		keys[(size_t)position * n + i] = k[i];
		values[(size_t)position * n + i] = v[i];
	}
}

// One head a block, 32 threads; `length` entries of the cache, whose scores lie in shared memory.
extern "C" __global__ void attend(const float *q, const float *keys, const float *values, float *out, int length, int n,
				  int head)
{
	extern __shared__ float score[];
	int at = blockIdx.x * head;
	float top = -1e30f, sum = 0;
	for (int t = threadIdx.x; t < length; t += 32) {
		float s = 0;
		for (int i = 0; i < head; i++)
			s += q[at + i] * keys[(size_t)t * n + at + i];
		score[t] = s * rsqrtf((float)head);
		top = fmaxf(top, score[t]);
	}
	top = warp_max(top);
	for (int t = threadIdx.x; t < length; t += 32) {
		score[t] = expf(score[t] - top);
		sum += score[t];
	}
	sum = warp_sum(sum);
	__syncwarp();
	for (int i = threadIdx.x; i < head; i += 32) {
		float v = 0;
		for (int t = 0; t < length; t++)
			v += score[t] * values[(size_t)t * n + at + i];
		out[at + i] = v / sum;
	}
}

extern "C" __global__ void gate(float *a, const float *b, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		a[i] = a[i] / (1.0f + expf(-a[i])) * b[i];
}

extern "C" __global__ void add(float *x, const float *y, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n)
		x[i] += y[i];
}

// For products of matrices: the weights as plain numbers.
extern "C" __global__ void dequantize(const block *in, float *out)
{
	out[blockIdx.x * 32 + threadIdx.x] = (float)in[blockIdx.x].q[threadIdx.x] * in[blockIdx.x].scale;
}

// c (columns x rows) = for each column of b, a times it; what a library's product does when there is none.
extern "C" __global__ void product(const float *a, const float *b, float *c, int rows, int inner, int columns)
{
	__shared__ float left[16][17], right[16][17];
	int row = blockIdx.x * 16 + threadIdx.x, column = blockIdx.y * 16 + threadIdx.y;
	float sum = 0;
	for (int k = 0; k < inner; k += 16) {
		left[threadIdx.y][threadIdx.x] = a[(size_t)(blockIdx.x * 16 + threadIdx.y) * inner + k + threadIdx.x];
		right[threadIdx.y][threadIdx.x] =
			column < columns ? b[(size_t)column * inner + k + threadIdx.x] : 0.0f;
		__syncthreads();
		for (int i = 0; i < 16; i++)
			sum += left[threadIdx.x][i] * right[threadIdx.y][i];
		__syncthreads();
	}
	if (column < columns)
		c[(size_t)column * rows + row] = sum;
}
