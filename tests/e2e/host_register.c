// SPDX-License-Identifier: Apache-2.0
//
// The program's own memory, registered with the driver: whole pages and parts of them, kernels and copies on
// it, and what registering twice or unregistering too often answers.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void one_range(CUmodule module, void *start, size_t bytes, const char *what)
{
	CUfunction fill = check_function(module, "fill");
	CUdeviceptr device = 0, copy = 0;
	unsigned type = 0, flags = 0;
	uint32_t n = (uint32_t)(bytes / 4), first = 1000;
	uint8_t *before = start;
	uint8_t *back = malloc(bytes);

	pattern_fill(start, bytes, 3);
	OK(cuMemHostRegister_v2(start, bytes, CU_MEMHOSTREGISTER_DEVICEMAP));
	CHECK(pattern_check(start, bytes, 3, what), "%s: registering keeps the bytes", what);
	OK(cuMemHostGetDevicePointer_v2(&device, start, 0));
	CHECK(device == (CUdeviceptr)start, "%s: one address for both sides", what);
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)start));
	EQUAL(CU_MEMORYTYPE_HOST, type);
	OK(cuMemHostGetFlags(&flags, start));
	MUST(cuMemAlloc_v2(&copy, bytes));
	OK(cuMemcpyHtoDAsync_v2(copy, start, bytes, NULL));
	OK(cuMemcpyDtoH_v2(back, copy, bytes));
	CHECK(pattern_check(back, bytes, 3, what), "%s: a copy from it", what);
	if (!((uintptr_t)start & 3)) {
		LAUNCH(fill, n / 256 + 1, 256, NULL, &device, &n, &first);
		OK(cuCtxSynchronize());
		uint32_t *word = start, wrong = 0;
		for (uint32_t i = 0; i < n && check_computes(); i++)
			wrong += word[i] != first + i;
		EQUAL(0, wrong);
	}
	EXPECT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister_v2(start, bytes, 0));
	if (bytes > 64) {
		EXPECT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister_v2(before + 32, 16, 0));
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostUnregister((char *)start + 8)); // not its begin
	}
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(start));
	pattern_fill(start, bytes, 4);
	OK(cuMemHostUnregister(start));
	CHECK(pattern_check(start, bytes, 4, what), "%s: unregistering keeps the bytes", what);
	EXPECT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(start));
	MUST(cuMemFree_v2(copy));
	free(back);
}

// Neighbours of a part of a page stay what they were, also when they change while it is registered.
static void neighbours(void)
{
	uint8_t *pages = mmap(NULL, 16 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(pages, 1, 16 * KIB);
	OK(cuMemHostRegister_v2(pages + 4196, 5000, 0));
	memset(pages, 2, 4196);
	memset(pages + 9196, 3, 16 * KIB - 9196);
	OK(cuMemHostUnregister(pages + 4196));
	CHECK(pages[0] == 2 && pages[4195] == 2 && pages[4196] == 1 && pages[9195] == 1 && pages[9196] == 3 &&
		  pages[16 * KIB - 1] == 3,
	      "bytes before and behind the registered part");
	munmap(pages, 16 * KIB);
}

static void errors(void)
{
	void *p = malloc(4096);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister_v2(NULL, 4096, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister_v2(p, 0, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister_v2(p, 4096, 0x1000));
	EXPECT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(p));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostUnregister(NULL));
	free(p);
	MUST(cuMemHostAlloc(&p, 64, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostRegister_v2(p, 64, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostUnregister(p));
	MUST(cuMemFreeHost(p));
}

int main(void)
{
	CUmodule module;
	check_context();
	module = check_module("basic.ptx");
	uint8_t *pages = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *heap = malloc(100000);
	uint8_t stack[5000];
	one_range(module, pages, 4 * MIB, "whole pages");
	one_range(module, pages + 100, 70000, "a part of pages");
	one_range(module, pages + 4096 + 1, 333, "an odd range");
	one_range(module, heap + 16, 99000, "heap");
	one_range(module, stack + 64, 4000, "stack");
	neighbours();
	errors();
	free(heap);
	munmap(pages, 4 * MIB);
	return check_done();
}
