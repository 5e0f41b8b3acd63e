// SPDX-License-Identifier: Apache-2.0
//
// What cuPointerGetAttribute says of every kind of memory, and of addresses that are none; what managed
// memory was advised.
#include <stdlib.h>

#include "tests/e2e/check.h"

#define PIECE (2 * MIB)

static CUcontext context;

static uint64_t ask(CUpointer_attribute attribute, CUdeviceptr p)
{
	uint64_t value[2] = { 0, 0 };

	OK(cuPointerGetAttribute(value, attribute, p));
	return value[0];
}

static void device_memory(void)
{
	CUdeviceptr p;

	MUST(cuMemAlloc_v2(&p, 100000));
	EQUAL((uintptr_t)context, ask(CU_POINTER_ATTRIBUTE_CONTEXT, p + 5));
	EQUAL(CU_MEMORYTYPE_DEVICE, ask(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p + 5));
	EQUAL(p + 5, ask(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, p + 5));
	EQUAL(0, ask(CU_POINTER_ATTRIBUTE_IS_MANAGED, p));
	EQUAL(0, ask(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, p));
	EQUAL(p, ask(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 99999));
	EQUAL(100000, ask(CU_POINTER_ATTRIBUTE_RANGE_SIZE, p));
	EQUAL(1, ask(CU_POINTER_ATTRIBUTE_MAPPED, p));
	EQUAL(CU_MEM_ACCESS_FLAGS_PROT_READWRITE, ask(CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, p));
	EQUAL(0, ask(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, p));
	CHECK(ask(CU_POINTER_ATTRIBUTE_BUFFER_ID, p) != 0, "it has a number");
	uint64_t nothing;

	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuPointerGetAttribute(&nothing, CU_POINTER_ATTRIBUTE_HOST_POINTER, p));
	MUST(cuMemFree_v2(p));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuPointerGetAttribute(&nothing, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
}

static void host_memory(void)
{
	char *pinned, *heap = malloc(4096);
	CUpointer_attribute which[] = { CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
					CU_POINTER_ATTRIBUTE_HOST_POINTER, CU_POINTER_ATTRIBUTE_IS_MANAGED };
	uint64_t values[4] = { 7, 7, 7, 7 };
	void *places[] = { &values[0], &values[1], &values[2], &values[3] };

	MUST(cuMemAllocHost_v2((void **)&pinned, 8192));
	EQUAL(CU_MEMORYTYPE_HOST, ask(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)pinned + 1));
	EQUAL((uintptr_t)pinned + 1, ask(CU_POINTER_ATTRIBUTE_HOST_POINTER, (uintptr_t)pinned + 1));
	EQUAL((uintptr_t)pinned + 1, ask(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, (uintptr_t)pinned + 1));
	EQUAL((uintptr_t)pinned, ask(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, (uintptr_t)pinned + 1));
	MUST(cuMemFreeHost(pinned));
	// Memory that nobody knows: an error alone, and no error among others.
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuPointerGetAttribute(&values[0], which[0], (uintptr_t)heap));
	OK(cuPointerGetAttributes(4, which, places, (uintptr_t)heap));
	EQUAL(0, (uint32_t)values[0]);
	EQUAL(-2, (int32_t)values[1]);
	free(heap);
}

