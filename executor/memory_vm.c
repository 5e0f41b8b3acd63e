// SPDX-License-Identifier: Apache-2.0
// Addresses and memory apart: reservations of the window, memory that is set aside, mappings of one in the
// other (docs/decisions/0009). Called by the handlers of vm_* records in an executor.
#include <stdlib.h>

#include "common/limits.h"
#include "executor/memory_internal.h"
#include "protocol/cuda/cuda_abi.h"

static bool granular(const struct memory *m, uint64_t address, uint64_t size)
{
	return size && size <= VGPU_WINDOW_BYTES && !((address | size) % m->granule);
}

int32_t memory_reserve(struct memory *m, uint64_t size, uint64_t hint, uint64_t *ret_address)
{
	struct memory_reservation *r;

	if (!m->granule)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!granular(m, 0, size))
		return CUDA_ERROR_INVALID_VALUE;
	if (m->n_reservations >= VGPU_MAX_RESERVATIONS)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = calloc(1, sizeof(*r));
	if (!r)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (hint && granular(m, hint, size))
		r->extent = memory_window_take_at(m, hint, size);
	if (!r->extent)
		r->extent = memory_window_take(m, size);
	if (!r->extent) {
		free(r);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	LIST_INSERT_HEAD(&m->reservations, r, link);
	m->n_reservations++;
	*ret_address = r->extent->address;
	return CUDA_SUCCESS;
}

void memory_reservation_free(struct memory *m, struct memory_reservation *r)
{
	LIST_REMOVE(r, link);
	m->n_reservations--;
	memory_window_give(m, r->extent);
	free(r);
}

// The first block that reaches into [address, address + size).
static struct memory_block *block_meeting(const struct memory *m, uint64_t address, uint64_t size)
{
	struct memory_block *last = memory_block_below(m, address + size - 1);

	return last && last->address + last->size > address ? last : NULL;
}

int32_t memory_unreserve(struct memory *m, uint64_t address)
{
	struct memory_reservation *r;

	LIST_FOREACH (r, &m->reservations, link)
		if (r->extent->address == address)
			break;
	if (!r || block_meeting(m, address, r->extent->size))
		return CUDA_ERROR_INVALID_VALUE;
	memory_reservation_free(m, r);
	return CUDA_SUCCESS;
}

int32_t memory_create(struct memory *m, uint64_t size)
{
	uint64_t left, total;
	int r;

	if (!m->granule)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!granular(m, 0, size))
		return CUDA_ERROR_INVALID_VALUE;
	r = m->ops->mem_available(m->backend, &left, &total);
	if (r)
		return r;
	if (left < m->aside || size > left - m->aside || !memory_charge(m, size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->aside += size;
	return CUDA_SUCCESS;
}

int32_t memory_release(struct memory *m, uint64_t size)
{
	if (size > m->aside)
		return CUDA_ERROR_INVALID_VALUE;
	m->aside -= size;
	memory_uncharge(m, size);
	return CUDA_SUCCESS;
}

static bool is_reserved(const struct memory *m, uint64_t address, uint64_t size)
{
	const struct memory_reservation *r;

	LIST_FOREACH (r, &m->reservations, link)
		if (address >= r->extent->address && size <= r->extent->size &&
		    address - r->extent->address <= r->extent->size - size)
			return true;
	return false;
}

int32_t memory_map(struct memory *m, uint64_t address, uint64_t size)
{
	struct memory_block *b;
	int r;

	if (!m->granule || !granular(m, address, size) || size > m->aside || !is_reserved(m, address, size) ||
	    block_meeting(m, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	b = m->n_blocks < VGPU_MAX_ALLOCATIONS ? calloc(1, sizeof(*b)) : NULL;
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = m->ops->mem_map(m->backend, address, size);
	if (r) {
		free(b);
		return r;
	}
	*b = (struct memory_block){ .address = address, .size = size, .kind = BLOCK_MAPPED };
	memory_block_insert(m, b);
	m->aside -= size; // the charge goes on with the mapping
	return CUDA_SUCCESS;
}

bool memory_is_mapped(const struct memory *m, uint64_t address, uint64_t size)
{
	const struct memory_block *b = memory_block_at(m, address);

	return b && b->kind == BLOCK_MAPPED && b->size == size;
}

int32_t memory_unmap(struct memory *m, uint64_t address, uint64_t size)
{
	return memory_is_mapped(m, address, size) ? memory_block_free(m, memory_block_at(m, address))
						  : CUDA_ERROR_INVALID_VALUE;
}
