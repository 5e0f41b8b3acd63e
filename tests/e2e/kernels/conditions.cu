// SPDX-License-Identifier: Apache-2.0
// Kernels that set the conditions of graphs. conditions.ptx is made of this: CUDA 13.0's
// nvcc -ptx -arch=sm_75 -o tests/e2e/kernels/conditions.ptx tests/e2e/kernels/conditions.cu
#include <cuda_device_runtime_api.h>

extern "C" __global__ void set_condition(cudaGraphConditionalHandle condition, unsigned int value)
{
	cudaGraphSetConditional(condition, value);
}

// The condition becomes what the word says.
extern "C" __global__ void set_from_word(cudaGraphConditionalHandle condition, const unsigned int *word)
{
	cudaGraphSetConditional(condition, *word);
}

// Takes one away; the condition holds as long as something is left.
extern "C" __global__ void count_down(cudaGraphConditionalHandle condition, unsigned int *word)
{
	*word -= 1;
	cudaGraphSetConditional(condition, *word);
}

extern "C" __global__ void add(unsigned int *word, unsigned int n)
{
	*word += n;
}
