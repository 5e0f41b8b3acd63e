// SPDX-License-Identifier: Apache-2.0
// Kernels that print. prints.ptx is made of this: CUDA 13.0's
// nvcc -ptx -arch=sm_75 -o tests/e2e/kernels/prints.ptx tests/e2e/kernels/prints.cu
#include <cstdio>

extern "C" __global__ void say(int number)
{
	printf("kernel %d thread %u\n", number, threadIdx.x);
}
