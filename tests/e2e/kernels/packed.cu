// SPDX-License-Identifier: Apache-2.0
// nvcc -cubin -arch=sm_80 packed.cu -o packed.cubin: machine code alone.
// nvcc -fatbin -gencode arch=compute_80,code=[sm_80,compute_80] --compress-mode=size packed.cu -o packed.fatbin: with PTX,
// both packed with zstd.
__device__ int steps[3] = { 1, 2, 3 };

extern "C" __global__ void __launch_bounds__(128) step(int *to, char c, double d)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	to[i] = steps[i % 3] + c + (int)d;
}
