// SPDX-License-Identifier: Apache-2.0
//
// memory_quota MIB: the tenant may use so much device memory and not more; what is told fits; freed memory
// can be used again; the refusal is an ordinary one and the process goes on.
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

int main(int argc, char **argv)
{
	static CUdeviceptr chunks[4096];
	size_t quota = argc > 1 ? strtoul(argv[1], NULL, 10) * MIB : 0, free_bytes, total, device_total;
	CUdeviceptr ptr;
	if (!quota || quota > 4096 * CHUNK * MIB)
		check_bail("usage: memory_quota MIB");
	check_context();
	OK(cuDeviceTotalMem_v2(&device_total, 0));
	OK(cuMemGetInfo_v2(&free_bytes, &total));
	CHECK(total <= quota && device_total <= quota, "total %zu and %zu are within the quota %zu", total,
	      device_total, quota);
	CHECK(free_bytes <= total && free_bytes > quota / 2, "free %zu", free_bytes);
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&ptr, quota + 1));
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
	return check_done();
}
