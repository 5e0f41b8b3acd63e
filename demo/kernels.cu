// SPDX-License-Identifier: Apache-2.0
//
// The two kernels of the demo's workload. kernels.ptx beside this file is made by (no SDK needed):
// clang-19 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 --cuda-feature=+ptx70 -nocudainc -nocudalib
//	-O2 -I. -S -o demo/kernels.ptx demo/kernels.cu
#include "demo/device.h"

#define TILE 16

// out[i] = a chain of `rounds` mixing steps that starts from seed + i.
KERNEL hash_chain(u32 *out, u32 seed, u32 rounds)
{
	u32 i = global_x(), x = seed + i;
	for (u32 r = 0; r < rounds; r++) {
		x ^= x >> 16;
		x *= 0x7feb352du;
		x ^= x >> 15;
		x *= 0x846ca68bu;
	}
	out[i] = x;
}

// c = factor * a x b for square matrices of side n, one 16 x 16 tile a block, beginning with tile `first`
// and going on from the start behind the last one.
KERNEL tile_product(const float *a, const float *b, float *c, u32 n, u32 first, float factor)
{
	__shared__ float as[TILE][TILE], bs[TILE][TILE];
	u32 tiles = n / TILE, tile = (first + block_x()) % (tiles * tiles);
	u32 row = tile / tiles * TILE + __nvvm_read_ptx_sreg_tid_y();
	u32 column = tile % tiles * TILE + thread_x();
	u32 tx = thread_x(), ty = __nvvm_read_ptx_sreg_tid_y();
	float sum = 0;
	for (u32 k = 0; k < n; k += TILE) {
		as[ty][tx] = a[row * n + k + tx];
		bs[ty][tx] = b[(k + ty) * n + column];
		barrier();
		for (u32 j = 0; j < TILE; j++)
			sum += as[ty][j] * bs[j][tx];
		barrier();
	}
	c[row * n + column] = sum * factor;
}