static void memory_without_address(void)
{
	const CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					   .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	const CUmemAccessDesc all = { prop.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	CUmemGenericAllocationHandle handle;
	CUdeviceptr base, at;
	uint64_t nothing;
	size_t bytes;
	int supported = 0;

	MUST(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
	if (!supported)
		return;
	MUST(cuMemAddressReserve(&base, 8 * PIECE, 0, 0, 0));
	MUST(cuMemCreate(&handle, PIECE, &prop, 0));
	MUST(cuMemMap(base + PIECE, PIECE, 0, handle, 0));
	MUST(cuMemSetAccess(base + PIECE, PIECE, &all, 1));
	EQUAL(base, ask(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, base + PIECE + 5));
	EQUAL(8 * PIECE, ask(CU_POINTER_ATTRIBUTE_RANGE_SIZE, base + PIECE + 5));
	EQUAL(base + PIECE, ask(CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, base + PIECE + 5));
	EQUAL(PIECE, ask(CU_POINTER_ATTRIBUTE_MAPPING_SIZE, base + PIECE + 5));
	EQUAL(1, ask(CU_POINTER_ATTRIBUTE_MAPPED, base + PIECE));
	EQUAL(CU_MEMORYTYPE_DEVICE, ask(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, base + PIECE));
	EQUAL(CU_MEM_ACCESS_FLAGS_PROT_READWRITE, ask(CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, base + PIECE));
	EQUAL(0, ask(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, base + PIECE));
	OK(cuMemGetAddressRange_v2(&at, &bytes, base + PIECE + 5));
	CHECK(at == base + PIECE && bytes == PIECE, "the range of an address is the mapping");
	MUST(cuMemUnmap(base + PIECE, PIECE));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuPointerGetAttribute(&nothing, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, base + PIECE));
	MUST(cuMemRelease(handle));
	MUST(cuMemAddressFree(base, 8 * PIECE));
}

static void pool_memory(void)
{
	CUmemoryPool pool;
	CUdeviceptr p;

	MUST(cuDeviceGetDefaultMemPool(&pool, 0));
	MUST(cuMemAllocAsync(&p, 10000, NULL));
	EQUAL((uintptr_t)pool, ask(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, p));
	EQUAL(CU_MEMORYTYPE_DEVICE, ask(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
	EQUAL(p, ask(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, p + 100));
	MUST(cuMemFreeAsync(p, NULL));
	MUST(cuStreamSynchronize(NULL));
}

static int range(int attribute, CUdeviceptr p, size_t bytes)
{
	int value = 99;

	OK(cuMemRangeGetAttribute(&value, sizeof(value), attribute, p, bytes));
	return value;
}

static void managed_memory(void)
{
	const CUmemLocation gpu = { CU_MEM_LOCATION_TYPE_DEVICE, 0 };
	int value, supported = 0, list[3] = { 9, 9, 9 };
	CUdeviceptr p;

	MUST(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0));
	if (!supported && check_backend() == BACKEND_NATIVE)
		return;
	MUST(cuMemAllocManaged(&p, 4 * MIB, 1));
	EQUAL(1, ask(CU_POINTER_ATTRIBUTE_IS_MANAGED, p));
	EQUAL(p, ask(CU_POINTER_ATTRIBUTE_HOST_POINTER, p));
	EQUAL(0, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 4 * MIB));
	EQUAL(-2, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 4 * MIB));
	OK(cuMemAdvise_v2(p, 2 * MIB, CU_MEM_ADVISE_SET_READ_MOSTLY, gpu));
	EQUAL(1, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 2 * MIB));
	EQUAL(0, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 4 * MIB));
	OK(cuMemAdvise_v2(p + MIB, 2 * MIB, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, gpu));
	EQUAL(0, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p + MIB, 2 * MIB));
	EQUAL(-2, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 2 * MIB));
	EQUAL(1, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 2 * MIB)); // is not lost with the new borders
	OK(cuMemAdvise_v2(p, 4 * MIB, CU_MEM_ADVISE_SET_ACCESSED_BY, gpu));
	OK(cuMemRangeGetAttribute(list, sizeof(list), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, p, 4 * MIB));
	CHECK(list[0] == 0 && list[1] == -2 && list[2] == -2, "device 0 alone");
	OK(cuMemPrefetchAsync_v2(p, 4 * MIB, gpu, 0, NULL));
	EQUAL(0, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, p, 4 * MIB));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAdvise_v2(p, 4 * MIB, 77, gpu));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuMemRangeGetAttribute(&value, 8, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 4096));
	MUST(cuMemFree_v2(p));
}

int main(void)
{
	context = check_context();
	device_memory();
	host_memory();
	memory_without_address();
	pool_memory();
	managed_memory();
	return check_done();
}
