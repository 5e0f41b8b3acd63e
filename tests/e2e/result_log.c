// SPDX-License-Identifier: Apache-2.0
//
// Calls that fail on purpose, found through cuGetProcAddress as CUDA's runtime finds them, for the test that
// reads what libcuda logs of them. With the log on or off the answers are the same.
#include "tests/e2e/check.h"

static void *look_up(const char *name, unsigned flags)
{
	void *p = NULL;

	MUST(cuGetProcAddress_v2(name, &p, 12000, flags, NULL));
	return p;
}

int main(void)
{
	CUresult (*alloc)(CUdeviceptr *, size_t);
	CUresult (*event_record)(CUevent, CUstream);
	CUresult (*get_count)(int *);
	CUdeviceptr p = 0;
	int count = 0;

	check_context();
	alloc = look_up("cuMemAlloc", 0);
	event_record = look_up("cuEventRecord", CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM);
	get_count = look_up("cuDeviceGetCount", 0);
	OK(get_count(&count));
	for (int i = 0; i < 3; i++)
		EXPECT(CUDA_ERROR_INVALID_VALUE, alloc(&p, 0));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, event_record(NULL, NULL));
	return check_done();
}
