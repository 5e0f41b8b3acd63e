// SPDX-License-Identifier: Apache-2.0
//
// The launch calls from before cuLaunchKernel: shape and parameters set one by one in the function.
#include "tests/e2e/check.h"

#define N 200

int main(void)
{
	CUfunction fill;
	CUdeviceptr p;
	unsigned int got[N], wrong = 0;

	check_context();
	fill = check_function(check_module("basic.ptx"), "fill");
	MUST(cuMemAlloc_v2(&p, sizeof(got)));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncSetBlockShape(fill, 0, 1, 1));
	OK(cuFuncSetBlockShape(fill, 64, 1, 1));
	OK(cuFuncSetSharedSize(fill, 0));
	OK(cuParamSetv(fill, 0, &p, sizeof(p)));
	OK(cuParamSeti(fill, 8, N));
	OK(cuParamSeti(fill, 12, 7));
	OK(cuParamSetSize(fill, 16));
	OK(cuLaunchGrid(fill, 4, 1));
	OK(cuMemcpyDtoH_v2(got, p, sizeof(got)));
	for (unsigned int i = 0; check_computes() && i < N; i++)
		wrong += got[i] != 7 + i;
	EQUAL(0, wrong);
	OK(cuParamSeti(fill, 12, 100));
	OK(cuLaunchGridAsync(fill, 4, 1, CU_STREAM_LEGACY));
	OK(cuMemcpyDtoH_v2(got, p, sizeof(got)));
	for (unsigned int i = 0; check_computes() && i < N; i++)
		wrong += got[i] != 100 + i;
	EQUAL(0, wrong);
	OK(cuCtxResetPersistingL2Cache());
	return check_done();
}
