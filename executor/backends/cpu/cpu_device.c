// SPDX-License-Identifier: Apache-2.0
// What the cpu device says of itself: one table of attributes, and occupancy computed from the same figures.
// Executor process, loop thread. Attributes not named are 0: the device has no caches worth telling
// and none of the sharing features.
#include "executor/backends/cpu/cpu_backend.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CLOCK_KHZ 2000000
#define REGISTER_UNIT	  256 // registers are given to warps in pieces of this size

unsigned cpu_thread_count(void)
{
	const char *text = getenv("VGPU_CPU_THREADS");
	cpu_set_t set;
	int n = text ? (int)strtol(text, NULL, 10) : 0;

	if (n > 0 && n <= 1024)
		return (unsigned)n;
	CPU_ZERO(&set);
	if (!sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	return 1;
}

uint64_t cpu_memory_total(void)
{
	const char *text = getenv("VGPU_CPU_MEMORY");
	uint64_t total = text ? strtoull(text, NULL, 10) : 0;
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	if (!total)
		total = pages > 0 ? (uint64_t)pages * (uint64_t)page / 2 : VGPU_GIB(1);
	if (total > VGPU_WINDOW_BYTES - BACKEND_PRIVATE_WINDOW_BYTES)
		total = VGPU_WINDOW_BYTES - BACKEND_PRIVATE_WINDOW_BYTES;
	return total < CPU_GRANULARITY ? CPU_GRANULARITY : total;
}

// The first line of a small file, without its end. false: not readable.
static bool first_line(const char *path, char *ret, int room)
{
	FILE *f = fopen(path, "re");
	bool got = f && fgets(ret, room, f);

	if (f)
		fclose(f);
	if (got)
		ret[strcspn(ret, "\n")] = 0;
	return got;
}

static int32_t clock_khz(void)
{
	char text[32];
	long khz = 0;

	if (first_line("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", text, sizeof(text)))
		khz = strtol(text, NULL, 10);
	return khz > 0 && khz <= INT32_MAX ? (int32_t)khz : DEFAULT_CLOCK_KHZ;
}

static const struct {
	uint8_t attribute;
	int32_t value;
} fixed_attributes[] = {
	{ CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, PTX_MAX_BLOCK_THREADS },
	{ CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, PTX_MAX_BLOCK_THREADS },
	{ CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, PTX_MAX_BLOCK_THREADS },
	{ CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, CPU_BLOCK_Z },
	{ CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, CPU_GRID_X },
	{ CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, CPU_GRID_YZ },
	{ CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, CPU_GRID_YZ },
	{ CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, CPU_SHARED_DEFAULT },
	{ CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536 },
	{ CU_DEVICE_ATTRIBUTE_WARP_SIZE, CPU_WARP },
	{ CU_DEVICE_ATTRIBUTE_MAX_PITCH, INT32_MAX },
	{ CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, CPU_SM_REGISTERS },
	{ CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512 }, // a divisor in programs, so not 0
	{ CU_DEVICE_ATTRIBUTE_INTEGRATED, 1 },
	{ CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1 },
	// Arrays and textures: what a device of this compute capability has, with the surfaces' below.
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH, 131072 },
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH, 131072 },
	{ 23, 65536 },
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH, 16384 },
	{ 25, 16384 },
	{ 26, 16384 },
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH, 32768 },
	{ 28, 32768 },
	{ 29, 2048 },
	{ 30, 512 }, // surface alignment
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 32768 },
	{ 43, 2048 },
	{ 45, 32768 },
	{ 46, 32768 }, // with gather
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH, 32768 },
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH, 32768 },
	{ 54, 2046 },
	{ 55, 32768 },
	{ 56, 131072 },
	{ 57, 65536 },
	{ 58, 16384 },
	{ 59, 16384 },
	{ 60, 16384 },
	{ 61, 32768 },
	{ 62, 2048 },
	{ 63, 32768 },
	{ 64, 32768 },
	{ 65, 2048 },
	{ CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH, CPU_TEXTURE_LINEAR },
	{ 70, 131070 }, // two-dimensional memory: width, height, pitch
	{ 71, 65535 },
	{ 72, 2097120 },
	{ 73, 32768 }, // mipmapped
	{ 74, 32768 },
	{ 77, 16384 },
	{ CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, 0x1f },
	{ 37, 64 }, // memory bus width, bits
	{ CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, CPU_SM_THREADS },
	{ CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1 },
	{ 51, 32 }, // texture pitch alignment, a divisor as well
	{ CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CPU_SM_MAJOR },
	{ CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, CPU_SM_MINOR },
	{ 79, 1 }, // global loads are cached
	{ 80, 1 }, // local loads are cached
	{ CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, CPU_SM_SHARED },
	{ CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, CPU_SM_REGISTERS },
	{ 86, 1 }, // atomics on host memory: it is the same memory
	{ 87, 2 }, // single to double precision performance
	{ 91, 1 }, // registered memory keeps its address
	{ CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, CPU_SHARED_OPTIN },
	{ 99, 1 }, // host memory can be registered
	{ CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, CPU_SM_BLOCKS },
	{ CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, CPU_SHARED_RESERVED },
	{ CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1 },
	{ CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1 }, // made by the guest's library
	{ CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 1 },
	{ CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 1 },
	{ 126, 1 },  // memory synchronisation domains
	{ 131, -1 }, // NUMA id: none
};

