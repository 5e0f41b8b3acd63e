// SPDX-License-Identifier: Apache-2.0
//
// Kernels of the end-to-end tests: small, exact (integers wherever order could matter), one subject each.
// basic.ptx beside this file is made by (no SDK needed):
// clang-19 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 --cuda-feature=+ptx70 -nocudainc -nocudalib
//	-O2 -I. -S -o tests/e2e/kernels/basic.ptx tests/e2e/kernels/basic.cu
#include "demo/device.h"

KERNEL empty(void)
{
}

KERNEL fill(u32 *p, u32 n, u32 first)
{
	u32 i = global_x();
	if (i < n)
		p[i] = first + i;
}

KERNEL add_to_all(u32 *p, u32 n, u32 what)
{
	u32 i = global_x();
	if (i < n)
		p[i] += what;
}

// p[0] = p[0] * 3 + what: the result tells in which order calls ran.
KERNEL step(u32 *p, u32 what)
{
	if (global_x() == 0)
		p[0] = p[0] * 3 + what;
}

KERNEL vector_add(const float *a, const float *b, float *c, u32 n)
{
	u32 i = global_x();
	if (i < n)
		c[i] = a[i] + b[i];
}

// Waits until the host opens *gate (pinned memory), at most `limit` looks with some work between (a microsecond
// on a processor, more on a GPU); seen[0] tells what it saw last, seen[1] keeps the work from being dropped.
KERNEL wait_gate(volatile u32 *gate, volatile u32 *seen, u64 limit)
{
	u32 v = 0, x = 1;
	for (u64 i = 0; i < limit && !v; i++) {
		for (int k = 0; k < 1000; k++)
			x = x * 1664525u + 1013904223u;
		v = *gate;
	}
	seen[0] = v;
	seen[1] = x;
}

// A dependent chain of integer work, as long as asked for.
KERNEL spin(u32 *out, u64 rounds)
{
	u32 x = global_x() + 1;
	for (u64 i = 0; i < rounds; i++)
		x = x * 1664525u + 1013904223u;
	out[global_x()] = x;
}

KERNEL sum_blocks(const u32 *in, u32 n, u32 *out)
{
	__shared__ u32 part[256];
	u32 sum = 0;
	for (u32 i = global_x(); i < n; i += grid_size() * block_size())
		sum += in[i];
	part[thread_x()] = sum;
	barrier();
	for (u32 half = block_size() / 2; half; half /= 2) {
		if (thread_x() < half)
			part[thread_x()] += part[thread_x() + half];
		barrier();
	}
	if (thread_x() == 0)
		__atomic_fetch_add(out, part[0], __ATOMIC_RELAXED);
}

extern __shared__ u32 dynamic[];

// Reverses one block's worth through dynamic shared memory.
KERNEL reverse_block(u32 *p)
{
	dynamic[thread_x()] = p[thread_x()];
	barrier();
	p[thread_x()] = dynamic[block_size() - 1 - thread_x()];
}

KERNEL histogram(const u8 *in, u32 n, u32 *bins)
{
	for (u32 i = global_x(); i < n; i += grid_size() * block_size())
		__atomic_fetch_add(&bins[in[i]], 1u, __ATOMIC_RELAXED);
}

KERNEL atomics(u32 *w, u64 *d)
{
	u32 i = global_x();
	__atomic_fetch_add(&w[0], i, __ATOMIC_RELAXED);
	__atomic_fetch_max(&w[1], i, __ATOMIC_RELAXED);
	__atomic_fetch_or(&w[2], 1u << (i % 32), __ATOMIC_RELAXED);
	__atomic_fetch_xor(&w[3], i, __ATOMIC_RELAXED);
	__atomic_fetch_add(&d[0], (u64)i << 20, __ATOMIC_RELAXED);
	u32 old = __atomic_load_n(&w[4], __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&w[4], &old, old + 2, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

// Every thread of a three-dimensional grid writes its coordinates at its linear number.
KERNEL coordinates(u32 *out)
{
	u32 bx = __nvvm_read_ptx_sreg_ctaid_x(), by = __nvvm_read_ptx_sreg_ctaid_y(),
	    bz = __nvvm_read_ptx_sreg_ctaid_z();
	u32 tx = __nvvm_read_ptx_sreg_tid_x(), ty = __nvvm_read_ptx_sreg_tid_y(),
	    tz = __nvvm_read_ptx_sreg_tid_z();
	u32 nx = __nvvm_read_ptx_sreg_ntid_x(), ny = __nvvm_read_ptx_sreg_ntid_y(),
	    nz = __nvvm_read_ptx_sreg_ntid_z();
	u32 gx = __nvvm_read_ptx_sreg_nctaid_x(), gy = __nvvm_read_ptx_sreg_nctaid_y();
	u32 block = (bz * gy + by) * gx + bx;
	u32 at = block * nx * ny * nz + (tz * ny + ty) * nx + tx;
	out[at] = bx | by << 5 | bz << 10 | tx << 15 | ty << 20 | tz << 25;
}

KERNEL warp_sums(const u32 *in, u32 *out)
{
	u32 v = in[global_x()];
	for (int d = 16; d; d /= 2)
		v += __nvvm_shfl_sync_down_i32(0xffffffffu, (int)v, d, 31);
	u32 odd = __nvvm_vote_ballot_sync(0xffffffffu, in[global_x()] & 1);
	if (thread_x() % 32 == 0) {
		out[global_x() / 32 * 2] = v;
		out[global_x() / 32 * 2 + 1] = odd;
	}
}

__device__ u32 counter = 7;
__device__ u32 table[16] = { 1, 2, 3, 4 };
__constant__ u32 scale[4] = { 10, 20, 30, 40 };

// Adds every entry of the table, each times a constant, to the counter.
KERNEL use_globals(u32 *out)
{
	u32 sum = 0;
	for (int i = 0; i < 16; i++)
		sum += table[i] * scale[i % 4];
	counter += sum;
	*out = counter;
}

struct odd_struct {
	u8 a;
	u64 b;
	u8 c[3];
};

// Parameters of every size, with the gaps that alignment makes.
KERNEL all_params(u8 a, u16 b, u8 c, u32 d, u8 e, u64 f, float g, double h, odd_struct s, signed char i, u64 *out)
{
	out[0] = a;
	out[1] = b;
	out[2] = c;
	out[3] = d;
	out[4] = e;
	out[5] = f;
	out[6] = (u64)(g * 4);
	out[7] = (u64)(h * 8);
	out[8] = s.a;
	out[9] = s.b;
	out[10] = s.c[0] | s.c[1] << 8 | s.c[2] << 16;
	out[11] = (u64)(long long)i;
}

struct big_struct {
	u32 word[900];
};

KERNEL big_param(big_struct s, u32 *out)
{
	u32 sum = 0;
	for (u32 i = thread_x(); i < 900; i += block_size())
		sum += s.word[i];
	__atomic_fetch_add(out, sum, __ATOMIC_RELAXED);
}
