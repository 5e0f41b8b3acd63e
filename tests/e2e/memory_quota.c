// SPDX-License-Identifier: Apache-2.0
//
// memory_quota MIB: the tenant may use so much device memory and not more, in whatever way it is allocated;
// what is told fits; freed memory can be used again; the refusal is an ordinary one and the process goes on.
#include "tests/e2e/check.h"

#include <stdlib.h>

enum { CHUNK = 4 };

static size_t take_all(CUdeviceptr *chunks, size_t most)
{
	size_t n = 0;
	CUresult result = CUDA_SUCCESS;
	while (n < most && (result = cuMemAlloc_v2(&chunks[n], CHUNK * MIB)) == CUDA_SUCCESS)
		n++;
	EQUAL(CUDA_ERROR_OUT_OF_MEMORY, result);
	return n;
}

// ---- the other ways to allocate

static CUresult by_pitch(CUdeviceptr *p)
{
	size_t pitch;

	return cuMemAllocPitch_v2(p, &pitch, 4096, CHUNK * MIB / 4096, 4);
}

static CUresult by_pool(CUdeviceptr *p)
{
	return cuMemAllocAsync(p, CHUNK * MIB, NULL);
}

static CUresult without_address(CUdeviceptr *p)
{
	const CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					   .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };

	return cuMemCreate((CUmemGenericAllocationHandle *)p, CHUNK * MIB, &prop, 0);
}

static CUresult free_now(CUdeviceptr p)
{
	return cuMemFree_v2(p);
}

static CUresult free_in_order(CUdeviceptr p)
{
	return cuMemFreeAsync(p, NULL);
}

static CUresult release(CUdeviceptr p)
{
	return cuMemRelease(p);
}

// As much as by cuMemAlloc can be had that way, not more; then nothing is left for any other, and nothing is
// lost.
static void each_way(CUdeviceptr *chunks, size_t quota)
{
	static const struct {
		const char *name;
		CUresult (*take)(CUdeviceptr *p);
		CUresult (*give)(CUdeviceptr p);
	} ways[] = {
		{ "cuMemAllocPitch", by_pitch, free_now },
		{ "cuMemAllocAsync", by_pool, free_in_order },
		{ "cuMemCreate", without_address, release },
	};
	CUdeviceptr other[3];

	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		CUresult result = CUDA_SUCCESS;
		size_t n = 0;

		while (n < 4096 && !(result = ways[w].take(&chunks[n])))
			n++;
		EQUAL(CUDA_ERROR_OUT_OF_MEMORY, result);
		CHECK(n * CHUNK * MIB <= quota && (n + 2) * CHUNK * MIB >= quota, "%s: %zu MiB of %zu",
		      ways[w].name, n * CHUNK, quota / MIB);
		for (size_t v = 0; v < sizeof(ways) / sizeof(ways[0]); v++)
			EXPECT(CUDA_ERROR_OUT_OF_MEMORY, ways[v].take(&other[v]));
		for (size_t i = 0; i < n; i++)
			MUST(ways[w].give(chunks[i]));
	}
	// A pool's reserve gives way to whoever asks.
	OK(cuMemAllocAsync(&other[0], CHUNK * MIB, NULL));
	MUST(cuMemFreeAsync(other[0], NULL));
}

// What is shown in two places counts once.
static void shown_twice(size_t quota)
{
	const CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					   .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	size_t half = quota / 2 / (2 * MIB) * (2 * MIB), before, after, total;
	CUmemGenericAllocationHandle handle;
	CUdeviceptr at;

	MUST(cuMemGetInfo_v2(&before, &total));
	MUST(cuMemAddressReserve(&at, 2 * half, 0, 0, 0));
	MUST(cuMemCreate(&handle, half, &prop, 0));
	OK(cuMemMap(at, half, 0, handle, 0));
	OK(cuMemMap(at + half, half, 0, handle, 0));
	MUST(cuMemGetInfo_v2(&after, &total));
	EQUAL(before, after + half);
	OK(cuMemRelease(handle));
	OK(cuMemUnmap(at, half));
	MUST(cuMemGetInfo_v2(&after, &total));
	EQUAL(before, after + half);
	OK(cuMemUnmap(at + half, half));
	OK(cuMemAddressFree(at, 2 * half));
	MUST(cuCtxSynchronize());
	MUST(cuMemGetInfo_v2(&after, &total));
	EQUAL(before, after);
}

// An array of a little more than half the quota: a second one, or as much memory, has no place beside it.
static void arrays(size_t quota)
{
	CUDA_ARRAY_DESCRIPTOR desc = { 4096, quota / 2 / (4096 * 16) + 64, CU_AD_FORMAT_FLOAT, 4 };
	CUarray array, second;
	CUdeviceptr ptr;
	OK(cuArrayCreate_v2(&array, &desc));
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuArrayCreate_v2(&second, &desc));
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&ptr, quota / 2));
	OK(cuArrayDestroy(array));
	OK(cuArrayCreate_v2(&array, &desc));
	OK(cuArrayDestroy(array));
	OK(cuMemAlloc_v2(&ptr, quota / 2));
	OK(cuMemFree_v2(ptr));
}

int main(int argc, char **argv)
{
	static CUdeviceptr chunks[4096];
	size_t quota = argc > 1 ? strtoul(argv[1], NULL, 10) * MIB : 0, free_bytes, total, device_total;
	CUdeviceptr ptr;
	int apart = 0;
	if (!quota || quota > 4096 * CHUNK * MIB)
		check_bail("usage: memory_quota MIB");
	check_context();
	OK(cuDeviceTotalMem_v2(&device_total, 0));
	OK(cuMemGetInfo_v2(&free_bytes, &total));
	CHECK(total <= quota && device_total <= quota, "total %zu and %zu are within the quota %zu", total,
	      device_total, quota);
	CHECK(free_bytes <= total && free_bytes > quota / 2, "free %zu", free_bytes);
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&ptr, quota + 1));
	arrays(quota);
	size_t n = take_all(chunks, 4096);
	CHECK(n * CHUNK * MIB <= quota && (n + 2) * CHUNK * MIB >= quota, "%zu MiB could be had of %zu",
	      n * CHUNK, quota / MIB);
	OK(cuMemGetInfo_v2(&free_bytes, &total));
	CHECK(free_bytes < CHUNK * MIB, "then %zu bytes are free", free_bytes);
	for (size_t i = 0; i < n; i++)
		MUST(cuMemFree_v2(chunks[i]));
	EQUAL(n, take_all(chunks, 4096));
	OK(cuMemsetD8_v2(chunks[0], 1, CHUNK * MIB));
	OK(cuCtxSynchronize());
	for (size_t i = 0; i < n; i++)
		MUST(cuMemFree_v2(chunks[i]));
	MUST(cuDeviceGetAttribute(&apart, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
	if (apart) {
		each_way(chunks, quota);
		OK(cuCtxSynchronize());
		shown_twice(quota);
	}
	EQUAL(n, take_all(chunks, 4096)); // nothing was lost on the way
	return check_done();
}
