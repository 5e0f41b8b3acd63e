// SPDX-License-Identifier: Apache-2.0
// nvcc -ptx -rdc=true -arch=compute_75: calls and reads what link_define.cu defines.
extern __device__ int table[4];
extern __device__ int helper(int x);

extern "C" __global__ void use(int *p)
{
	p[threadIdx.x] = helper(threadIdx.x) + table[1];
}
