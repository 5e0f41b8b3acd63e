// SPDX-License-Identifier: Apache-2.0
//
// Addresses and memory apart, as caching allocators use them: reserve much, create and map piece by piece,
// let kernels and copies run across the pieces, give back in any order.
#include <string.h>

#include "tests/e2e/check.h"

#define PIECE (2 * MIB)

static const CUmemAllocationProp pinned = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					    .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
static const CUmemAccessDesc access_all = { .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 },
					    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };

static void bad_arguments(void)
{
	CUmemAllocationProp odd = pinned;
	CUmemGenericAllocationHandle handle;
	CUdeviceptr p;
	size_t granularity = 0;

	OK(cuMemGetAllocationGranularity(&granularity, &pinned, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
	EQUAL(PIECE, granularity);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&p, 4096, 0, 0, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(NULL, PIECE, 0, 0, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&handle, 4096, &pinned, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&handle, PIECE, NULL, 0));
	odd.type = 77;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&handle, PIECE, &odd, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(0x1000, PIECE));
	if (check_backend() != BACKEND_NATIVE) // there a handle is an address that is read
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemRelease(12345));
}

static void pieces(void)
{
	enum { N = 4 };
	CUmemGenericAllocationHandle handles[N], again;
	CUmemAllocationProp prop;
	unsigned long long flags = 0;
	CUdeviceptr base, other;
	uint32_t *host;

	OK(cuMemAddressReserve(&base, 64 * PIECE, 0, 0, 0));
	EQUAL(0, base % PIECE);
	for (int i = 0; i < N; i++) {
		MUST(cuMemCreate(&handles[i], PIECE, &pinned, 0));
		OK(cuMemMap(base + (size_t)i * PIECE, PIECE, 0, handles[i], 0));
	}
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemMap(base, PIECE, 0, handles[0], 1));
	OK(cuMemSetAccess(base, N * PIECE, &access_all, 1));
	OK(cuMemGetAccess(&flags, &access_all.location, base + PIECE));
	EQUAL(CU_MEM_ACCESS_FLAGS_PROT_READWRITE, flags);
	OK(cuMemGetAllocationPropertiesFromHandle(&prop, handles[0]));
	EQUAL(CU_MEM_ALLOCATION_TYPE_PINNED, prop.type);
	OK(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(base + PIECE + 100)));
	OK(cuMemRelease(again));
	// The handle may go while its memory is mapped.
	for (int i = 0; i < N; i++)
		OK(cuMemRelease(handles[i]));
	OK(cuMemsetD32_v2(base, 0x01020304, N * PIECE / 4));
	MUST(cuCtxSynchronize());
	if (check_computes()) {
		MUST(cuMemAllocHost_v2((void **)&host, 64));
		OK(cuMemcpyDtoH_v2(host, base + PIECE - 32, 64)); // across the border of two pieces
		CHECK(host[0] == 0x01020304 && host[15] == 0x01020304, "both pieces hold the value");
		MUST(cuMemFreeHost(host));
	}
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(base, PIECE / 2));
	OK(cuMemUnmap(base + PIECE, PIECE));
	OK(cuMemUnmap(base, PIECE));
	OK(cuMemUnmap(base + 2 * PIECE, 2 * PIECE));
	OK(cuMemAddressFree(base, 64 * PIECE));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree(base, 64 * PIECE));
	// The place is free again, and a wish for it is heard.
	OK(cuMemAddressReserve(&other, 2 * PIECE, 0, base, 0));
	if (check_backend() != BACKEND_NATIVE) // the driver may give another place
		CHECK(other == base, "reserved where it was asked for");
	OK(cuMemAddressFree(other, 2 * PIECE));
}

// The word that the device reads at p; the caller looks only where work is executed.
static uint32_t word_at(CUdeviceptr p)
{
	uint32_t value = 0;

	OK(cuMemcpyDtoH_v2(&value, p, sizeof(value)));
	return value;
}

