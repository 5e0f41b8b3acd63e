// SPDX-License-Identifier: Apache-2.0
// Device memory and pinned memory. What is allocated is remembered, in trees under one lock, so that a wrong
// address is told by the call that names it. Runs in the program, in any of its threads.
#include <search.h>
#include <stdlib.h>

#include "guest/client/calls_gen.h"
#include "guest/libvgpu/libvgpu.h"

struct lv_block {
	uint64_t base, bytes;
};

// Blocks do not overlap: one that meets another is the same for the tree.
static int order(const void *a, const void *b)
{
	const struct lv_block *x = a, *y = b;

	if (x->base + x->bytes <= y->base)
		return -1;
	return y->base + y->bytes <= x->base;
}

static int remember(struct vgpu *gpu, void **tree, uint64_t base, uint64_t bytes)
{
	struct lv_block *block = malloc(sizeof(*block)), **found;
	int result = VGPU_OK;

	if (!block)
		return VGPU_E_HOST_MEMORY;
	*block = (struct lv_block){ base, bytes };
	pthread_mutex_lock(&gpu->memory_lock);
	// Looked at under the lock: tdelete moves blocks from node to node.
	found = tsearch(block, tree, order);
	if (!found)
		result = VGPU_E_HOST_MEMORY;
	else if (*found != block)
		result = VGPU_E_UNEXPECTED;
	pthread_mutex_unlock(&gpu->memory_lock);
	if (result)
		free(block);
	return result;
}

// Takes the block that begins at base out of the tree; its bytes, 0 if there is none.
static uint64_t forget(struct vgpu *gpu, void **tree, uint64_t base)
{
	struct lv_block probe = { base, 1 }, **found, *block = NULL;
	uint64_t bytes = 0;

	pthread_mutex_lock(&gpu->memory_lock);
	found = tfind(&probe, tree, order);
	if (found && (*found)->base == base) {
		block = *found;
		bytes = block->bytes;
		tdelete(block, tree, order);
	}
	pthread_mutex_unlock(&gpu->memory_lock);
	free(block);
	return bytes;
}

bool lv_host_contains(struct vgpu *gpu, const void *p, size_t bytes)
{
	struct lv_block probe = { (uintptr_t)p, 1 }, **found;
	bool inside;

	pthread_mutex_lock(&gpu->memory_lock);
	found = tfind(&probe, &gpu->host_memory, order);
	inside = found && bytes <= (*found)->bytes - (probe.base - (*found)->base);
	pthread_mutex_unlock(&gpu->memory_lock);
	return inside;
}

void lv_memory_done(struct vgpu *gpu)
{
	tdestroy(gpu->device_memory, free);
	tdestroy(gpu->host_memory, free);
}

LV_EXPORT int vgpu_alloc(struct vgpu *gpu, size_t bytes, uint64_t *ret_address)
{
	struct record_mem_alloc record = { .size = bytes };
	struct reply_mem_alloc reply;
	int result = lv_enter(gpu);

	if (result)
		return result;
	if (!bytes || !ret_address)
		return VGPU_E_ARGUMENT;
	result = lv_error(vgpu_call_mem_alloc(gpu->client, &record, &reply));
	if (result)
		return result;
	result = remember(gpu, &gpu->device_memory, reply.address, bytes);
	if (result) {
		vgpu_push_mem_free(gpu->client, &(struct record_mem_free){ .address = reply.address });
		return result;
	}
	*ret_address = reply.address;
	return VGPU_OK;
}

LV_EXPORT int vgpu_free(struct vgpu *gpu, uint64_t address)
{
	struct record_mem_free record = { .address = address };
	int result = lv_enter(gpu);

	if (result || !address)
		return result;
	if (!forget(gpu, &gpu->device_memory, address))
		return VGPU_E_ARGUMENT;
	return lv_error(vgpu_push_mem_free(gpu->client, &record));
}

LV_EXPORT int vgpu_memory(struct vgpu *gpu, uint64_t *ret_free, uint64_t *ret_total)
{
	struct reply_mem_info reply;
	int result = lv_enter(gpu);

	if (!result)
		result = lv_error(vgpu_call_mem_info(gpu->client, &reply));
	if (!result && ret_free)
		*ret_free = reply.free;
	if (!result && ret_total)
		*ret_total = reply.total;
	return result;
}

LV_EXPORT int vgpu_host_alloc(struct vgpu *gpu, size_t bytes, void **ret)
{
	int result = lv_enter(gpu);
	void *p;

	if (result)
		return result;
	if (!bytes || !ret)
		return VGPU_E_ARGUMENT;
	result = lv_error(vgpu_pinned_alloc(gpu->client, bytes, &p));
	if (result)
		return result == VGPU_E_MEMORY ? VGPU_E_HOST_MEMORY : result;
	result = remember(gpu, &gpu->host_memory, (uintptr_t)p, bytes);
	if (result)
		vgpu_pinned_free(gpu->client, p, bytes);
	else
		*ret = p;
	return result;
}

LV_EXPORT int vgpu_host_free(struct vgpu *gpu, void *memory)
{
	int result = lv_enter(gpu);
	uint64_t bytes;

	if (result || !memory)
		return result;
	bytes = forget(gpu, &gpu->host_memory, (uintptr_t)memory);
	if (!bytes)
		return VGPU_E_ARGUMENT;
	vgpu_pinned_free(gpu->client, memory, bytes);
	return VGPU_OK;
}

LV_EXPORT int vgpu_host_address(struct vgpu *gpu, const void *memory, uint64_t *ret_address)
{
	int result = lv_enter(gpu);

	if (result)
		return result;
	if (!ret_address || !lv_host_contains(gpu, memory, 1))
		return VGPU_E_ARGUMENT;
	*ret_address = vgpu_client_gpu_address(gpu->client, memory);
	return VGPU_OK;
}
