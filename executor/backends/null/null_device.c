// SPDX-License-Identifier: Apache-2.0
// Figures of the null backend's device; see the header. They are those that programs are known to run with on
// a compute capability 9.0 device. Attributes that are not listed are 0.
#include "executor/backends/null/null_device.h"

#include <string.h>

#include "protocol/cuda/cuda_abi.h"

static const struct {
	int16_t attribute;
	int32_t value;
} attributes[] = {
	// clang-format off
	{ 1, 1024 }, { 2, 1024 }, { 3, 1024 }, { 4, 64 }, { 5, 2147483647 }, { 6, 65535 }, { 7, 65535 },
	{ 8, 49152 }, { 9, 65536 }, { 10, 32 }, { 11, 2147483647 }, { 12, 65536 }, { 13, 1980000 },
	{ 14, 512 }, { 15, 1 }, { 16, 132 }, { 19, 1 }, { 21, 131072 }, { 22, 131072 }, { 23, 65536 },
	{ 24, 16384 }, { 25, 16384 }, { 26, 16384 }, { 27, 32768 }, { 28, 32768 }, { 29, 2048 },
	{ 30, 512 }, { 31, 1 }, { 32, 1 }, { 36, 2619000 }, { 37, 5120 }, { 38, 52428800 }, { 39, 2048 },
	{ 40, 3 }, { 41, 1 }, { 42, 32768 }, { 43, 2048 }, { 44, 1 }, { 45, 32768 }, { 46, 32768 },
	{ 47, 8192 }, { 48, 8192 }, { 49, 32768 }, { 51, 32 }, { 52, 32768 }, { 53, 32768 },
	{ 54, 2046 }, { 55, 32768 }, { 56, 131072 }, { 57, 65536 }, { 58, 16384 }, { 59, 16384 },
	{ 60, 16384 }, { 61, 32768 }, { 62, 2048 }, { 63, 32768 }, { 64, 32768 }, { 65, 2048 },
	{ 66, 32768 }, { 67, 32768 }, { 68, 2046 }, { 69, 268435456 }, { 70, 131072 }, { 71, 65000 },
	{ 72, 2097120 }, { 73, 32768 }, { 74, 32768 }, { 75, 9 }, { 77, 32768 }, { 78, 1 }, { 79, 1 },
	{ 80, 1 }, { 81, 233472 }, { 82, 65536 }, { 83, 1 }, { 87, 2 }, { 89, 1 }, { 90, 1 }, { 91, 1 },
	{ 95, 1 }, { 96, 1 }, { 97, 232448 }, { 99, 1 }, { 102, 1 }, { 103, 1 }, { 106, 32 }, { 107, 1 },
	{ 108, 32768000 }, { 109, 134217728 }, { 110, 1 }, { 111, 1024 }, { 112, 1 }, { 113, 1 },
	{ 114, 1 }, { 115, 1 }, { 116, 1 }, { 117, 1 }, { 118, 100 }, { 119, 9 }, { 120, 1 }, { 121, 1 },
	{ 122, 1 }, { 123, 1 }, { 124, 1 }, { 125, 1 }, { 126, 4 }, { 127, 1 }, { 128, 1 }, { 129, 1 },
	{ 131, -1 }, { 141, 1 }, { 142, 1 }, { 144, 1 }, { 145, 1 },
	// clang-format on
};

void null_device_info(struct reply_device_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->total_memory = NULL_DEVICE_MEMORY;
	ret->driver_version = 13000;
	ret->attribute_count = CU_DEVICE_ATTRIBUTE_COUNT;
	memcpy(ret->uuid, "vgpu-null-device", sizeof(ret->uuid));
	memcpy(ret->name, "vgpu null device", sizeof("vgpu null device"));
	for (unsigned i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		ret->attributes[attributes[i].attribute] = attributes[i].value;
}

void null_device_limits(uint64_t ret[NULL_LIMITS])
{
	memset(ret, 0, NULL_LIMITS * sizeof(ret[0]));
	ret[CU_LIMIT_STACK_SIZE] = 1024;
	ret[CU_LIMIT_PRINTF_FIFO_SIZE] = 8650752;
	ret[CU_LIMIT_MALLOC_HEAP_SIZE] = VGPU_MIB(8);
	ret[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
	ret[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
	ret[CU_LIMIT_PERSISTING_L2_CACHE_SIZE] = 9830400;
	ret[CU_LIMIT_SHMEM_SIZE] = NULL_SHARED_OPTIN;
}

void null_function_attributes(int32_t ret[16])
{
	memset(ret, 0, 16 * sizeof(ret[0]));
	ret[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 1024;
	ret[CU_FUNC_ATTRIBUTE_NUM_REGS] = 8;
	ret[CU_FUNC_ATTRIBUTE_PTX_VERSION] = 70;
	ret[CU_FUNC_ATTRIBUTE_BINARY_VERSION] = 90;
	ret[CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = -1;
}

int32_t null_device_occupancy(uint32_t block_threads, uint64_t dynamic_shared)
{
	const uint32_t warps = (block_threads + 31) / 32, reserved = 1024, shared = 233472;
	uint64_t blocks = 64 / warps;

	if (dynamic_shared > NULL_SHARED_OPTIN)
		return 0;
	if (blocks > 32)
		blocks = 32;
	if (blocks > shared / (dynamic_shared + reserved))
		blocks = shared / (dynamic_shared + reserved);
	return (int32_t)blocks;
}