// One piece at two addresses: what is written at one is read at the other, and each goes on its own.
static void two_places(void)
{
	CUmemGenericAllocationHandle handle, again;
	unsigned long long flags = 99;
	CUdeviceptr base;

	MUST(cuMemAddressReserve(&base, 8 * PIECE, 0, 0, 0));
	MUST(cuMemCreate(&handle, 2 * PIECE, &pinned, 0));
	OK(cuMemMap(base, 2 * PIECE, 0, handle, 0));
	OK(cuMemMap(base + 4 * PIECE, 2 * PIECE, 0, handle, 0));
	OK(cuMemGetAccess(&flags, &access_all.location, base));
	EQUAL(CU_MEM_ACCESS_FLAGS_PROT_NONE, flags);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(&flags, base, 4)); // nobody may, yet
	OK(cuMemSetAccess(base, 2 * PIECE, &access_all, 1));
	OK(cuMemSetAccess(base + 4 * PIECE, 2 * PIECE, &access_all, 1));
	OK(cuMemsetD32_v2(base + PIECE, 77, 16));
	OK(cuMemsetD32_v2(base + 4 * PIECE, 88, 16));
	MUST(cuCtxSynchronize());
	if (check_computes()) {
		EQUAL(77, word_at(base + 5 * PIECE));
		EQUAL(88, word_at(base));
	}
	OK(cuMemRelease(handle)); // both mappings hold it
	OK(cuMemUnmap(base, 2 * PIECE));
	if (check_computes())
		EQUAL(77, word_at(base + 5 * PIECE));
	// A mapping gives the name back; through it the place that was left is filled again.
	OK(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(base + 4 * PIECE)));
	OK(cuMemMap(base + 2 * PIECE, 2 * PIECE, 0, again, 0));
	OK(cuMemSetAccess(base + 2 * PIECE, 2 * PIECE, &access_all, 1));
	if (check_computes())
		EQUAL(88, word_at(base + 2 * PIECE));
	OK(cuMemRelease(again));
	OK(cuMemUnmap(base + 2 * PIECE, 4 * PIECE)); // two mappings, side by side
	OK(cuMemUnmap(base + 2 * PIECE, 2 * PIECE)); // nothing is there any more
	OK(cuMemAddressFree(base, 8 * PIECE));
}

// Parts of a piece: the driver knows no offset but 0 as yet, and says that before anything else.
static void parts(void)
{
	CUmemGenericAllocationHandle handle;
	CUdeviceptr base;

	MUST(cuMemAddressReserve(&base, 8 * PIECE, 0, 0, 0));
	MUST(cuMemCreate(&handle, 4 * PIECE, &pinned, 0));
	OK(cuMemMap(base, 4 * PIECE, 0, handle, 0));
	EXPECT(CUDA_ERROR_NOT_SUPPORTED, cuMemMap(base + 4 * PIECE, PIECE, 4 * PIECE, handle, 0));
	EXPECT(CUDA_ERROR_NOT_SUPPORTED, cuMemMap(base + 4 * PIECE, PIECE, 4096, handle, 0));
	EXPECT(CUDA_ERROR_NOT_SUPPORTED, cuMemMap(base + 4 * PIECE, PIECE, 3 * PIECE, handle, 0));
	OK(cuMemUnmap(base, 4 * PIECE));
	OK(cuMemRelease(handle));
	OK(cuMemAddressFree(base, 8 * PIECE));
}

// What was created and never mapped is given back, and counted until then.
static void counted(void)
{
	CUmemGenericAllocationHandle handle;
	size_t before, with, after, total;

	MUST(cuMemGetInfo_v2(&before, &total));
	MUST(cuMemCreate(&handle, 32 * PIECE, &pinned, 0));
	MUST(cuMemGetInfo_v2(&with, &total));
	OK(cuMemRelease(handle));
	MUST(cuMemGetInfo_v2(&after, &total));
	EQUAL(before, after);
	if (check_backend() == BACKEND_NATIVE)
		EQUAL(before, with + 32 * PIECE);
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate(&handle, (total / PIECE + 1) * PIECE, &pinned, 0));
}

int main(void)
{
	check_context();
	bad_arguments();
	pieces();
	two_places();
	parts();
	counted();
	return check_done();
}
