// SPDX-License-Identifier: Apache-2.0
//
// The examples' kernels. kernels.ptx beside this file is made by (no SDK needed):
// clang-19 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 --cuda-feature=+ptx70 -nocudainc -nocudalib
//	-O2 -S -o examples/kernels.ptx examples/kernels.cu
typedef unsigned int u32;

#define KERNEL extern "C" __attribute__((global)) void
#define SHARED __attribute__((shared))
#define TILE   16

static inline __attribute__((device)) u32 index_x(void)
{
	return __nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x();
}

static inline __attribute__((device)) void barrier(void)
{
	__nvvm_bar_sync(0);
}

KERNEL vector_add(const float *a, const float *b, float *c, u32 n)
{
	u32 i = index_x();

	if (i < n)
		c[i] = a[i] + b[i];
}

// c = a b: a has `rows` rows of n, b n rows of n. Both multiples of TILE; blocks of TILE x TILE threads.
KERNEL matrix_product(const float *a, const float *b, float *c, u32 n)
{
	SHARED static float as[TILE][TILE], bs[TILE][TILE];
	u32 x = __nvvm_read_ptx_sreg_tid_x(), y = __nvvm_read_ptx_sreg_tid_y();
	u32 column = __nvvm_read_ptx_sreg_ctaid_x() * TILE + x, row = __nvvm_read_ptx_sreg_ctaid_y() * TILE + y;
	float sum = 0;

	for (u32 k = 0; k < n; k += TILE) {
		as[y][x] = a[row * n + k + x];
		bs[y][x] = b[(k + y) * n + column];
		barrier();
		for (u32 i = 0; i < TILE; i++)
			sum += as[y][i] * bs[i][x];
		barrier();
	}
	c[row * n + column] = sum;
}

// One number of one request a thread: x[i] becomes scale x[i] + offset, with the coefficients of the request
// that owner[i] names.
KERNEL serve(float *x, const u32 *owner, const float *scale, const float *offset, u32 n)
{
	u32 i = index_x();

	if (i < n)
		x[i] = scale[owner[i]] * x[i] + offset[owner[i]];
}
