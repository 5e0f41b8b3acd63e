// SPDX-License-Identifier: Apache-2.0
//
// The few CUDA C++ words that the kernels of demo/ and tests/e2e need, so that plain clang compiles them
// without any SDK. Device side only; included by the .cu files, never by host code.
#ifndef VGPU_DEMO_DEVICE_H
#define VGPU_DEMO_DEVICE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define __global__   __attribute__((global))
#define __device__   __attribute__((device))
#define __shared__   __attribute__((shared))
#define __constant__ __attribute__((constant))
#define KERNEL	     extern "C" __global__ void

static inline __device__ u32 thread_x(void)
{
	return __nvvm_read_ptx_sreg_tid_x();
}

static inline __device__ u32 block_x(void)
{
	return __nvvm_read_ptx_sreg_ctaid_x();
}

static inline __device__ u32 block_size(void)
{
	return __nvvm_read_ptx_sreg_ntid_x();
}

static inline __device__ u32 grid_size(void)
{
	return __nvvm_read_ptx_sreg_nctaid_x();
}

static inline __device__ u32 global_x(void)
{
	return block_x() * block_size() + thread_x();
}

static inline __device__ void barrier(void)
{
	__syncthreads();
}

#endif
