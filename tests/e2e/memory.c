// SPDX-License-Identifier: Apache-2.0
//
// Device memory: allocation of all kinds and sizes, what the driver knows about a pointer, and errors.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

static void allocate(void)
{
	static const size_t sizes[] = { 1, 3, 255, 256, 4096, 65537, MIB, 2 * MIB + 1, 40 * MIB };
	CUdeviceptr ptr[9], base;
	size_t free_before, free_now, total, bytes;

	OK(cuMemGetInfo_v2(&free_before, &total));
	CHECK(free_before <= total && free_before, "free %zu of %zu", free_before, total);
	for (int i = 0; i < 9; i++) {
		OK(cuMemAlloc_v2(&ptr[i], sizes[i]));
		CHECK(ptr[i] % 256 == 0, "%zu bytes lie at a multiple of 256", sizes[i]);
		for (int k = 0; k < i; k++) {
			if (ptr[i] < ptr[k] + sizes[k] && ptr[k] < ptr[i] + sizes[i])
				CHECK(false, "allocations %d and %d overlap", i, k);
		}
	}
	OK(cuMemGetInfo_v2(&free_now, &total));
	CHECK(free_now + 40 * MIB <= free_before, "free memory falls by what was allocated");
	OK(cuMemGetAddressRange_v2(&base, &bytes, ptr[8] + 12345));
	CHECK(base == ptr[8] && bytes == 40 * MIB, "range of an inner pointer");
	OK(cuMemGetAddressRange_v2(&base, &bytes, ptr[2]));
	CHECK(base == ptr[2] && bytes == 255, "range of 255 bytes is %zu", bytes);
	for (int i = 0; i < 9; i++)
		OK(cuMemFree_v2(ptr[i]));
	OK(cuMemGetInfo_v2(&free_now, &total));
	// Others may use the GPU meanwhile; all that was held here is more than this.
	CHECK(free_now + 24 * MIB > free_before, "free memory is back: %zu of %zu", free_now, free_before);
}

static void pitch(void)
{
	CUdeviceptr ptr = 0;
	size_t bytes = 0;
	OK(cuMemAllocPitch_v2(&ptr, &bytes, 1001, 33, 4));
	CHECK(bytes >= 1001 && bytes % 128 == 0, "pitch of 1001 is %zu", bytes);
	OK(cuMemFree_v2(ptr));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch_v2(&ptr, &bytes, 0, 1, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAllocPitch_v2(&ptr, &bytes, 16, 1, 3));
}

static void errors(void)
{
	CUdeviceptr ptr = 0;
	size_t bytes;

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&ptr, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(NULL, 16));
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&ptr, (size_t)1 << 46));
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&ptr, (size_t)-1));
	OK(cuMemFree_v2(0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(0x1234));
	OK(cuMemAlloc_v2(&ptr, 1000));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(ptr + 8));
	OK(cuMemFree_v2(ptr));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(ptr));
	EXPECT(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange_v2(&ptr, &bytes, 0x1234));
}

static void pointer_attributes(CUcontext context)
{
	CUdeviceptr ptr, device_ptr = 0, start = 0;
	CUcontext owner = NULL;
	unsigned type = 0, mapped = 0;
	unsigned long long id_a = 0, id_b = 0;
	size_t size = 0;
	int ordinal = -1;
	void *host = malloc(100);

	MUST(cuMemAlloc_v2(&ptr, 1000));
	OK(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, ptr));
	CHECK(owner == context, "a pointer's context");
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, ptr + 10));
	EQUAL(CU_MEMORYTYPE_DEVICE, type);
	OK(cuPointerGetAttribute(&device_ptr, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, ptr + 10));
	CHECK(device_ptr == ptr + 10, "a device pointer's device pointer");
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuPointerGetAttribute(&device_ptr, CU_POINTER_ATTRIBUTE_HOST_POINTER, ptr));
	OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, ptr));
	EQUAL(0, ordinal);
	OK(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, ptr + 99));
	OK(cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, ptr + 99));
	CHECK(start == ptr && size == 1000, "range of a pointer: %zu bytes", size);
	OK(cuPointerGetAttribute(&id_a, CU_POINTER_ATTRIBUTE_BUFFER_ID, ptr));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)host));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuPointerGetAttribute(&type, 999, ptr));

	CUpointer_attribute which[] = { 2, 3, 4, 8, 9 };
	CUdeviceptr d = 1, h = 1;
	unsigned managed = 0xa5a5a5a5; // CUDA's runtime hands over four bytes that it has not set
	void *data[] = { &type, &d, &h, &managed, &ordinal };
	OK(cuPointerGetAttributes(5, which, data, ptr));
	CHECK(type == CU_MEMORYTYPE_DEVICE && d == ptr && !h && !managed, "five attributes at once");
	OK(cuPointerGetAttributes(5, which, data, (CUdeviceptr)host));
	CHECK(!type && !d && h == (CUdeviceptr)host, "a pointer unknown to the driver: %u %llx %llx", type,
	      (unsigned long long)d, (unsigned long long)h);

	OK(cuMemFree_v2(ptr));
	MUST(cuMemAlloc_v2(&ptr, 1000));
	OK(cuPointerGetAttribute(&id_b, CU_POINTER_ATTRIBUTE_BUFFER_ID, ptr));
	CHECK(id_a != id_b, "buffer ids are never used again");
	OK(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, ptr));
	OK(cuMemFree_v2(ptr));
	free(host);
}

static void many(void)
{
	enum { COUNT = 3000 };
	static CUdeviceptr ptr[COUNT];
	int wrong = 0;
	for (int i = 0; i < COUNT; i++)
		wrong += cuMemAlloc_v2(&ptr[i], (size_t)(i % 7 + 1) * 500) != CUDA_SUCCESS;
	for (int i = 0; i < COUNT; i += 2)
		wrong += cuMemFree_v2(ptr[i]) != CUDA_SUCCESS;
	for (int i = 0; i < COUNT; i += 2)
		wrong += cuMemAlloc_v2(&ptr[i], (size_t)(i % 5 + 1) * 700) != CUDA_SUCCESS;
	for (int i = 0; i < COUNT; i++)
		wrong += cuMemFree_v2(ptr[i]) != CUDA_SUCCESS;
	EQUAL(0, wrong);
}

int main(void)
{
	CUcontext context = check_context();
	allocate();
	pitch();
	errors();
	pointer_attributes(context);
	many();
	return check_done();
}
