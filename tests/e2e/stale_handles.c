// SPDX-License-Identifier: Apache-2.0
//
// Handles of destroyed objects, of the wrong kind, or made up: the right code, never a crash. What a driver
// that uses addresses as handles cannot survive (made-up ones) is tried only where handles are checked.
#include "tests/e2e/check.h"

static void destroyed(void)
{
	CUstream stream, later;
	CUevent event;
	MUST(cuStreamCreate(&stream, 0));
	MUST(cuStreamDestroy_v2(stream));
	MUST(cuStreamCreate(&later, 0));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord((CUevent)0, later));
	MUST(cuEventCreate(&event, 0));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamWaitEvent(later, NULL, 0));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventQuery(NULL));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventSynchronize(NULL));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventDestroy_v2(NULL));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload(NULL));
	MUST(cuEventDestroy_v2(event));
	MUST(cuStreamDestroy_v2(later));
}

static void checked_only(void)
{
	CUstream stream, later;
	CUevent event;
	CUmodule module = check_module("basic.ptx");
	CUfunction function = check_function(module, "empty");
	int value;
	MUST(cuStreamCreate(&stream, 0));
	MUST(cuStreamDestroy_v2(stream));
	MUST(cuStreamCreate(&later, 0));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(stream));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamQuery(stream));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy_v2(stream));
	MUST(cuEventCreate(&event, 0));
	MUST(cuEventDestroy_v2(event));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(event, later));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventQuery(event));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventDestroy_v2(event));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize((CUstream)0x12345678));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventQuery((CUevent)0x12345678));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventQuery((CUevent)later));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamQuery((CUstream)function));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuFuncGetAttribute(&value, 0, (CUfunction)later));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload((CUmodule)0xdeadbeefdeadbeefull));
	MUST(cuModuleUnload(module));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload(module));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
	OK(cuCtxSynchronize());
	OK(cuStreamSynchronize(later));
	MUST(cuStreamDestroy_v2(later));
}

int main(void)
{
	check_context();
	destroyed();
	if (check_backend() != BACKEND_NATIVE)
		checked_only();
	return check_done();
}
