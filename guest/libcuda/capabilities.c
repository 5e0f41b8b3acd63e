// SPDX-License-Identifier: Apache-2.0
// Questions about the device that have no attribute: execution affinity (a matter of MPS, which is not here)
// and which atomic operations reach over the bus as such. Runs in the guest program.
#include "guest/libcuda/libcuda.h"

#define AFFINITY_TYPES	  1  // multiprocessors of a context
#define ATOMIC_OPERATIONS 13 // CUatomicOperation

CUresult cuDeviceGetExecAffinitySupport(int *supported, int type, CUdevice device)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!supported || type < 0 || type >= AFFINITY_TYPES)
		return CUDA_ERROR_INVALID_VALUE;
	if (device)
		return CUDA_ERROR_INVALID_DEVICE;
	*supported = 0;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetExecAffinity(CUexecAffinityParam *affinity, int type)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	return affinity && type >= 0 && type < AFFINITY_TYPES ? CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY
							      : CUDA_ERROR_INVALID_VALUE;
}

// No native atomics on host memory are promised, whatever the device has: programs that do without them work
// on all.
CUresult cuDeviceGetHostAtomicCapabilities(unsigned int *capabilities, const int *operations,
					   unsigned int count, CUdevice device)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!capabilities || !operations || !count)
		return CUDA_ERROR_INVALID_VALUE;
	if (device)
		return CUDA_ERROR_INVALID_DEVICE;
	for (unsigned int i = 0; i < count; i++)
		if (operations[i] < 0 || operations[i] >= ATOMIC_OPERATIONS)
			return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < count; i++)
		capabilities[i] = 0;
	return CUDA_SUCCESS;
}

// There is no second device.
CUresult cuDeviceGetP2PAtomicCapabilities(unsigned int *capabilities, const int *operations,
					  unsigned int count, CUdevice src, CUdevice dst)
{
	CUresult result = vc_ready();

	(void)src;
	(void)dst;
	if (result)
		return result;
	return capabilities && operations && count ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE;
}