// The same on every start on this host, another on another host; tells nothing of the host.
static void make_uuid(uint8_t ret[16])
{
	static const uint8_t prefix[8] = { 'v', 'g', 'p', 'u', '-', 'c', 'p', 'u' };
	uint64_t hash = 0xcbf29ce484222325ull;
	char id[64] = "";

	if (!first_line("/etc/machine-id", id, sizeof(id)))
		gethostname(id, sizeof(id) - 1);
	for (const char *p = id; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 0x100000001b3ull;
	memcpy(ret, prefix, sizeof(prefix));
	memcpy(ret + sizeof(prefix), &hash, sizeof(hash));
}

void cpu_attributes(int32_t *ret)
{
	for (size_t i = 0; i < sizeof(fixed_attributes) / sizeof(fixed_attributes[0]); i++)
		ret[fixed_attributes[i].attribute] = fixed_attributes[i].value;
}

void cpu_device_read(struct backend *b)
{
	struct reply_device_info info = {
		.total_memory = b->memory_total,
		.driver_version = CPU_DRIVER_VERSION,
		.attribute_count = CU_DEVICE_ATTRIBUTE_COUNT,
	};
	long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);

	cpu_attributes(info.attributes);
	info.attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] = (int32_t)b->threads;
	info.attributes[CU_DEVICE_ATTRIBUTE_CLOCK_RATE] = clock_khz();
	info.attributes[36] = info.attributes[CU_DEVICE_ATTRIBUTE_CLOCK_RATE]; // memory clock
	info.attributes[38] = l2 > 0 && l2 <= INT32_MAX ? (int32_t)l2 : 0;
	snprintf(info.name, sizeof(info.name), "vgpu CPU device (PTX on %u cores)", b->threads);
	make_uuid(info.uuid);
	b->info = info;
}

int cpu_device_info(struct backend *b, struct reply_device_info *ret)
{
	*ret = b->info;
	return 0;
}

int cpu_occupancy(struct backend *b, struct backend_function *f, uint32_t block_threads,
		  uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks)
{
	uint64_t warps = (block_threads + CPU_WARP - 1) / CPU_WARP;
	uint64_t registers = f->info->regs_estimate * (uint64_t)CPU_WARP, blocks, limit;

	(void)flags;
	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	if (!block_threads)
		return CUDA_ERROR_INVALID_VALUE;
	if (block_threads > f->info->max_threads || dynamic_shared > (uint64_t)f->max_dynamic) {
		*ret_blocks = 0;
		return 0;
	}
	blocks = CPU_SM_THREADS / (warps * CPU_WARP);
	if (blocks > CPU_SM_BLOCKS)
		blocks = CPU_SM_BLOCKS;
	limit = CPU_SM_SHARED / (f->info->shared_static + dynamic_shared + CPU_SHARED_RESERVED);
	if (blocks > limit)
		blocks = limit;
	registers = (registers + REGISTER_UNIT - 1) / REGISTER_UNIT * REGISTER_UNIT * warps;
	if (registers && blocks > CPU_SM_REGISTERS / registers)
		blocks = CPU_SM_REGISTERS / registers;
	*ret_blocks = (int32_t)blocks;
	return 0;
}
