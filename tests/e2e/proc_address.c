// SPDX-License-Identifier: Apache-2.0
//
// cuGetProcAddress, both versions: found, unknown, too old, too new, flags, per-thread forms; and that every
// function this project knows is exported.
#include "tests/e2e/check.h"

#include <stdio.h>

static void second_version(void)
{
	void *p = (void *)1, *q = NULL, *per_thread = NULL;
	int status = 9;

	OK(cuGetProcAddress_v2("cuInit", &p, 12000, 0, &status));
	CHECK(p == driver_symbol("cuInit") && status == 0, "cuInit is found");
	OK(cuGetProcAddress_v2("cuMemAlloc", &p, 12000, 0, &status));
	CHECK(p == driver_symbol("cuMemAlloc_v2"), "cuMemAlloc is cuMemAlloc_v2");
	OK(cuGetProcAddress_v2("cuMemAlloc", &p, 12000, 0, NULL));
	OK(cuGetProcAddress_v2("cuNoSuchThing", &p, 12000, 0, &status));
	CHECK(!p && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, "unknown name: status %d", status);
	p = (void *)1;
	OK(cuGetProcAddress_v2("", &p, 0, 0, &status));
	CHECK(!p && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, "empty name: status %d", status);
	OK(cuGetProcAddress_v2("cuMemAlloc_v2", &p, 12000, 0, &status));
	CHECK(!p && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, "a name with suffix: status %d", status);
	OK(cuGetProcAddress_v2("cuLaunchKernelEx", &p, 11000, 0, &status));
	CHECK(!p && status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT, "too old a version: status %d",
	      status);
	p = (void *)1;
	status = 9;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetProcAddress_v2("cuInit", &p, 99999, 0, &status));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetProcAddress_v2("cuInit", &p, 12000, 8, &status));
	CHECK(p == (void *)1 && status == 9, "outputs untouched when refused");
	OK(cuGetProcAddress_v2("cuLaunchKernel", &q, 12000, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &status));
	OK(cuGetProcAddress_v2("cuLaunchKernel", &per_thread, 12000,
			       CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &status));
	CHECK(q == driver_symbol("cuLaunchKernel") && per_thread == driver_symbol("cuLaunchKernel_ptsz"),
	      "legacy and per-thread forms");
	OK(cuGetProcAddress_v2("cuInit", &p, 12000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &status));
	CHECK(p == driver_symbol("cuInit"), "a function without a per-thread form");
	OK(cuGetProcAddress_v2("cuGetProcAddress", &p, 12000, 0, &status));
	OK(cuGetProcAddress_v2("cuGetProcAddress", &q, 11030, 0, &status));
	CHECK(p == driver_symbol("cuGetProcAddress_v2") && q == driver_symbol("cuGetProcAddress"),
	      "itself, in two versions");
	OK(cuGetProcAddress_v2("cuCtxGetDevice", &p, 12000, 0, &status));
	OK(cuGetProcAddress_v2("cuCtxGetDevice", &q, 13000, 0, &status));
	CHECK(p == driver_symbol("cuCtxGetDevice") && q == driver_symbol("cuCtxGetDevice_v2"),
	      "cuCtxGetDevice, two versions");
}

static void first_version(void)
{
	void *p = NULL;
	OK(cuGetProcAddress("cuInit", &p, 11030, 0));
	CHECK(p == driver_symbol("cuInit"), "cuInit is found");
	EXPECT(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuNoSuchThing", &p, 11030, 0));
	EXPECT(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuLaunchKernelEx", &p, 11000, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetProcAddress("cuInit", &p, 99999, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetProcAddress("cuInit", &p, 11030, 8));
}

int main(void)
{
	char names[400];
	check_open();
	int missing = driver_missing(names, sizeof(names));
	CHECK(!missing, "%d functions are not exported: %s", missing, names);
	second_version();
	first_version();
	MUST(cuInit(0));
	second_version();
	return check_done();
}
