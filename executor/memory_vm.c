// SPDX-License-Identifier: Apache-2.0
// Addresses and memory apart: reservations of the window, memory without an address, mappings of one in the
// other (docs/decisions/0009). Called by the handlers of vm_* records in an executor.
#include <stdlib.h>

#include "common/limits.h"
#include "executor/memory_internal.h"
#include "executor/objects.h"
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

int32_t memory_create(struct memory *m, uint64_t size, uint32_t handle_types, struct physical **ret)
{
	struct physical *p;
	int r;

	if (!m->granule)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!granular(m, 0, size))
		return CUDA_ERROR_INVALID_VALUE;
	p = calloc(1, sizeof(*p));
	if (!p || !memory_charge(m, size)) {
		free(p);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	r = memory_is_leased(m, 0) ? m->ops->physical_create(m->backend, size, handle_types, &p->backend)
				   : CUDA_ERROR_OUT_OF_MEMORY;
	if (r == CUDA_ERROR_OUT_OF_MEMORY)
		memory_refuse(m, size);
	if (r) {
		memory_uncharge(m, size);
		free(p);
		return r;
	}
	p->size = size;
	p->references = 1;
	LIST_INSERT_HEAD(&m->physicals, p, link);
	*ret = p;
	return CUDA_SUCCESS;
}

int32_t memory_adopt(struct memory *m, struct backend_physical *backend, uint64_t size, struct physical **ret)
{
	struct physical *p = calloc(1, sizeof(*p));

	if (!p) {
		m->ops->physical_free(m->backend, backend);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*p = (struct physical){ .backend = backend, .size = size, .references = 1 };
	LIST_INSERT_HEAD(&m->physicals, p, link);
	*ret = p;
	return CUDA_SUCCESS;
}

int32_t memory_unref(struct memory *m, struct physical *p)
{
	int r;

	if (--p->references)
		return CUDA_SUCCESS;
	if (p->share.kind != SHARE_TAKEN)
		memory_uncharge_shared(m, 0, p, p->size);
	LIST_REMOVE(p, link);
	memory_store_drop(m, &p->store, p->size);
	r = m->ops->physical_free(m->backend, p->backend);
	if (p->share.kind == SHARE_TAKEN)
		m->unshare(m->unshare_opaque, 0, p);
	free(p);
	return r;
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

int32_t memory_map(struct memory *m, struct physical *p, uint64_t address, uint64_t size, uint64_t offset)
{
	struct memory_block *b;
	int r;

	if (!granular(m, address, size) || offset % m->granule || size > p->size || offset > p->size - size ||
	    !is_reserved(m, address, size) || block_meeting(m, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	b = m->n_blocks < VGPU_MAX_ALLOCATIONS ? calloc(1, sizeof(*b)) : NULL;
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = m->ops->physical_map(m->backend, address, size, p->backend, offset);
	if (r) {
		free(b);
		return r;
	}
	*b = (struct memory_block){ .address = address,
				    .size = size,
				    .kind = BLOCK_MAPPED,
				    .physical = p,
				    .offset = offset,
				    .access = VM_ACCESS_NONE };
	memory_block_insert(m, b);
	p->references++;
	return CUDA_SUCCESS;
}

// The mapping behind b that follows it without a gap, NULL: there is none.
static struct memory_block *next_mapping(const struct memory *m, const struct memory_block *b)
{
	struct memory_block *next = memory_block_at(m, b->address + b->size);

	return next && next->kind == BLOCK_MAPPED ? next : NULL;
}

bool memory_is_mapped(const struct memory *m, uint64_t address, uint64_t size)
{
	const struct memory_block *b = memory_block_at(m, address);

	if (!b || b->kind != BLOCK_MAPPED)
		return false;
	while (b && b->size < size) {
		size -= b->size;
		b = next_mapping(m, b);
	}
	return b && b->size == size;
}

int32_t memory_access(struct memory *m, uint64_t address, uint64_t size, enum vm_access access)
{
	struct memory_block *b;
	int r;

	if (!memory_is_mapped(m, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	r = m->ops->physical_access(m->backend, address, size, access);
	if (r)
		return r;
	for (b = memory_block_at(m, address); size; b = next_mapping(m, b)) {
		b->access = access;
		size -= b->size;
	}
	return CUDA_SUCCESS;
}

int32_t memory_unmap(struct memory *m, uint64_t address, uint64_t size)
{
	int32_t r = CUDA_SUCCESS;

	if (!memory_is_mapped(m, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	while (size && !r) {
		struct memory_block *b = memory_block_at(m, address);

		address += b->size;
		size -= b->size;
		r = memory_block_free(m, b);
	}
	return r;
}
