// SPDX-License-Identifier: Apache-2.0
// Occupancy: how many blocks fit is the executor's driver's answer, the last one of each function is kept;
// the other questions are worked out from it. Those about clusters are asked each time. Runs in the guest
// program.
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

#define WARP 32
// Question and answer in one word: flags 1 bit, blocks + 1 12 bits, threads 11 bits, shared bytes 40 bits.
#define PACK(shared, threads, flags) \
	((uint64_t)(shared) << 24 | (uint64_t)(threads) << 13 | (uint64_t)(flags) << 12)
#define PACK_BLOCKS 0xfffull

CUresult vc_function_blocks(struct vc_function *f, int threads, size_t shared, unsigned int flags,
			    int *blocks)
{
	struct record_occupancy record = { .function = vc_object_handle(VC_FUNCTION, f),
					   .dynamic_shared = shared,
					   .block_threads = (uint32_t)threads,
					   .flags = flags };
	uint64_t question = PACK(shared, threads, flags), known = atomic_load(&f->occupancy);
	struct reply_occupancy reply;
	CUresult result;

	if (known && (known & ~PACK_BLOCKS) == question) {
		*blocks = (int)(known & PACK_BLOCKS) - 1;
		return CUDA_SUCCESS;
	}
	result = (CUresult)vgpu_call_occupancy(vc_client, &record, &reply);
	if (result)
		return result;
	*blocks = reply.blocks;
	if (reply.blocks >= 0 && (uint64_t)reply.blocks < PACK_BLOCKS - 1 && shared < 1ull << 40)
		atomic_store(&f->occupancy, question | (uint64_t)(reply.blocks + 1));
	return CUDA_SUCCESS;
}

static CUresult enter_function(CUfunction function, struct vc_function **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	*ret = vc_function_find(function);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static int max_threads(const struct vc_function *f)
{
	int own = atomic_load(&f->attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK]);
	int device = vc_device.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK];

	return own < device ? own : device;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
							      int block_size, size_t shared,
							      unsigned int flags)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	if (!blocks || block_size <= 0 || (flags & ~CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE))
		return CUDA_ERROR_INVALID_VALUE;
	if (block_size > max_threads(f)) {
		*blocks = 0;
		return CUDA_SUCCESS;
	}
	return vc_function_blocks(f, block_size, shared, flags, blocks);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size,
						     size_t shared)
{
	return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size, shared,
								    CU_OCCUPANCY_DEFAULT);
}

// The block size with the most threads on a multiprocessor, the largest of equals.
CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *min_grid, int *block, CUfunction function,
						   CUoccupancyB2DSize shared_of, size_t shared, int limit,
						   unsigned int flags)
{
	int best_threads = 0, best_block = 0, best_blocks = 0, size;
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	if (!min_grid || !block || limit < 0 || (flags & ~CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE))
		return CUDA_ERROR_INVALID_VALUE;
	size = max_threads(f);
	if (limit && limit < size)
		size = limit;
	while (size > 0 &&
	       best_threads < vc_device.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR]) {
		int blocks;

		result = vc_function_blocks(f, size, shared_of ? shared_of(size) : shared, flags, &blocks);
		if (result)
			return result;
		if (blocks * size > best_threads) {
			best_threads = blocks * size;
			best_block = size;
			best_blocks = blocks;
		}
		size = (size - 1) / WARP * WARP;
	}
	*block = best_block;
	*min_grid = best_blocks * vc_device.attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT];
	return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSize(int *min_grid, int *block, CUfunction function,
					  CUoccupancyB2DSize shared_of, size_t shared, int limit)
{
	return cuOccupancyMaxPotentialBlockSizeWithFlags(min_grid, block, function, shared_of, shared, limit,
							 CU_OCCUPANCY_DEFAULT);
}

// The most dynamic shared memory with which `blocks` blocks still fit.
CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *shared, CUfunction function, int blocks,
						 int block_size)
{
	const size_t step = 128;
	size_t low = 0, high;
	struct vc_function *f;
	CUresult result = enter_function(function, &f);
	int fit;

	if (result)
		return result;
	if (!shared || blocks <= 0 || block_size <= 0 || block_size > max_threads(f))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_function_blocks(f, block_size, 0, CU_OCCUPANCY_DEFAULT, &fit);
	if (result)
		return result;
	if (fit < blocks)
		return CUDA_ERROR_INVALID_VALUE;
	high = (size_t)vc_device.attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN] / step + 1;
	while (high - low > 1) { // low fits, high does not
		size_t middle = low + (high - low) / 2;

		result = vc_function_blocks(f, block_size, middle * step, CU_OCCUPANCY_DEFAULT, &fit);
		if (result)
			return result;
		if (fit >= blocks)
			low = middle;
		else
			high = middle;
	}
	*shared = low * step;
	return CUDA_SUCCESS;
}

// Attributes that say when or behind what a launch runs, by objects of this process: no answer depends on
// them.
static int attribute_counts(int id)
{
	switch (id) {
	case CU_LAUNCH_ATTRIBUTE_IGNORE:
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
	case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
	case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE: return 0;
	default: return 1;
	}
}

// The shape is the driver's to judge: some of these questions do not look at all of it.
static CUresult ask_clusters(int *value, CUfunction function, const CUlaunchConfig *config,
			     enum cluster_question what)
{
	CUlaunchAttribute attributes[VGPU_MAX_LAUNCH_ATTRS];
	struct record_occupancy_clusters record = { .what = what };
	struct reply_occupancy_clusters reply;
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	if (!value || !config || (config->numAttrs && !config->attrs))
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < config->numAttrs; i++) {
		if (!attribute_counts(config->attrs[i].id))
			continue;
		if (record.n_attributes == VGPU_MAX_LAUNCH_ATTRS)
			return CUDA_ERROR_INVALID_VALUE;
		attributes[record.n_attributes] = config->attrs[i];
		memset(attributes[record.n_attributes++].pad, 0, sizeof(attributes[0].pad));
	}
	record.function = vc_object_handle(VC_FUNCTION, f);
	record.grid_x = config->gridDimX;
	record.grid_y = config->gridDimY;
	record.grid_z = config->gridDimZ;
	record.block_x = config->blockDimX;
	record.block_y = config->blockDimY;
	record.block_z = config->blockDimZ;
	record.dynamic_shared = config->sharedMemBytes;
	result = (CUresult)vgpu_call_occupancy_clusters(
	    vc_client, &record, attributes, record.n_attributes * (uint32_t)sizeof(attributes[0]), &reply);
	if (!result)
		*value = reply.value;
	return result;
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function, const CUlaunchConfig *config)
{
	return ask_clusters(clusters, function, config, CLUSTER_QUESTION_ACTIVE);
}

CUresult cuOccupancyMaxPotentialClusterSize(int *size, CUfunction function, const CUlaunchConfig *config)
{
	return ask_clusters(size, function, config, CLUSTER_QUESTION_POTENTIAL);
}
