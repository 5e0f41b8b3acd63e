// SPDX-License-Identifier: Apache-2.0
// Launches as CUDA had them before cuLaunchKernel: shape, shared memory and parameters are set one by one in
// the function, then it is launched. Runs in the guest program. As with a driver, one function is for one
// thread at a time between the first of these calls and the launch.
#include <stdlib.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"

#define OLD_PARAM_BYTES 4096 // what these calls could ever set

struct vc_old_launch {
	unsigned int block[3], shared, size;
	uint8_t params[OLD_PARAM_BYTES];
};

static CUresult enter_old(CUfunction function, struct vc_old_launch **ret)
{
	struct vc_context *ctx;
	struct vc_function *f;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	f = vc_function_find(function);
	if (!f)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!f->old_launch) {
		f->old_launch = calloc(1, sizeof(*f->old_launch));
		if (!f->old_launch)
			return CUDA_ERROR_OUT_OF_MEMORY;
		for (int i = 0; i < 3; i++)
			f->old_launch->block[i] = 1;
	}
	*ret = f->old_launch;
	return CUDA_SUCCESS;
}

CUresult cuFuncSetBlockShape(CUfunction function, int x, int y, int z)
{
	struct vc_old_launch *old;
	CUresult result = enter_old(function, &old);

	if (result)
		return result;
	if (x < 1 || y < 1 || z < 1)
		return CUDA_ERROR_INVALID_VALUE;
	old->block[0] = (unsigned int)x;
	old->block[1] = (unsigned int)y;
	old->block[2] = (unsigned int)z;
	return CUDA_SUCCESS;
}

CUresult cuFuncSetSharedSize(CUfunction function, unsigned int bytes)
{
	struct vc_old_launch *old;
	CUresult result = enter_old(function, &old);

	if (!result)
		old->shared = bytes;
	return result;
}

CUresult cuParamSetSize(CUfunction function, unsigned int bytes)
{
	struct vc_old_launch *old;
	CUresult result = enter_old(function, &old);

	if (result)
		return result;
	if (bytes > OLD_PARAM_BYTES)
		return CUDA_ERROR_INVALID_VALUE;
	old->size = bytes;
	return CUDA_SUCCESS;
}

CUresult cuParamSetv(CUfunction function, int offset, void *ptr, unsigned int bytes)
{
	struct vc_old_launch *old;
	CUresult result = enter_old(function, &old);

	if (result)
		return result;
	if (!ptr || offset < 0 || bytes > OLD_PARAM_BYTES || (unsigned int)offset > OLD_PARAM_BYTES - bytes)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(old->params + offset, ptr, bytes);
	return CUDA_SUCCESS;
}

CUresult cuParamSeti(CUfunction function, int offset, unsigned int value)
{
	return cuParamSetv(function, offset, &value, sizeof(value));
}

CUresult cuParamSetf(CUfunction function, int offset, float value)
{
	return cuParamSetv(function, offset, &value, sizeof(value));
}

CUresult cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream)
{
	struct vc_old_launch *old;
	CUresult result = enter_old(function, &old);
	size_t size;

	if (result)
		return result;
	if (width < 1 || height < 1)
		return CUDA_ERROR_INVALID_VALUE;
	size = old->size;
	void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, old->params, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
			  CU_LAUNCH_PARAM_END };

	return cuLaunchKernel(function, (unsigned int)width, (unsigned int)height, 1, old->block[0],
			      old->block[1], old->block[2], old->shared, stream, NULL, extra);
}

CUresult cuLaunchGrid(CUfunction function, int width, int height)
{
	return cuLaunchGridAsync(function, width, height, NULL);
}

CUresult cuLaunch(CUfunction function)
{
	return cuLaunchGrid(function, 1, 1);
}
