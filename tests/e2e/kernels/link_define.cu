// SPDX-License-Identifier: Apache-2.0
// nvcc -ptx -rdc=true -arch=compute_75: see link_use.cu.
__device__ int table[4] = { 5, 6, 7, 8 };
static __device__ int factor = 3;

__device__ int helper(int x)
{
	return x * factor + table[0];
}
