// SPDX-License-Identifier: Apache-2.0
//
// While the program ends: an exit handler from after cuInit can still use the driver, one from before runs
// when the driver has gone, and is told so by every call. With work in flight.
#include <stdlib.h>
#include <unistd.h>

#include "tests/e2e/check.h"

static CUdeviceptr memory;
static CUstream stream;

static void late(void)
{
	CUcontext context;
	CUdeviceptr p;
	const char *text;
	int n;

	EXPECT(CUDA_ERROR_DEINITIALIZED, cuCtxGetCurrent(&context));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuDeviceGetCount(&n));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuMemAlloc_v2(&p, 16));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuMemFree_v2(memory));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuStreamQuery(stream));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuStreamSynchronize(stream));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuCtxSynchronize());
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuDevicePrimaryCtxRelease_v2(0));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuGetErrorString(CUDA_SUCCESS, &text));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuDriverGetVersion(&n));
	EXPECT(CUDA_ERROR_DEINITIALIZED, cuInit(0));
	_exit(check_done());
}

static void early(void)
{
	CUdeviceptr p;

	OK(cuMemAlloc_v2(&p, 16));
	OK(cuStreamSynchronize(stream));
	MUST(cuMemsetD8Async(memory, 1, 64, stream));
}

int main(void)
{
	if (atexit(late))
		check_bail("no exit handler");
	check_context();
	if (atexit(early))
		check_bail("no exit handler");
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc_v2(&memory, 64));
	MUST(cuMemsetD8Async(memory, 1, 64, stream));
	return 1; // the handlers make it
}
