// SPDX-License-Identifier: Apache-2.0
// The device memory allocator of one executor; see the header. Called by the handlers of mem_* records, by
// executor/copy.c for its checks and by executor/module.c for variables.
#include "executor/memory_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "protocol/cuda/cuda_abi.h"
#include "executor/tree.h" // last

struct memory_chunk {
	LIST_ENTRY(memory_chunk) link; // in roomy, while free_units is not 0
	struct memory_extent *extent;  // the chunk's place
	uint32_t free_units;
	uint32_t longest; // no free run is longer
	uint64_t used[];  // bit per unit
};

static int block_compare(struct memory_block *a, struct memory_block *b)
{
	return a->address < b->address ? -1 : a->address > b->address;
}

RB_GENERATE_STATIC(memory_blocks, memory_block, by_address, block_compare)

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

// ---- quota ----

bool memory_charge(struct memory *m, uint64_t bytes)
{
	uint64_t quota = atomic_load_explicit(&m->tenant->memory_quota, memory_order_relaxed);
	uint64_t used = atomic_load_explicit(&m->tenant->memory_used, memory_order_relaxed);

	do {
		if (quota && (used > quota || bytes > quota - used))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&m->tenant->memory_used, &used, used + bytes,
							memory_order_relaxed, memory_order_relaxed));
	m->held += bytes;
	atomic_store_explicit(&m->turn->memory_bytes, m->held, memory_order_relaxed);
	return true;
}

void memory_uncharge(struct memory *m, uint64_t bytes)
{
	m->held -= bytes;
	atomic_store_explicit(&m->turn->memory_bytes, m->held, memory_order_relaxed);
	atomic_fetch_sub_explicit(&m->tenant->memory_used, bytes, memory_order_relaxed);
}

void memory_uncharge_shared(struct memory *m, uint64_t address, struct physical *p, uint64_t bytes)
{
	if (!m->unshare || !m->unshare(m->unshare_opaque, address, p)) {
		memory_uncharge(m, bytes);
		return;
	}
	m->held -= bytes;
	atomic_store_explicit(&m->turn->memory_bytes, m->held, memory_order_relaxed);
}

int32_t memory_refuse(struct memory *m, uint64_t bytes)
{
	m->refused = bytes;
	return CUDA_ERROR_OUT_OF_MEMORY;
}

// A mapped, charged place of size bytes (whole granules) or a CUresult.
static int32_t span_map(struct memory *m, uint64_t size, struct memory_extent **ret)
{
	struct memory_extent *e;
	int r;

	if (!memory_charge(m, size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	e = memory_window_take(m, size);
	if (!e)
		r = CUDA_ERROR_OUT_OF_MEMORY;
	else if (!memory_is_leased(m, 0))
		r = memory_refuse(m, size);
	else
		r = m->ops->mem_map(m->backend, e->address, size);
	if (r) {
		if (e && r == CUDA_ERROR_OUT_OF_MEMORY)
			memory_refuse(m, size);
		if (e)
			memory_window_give(m, e);
		memory_uncharge(m, size);
		return r;
	}
	*ret = e;
	return CUDA_SUCCESS;
}

static int32_t span_unmap(struct memory *m, struct memory_extent *e)
{
	uint64_t size = e->size, address = e->address;
	bool parked = e->store;
	int r;

	memory_uncharge_shared(m, address, NULL, size);
	memory_store_drop(m, &e->store, size);
	r = parked ? 0 : m->ops->mem_unmap(m->backend, address, size);
	// A backend that cannot unmap has lost its context; the address is then gone for good, the charge is
	// not.
	if (r)
		free(e);
	else
		memory_window_give(m, e);
	return r;
}

// ---- chunks ----

struct memory_extent *memory_chunk_extent(struct memory_chunk *c)
{
	return c->extent;
}

static uint32_t chunk_units(const struct memory *m)
{
	return (uint32_t)(m->chunk_bytes / MEMORY_UNIT);
}

// First free run of n units, or -1 with *ret_longest set to the longest there is.
static int64_t find_run(const struct memory_chunk *c, uint32_t units, uint32_t n, uint32_t *ret_longest)
{
	uint32_t i = 0, start = 0, run = 0, longest = 0;

	while (i < units) {
		uint64_t word = c->used[i / 64] >> (i % 64);
		uint32_t left = 64 - i % 64;

		if (word & 1) {
			uint32_t ones = ~word ? (uint32_t)__builtin_ctzll(~word) : 64;

			i += ones < left ? ones : left;
			run = 0;
			continue;
		}
		if (!run)
			start = i;
		i += word ? (uint32_t)__builtin_ctzll(word) : left;
		run = i - start;
		if (run >= n)
			return start;
		if (run > longest)
			longest = run;
	}
	*ret_longest = longest;
	return -1;
}

static void mark_units(struct memory_chunk *c, uint32_t first, uint32_t n, bool used)
{
	for (uint32_t i = first; i < first + n;) {
		uint32_t in_word = 64 - i % 64, take = n - (i - first) < in_word ? n - (i - first) : in_word;
		uint64_t mask = (take == 64 ? UINT64_MAX : (1ull << take) - 1) << (i % 64);

		assert((c->used[i / 64] & mask) == (used ? 0 : mask));
		c->used[i / 64] ^= mask;
		i += take;
	}
}

static struct memory_chunk *chunk_new(struct memory *m, int32_t *ret_result)
{
	struct memory_chunk *c = calloc(1, sizeof(*c) + chunk_units(m) / 8);

	*ret_result = c ? span_map(m, m->chunk_bytes, &c->extent) : CUDA_ERROR_OUT_OF_MEMORY;
	if (*ret_result) {
		free(c);
		return NULL;
	}
	c->free_units = c->longest = chunk_units(m);
	LIST_INSERT_HEAD(&m->roomy, c, link);
	return c;
}

static void chunk_give(struct memory_chunk *c, struct memory *m, uint64_t address, uint64_t size)
{
	uint32_t n = (uint32_t)(round_up(size, MEMORY_UNIT) / MEMORY_UNIT);

	mark_units(c, (uint32_t)((address - c->extent->address) / MEMORY_UNIT), n, false);
	if (!c->free_units)
		LIST_INSERT_HEAD(&m->roomy, c, link);
	c->free_units += n;
	c->longest = c->free_units;
}

static int32_t piece_alloc(struct memory *m, struct memory_block *b, uint64_t *ret_charged)
{
	uint32_t n = (uint32_t)(round_up(b->size, MEMORY_UNIT) / MEMORY_UNIT);
	struct memory_chunk *c;
	int64_t at = -1;
	int32_t r;

	LIST_FOREACH (c, &m->roomy, link) {
		if (c->longest < n)
			continue;
		at = find_run(c, chunk_units(m), n, &c->longest);
		if (at >= 0)
			break;
	}
	if (!c) {
		c = chunk_new(m, &r);
		if (!c)
			return r;
		*ret_charged = m->chunk_bytes;
		at = 0;
	}
	mark_units(c, (uint32_t)at, n, true);
	c->free_units -= n;
	if (!c->free_units)
		LIST_REMOVE(c, link);
	b->kind = BLOCK_PIECE;
	b->chunk = c;
	b->address = c->extent->address + (uint64_t)at * MEMORY_UNIT;
	return CUDA_SUCCESS;
}

static int32_t piece_free(struct memory *m, struct memory_block *b)
{
	struct memory_chunk *c = b->chunk;
	int32_t r;

	chunk_give(c, m, b->address, b->size);
	if (c->free_units < chunk_units(m))
		return CUDA_SUCCESS;
	LIST_REMOVE(c, link);
	r = span_unmap(m, c->extent);
	free(c);
	return r;
}

// ---- allocations ----

static int32_t direct_alloc(struct memory *m, struct memory_block *b, uint64_t *ret_charged)
{
	uint64_t size = round_up(b->size, MEMORY_UNIT);
	int r;

	if (!memory_charge(m, size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = m->ops->mem_alloc(m->backend, size, &b->address);
	if (r) {
		memory_uncharge(m, size);
		return r;
	}
	b->kind = BLOCK_DIRECT;
	*ret_charged = size;
	return CUDA_SUCCESS;
}

static int32_t own_alloc(struct memory *m, struct memory_block *b, uint64_t *ret_charged)
{
	uint64_t size = round_up(b->size, m->granule);
	int32_t r = span_map(m, size, &b->extent);

	if (r)
		return r;
	b->kind = BLOCK_OWN;
	b->address = b->extent->address;
	*ret_charged = size;
	return CUDA_SUCCESS;
}

int32_t memory_alloc(struct memory *m, uint64_t size, uint64_t *ret_address, uint64_t *ret_charged)
{
	struct memory_block *b;
	uint64_t charged = 0;
	int32_t r;

	if (!size)
		return CUDA_ERROR_INVALID_VALUE;
	if (size > VGPU_WINDOW_BYTES || m->n_blocks >= VGPU_MAX_ALLOCATIONS)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b = calloc(1, sizeof(*b));
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->size = size;
	if (!m->granule)
		r = direct_alloc(m, b, &charged);
	else if (size <= m->chunk_bytes / 2)
		r = piece_alloc(m, b, &charged);
	else
		r = own_alloc(m, b, &charged);
	if (r) {
		free(b);
		return r;
	}
	memory_block_insert(m, b);
	*ret_address = b->address;
	*ret_charged = charged;
	return CUDA_SUCCESS;
}

void memory_block_insert(struct memory *m, struct memory_block *b)
{
	RB_INSERT(memory_blocks, &m->blocks, b);
	m->n_blocks++;
}

struct memory_block *memory_block_next(const struct memory *m, struct memory_block *b)
{
	return b ? RB_NEXT(memory_blocks, &m->blocks, b)
		 : RB_MIN(memory_blocks, (struct memory_blocks *)&m->blocks);
}

struct memory_block *memory_block_at(const struct memory *m, uint64_t address)
{
	struct memory_block key = { .address = address };

	return RB_FIND(memory_blocks, (struct memory_blocks *)&m->blocks, &key);
}

bool memory_mapping_of(const struct memory *m, uint64_t address, uint64_t *ret_base, uint64_t *ret_size)
{
	const struct memory_block *b = memory_block_at(m, address);
	const struct memory_extent *e;

	if (!b || (b->kind != BLOCK_OWN && b->kind != BLOCK_PIECE))
		return false;
	e = b->kind == BLOCK_PIECE ? b->chunk->extent : b->extent;
	*ret_base = e->address;
	*ret_size = e->size;
	return true;
}

bool memory_is_base(const struct memory *m, uint64_t address)
{
	const struct memory_block *b = memory_block_at(m, address);

	return b && (b->kind == BLOCK_OWN || b->kind == BLOCK_PIECE || b->kind == BLOCK_DIRECT);
}

static int32_t mapping_free(struct memory *m, const struct memory_block *b)
{
	int32_t r = b->hidden ? CUDA_SUCCESS : m->ops->physical_unmap(m->backend, b->address, b->size),
		freed = memory_unref(m, b->physical);

	return r ? r : freed;
}

int32_t memory_block_free(struct memory *m, struct memory_block *b)
{
	uint64_t size = round_up(b->size, MEMORY_UNIT);
	int32_t r = CUDA_SUCCESS;

	RB_REMOVE(memory_blocks, &m->blocks, b);
	m->n_blocks--;
	switch (b->kind) {
	case BLOCK_OWN: r = span_unmap(m, b->extent); break;
	case BLOCK_PIECE: r = piece_free(m, b); break;
	case BLOCK_DIRECT:
		r = m->ops->mem_free(m->backend, b->address);
		memory_uncharge(m, size);
		break;
	case BLOCK_MAPPED: r = mapping_free(m, b); break;
	case BLOCK_FOREIGN: break;
	}
	free(b);
	return r;
}

int32_t memory_free(struct memory *m, uint64_t address)
{
	struct memory_block *b = memory_block_at(m, address);

	return memory_is_base(m, address) ? memory_block_free(m, b) : CUDA_ERROR_INVALID_VALUE;
}

int32_t memory_add_foreign(struct memory *m, uint64_t address, uint64_t size, bool *ret_new)
{
	struct memory_block *b = memory_block_at(m, address);

	*ret_new = false;
	if (b)
		return CUDA_SUCCESS;
	b = m->n_blocks < VGPU_MAX_ALLOCATIONS ? calloc(1, sizeof(*b)) : NULL;
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*b = (struct memory_block){ .address = address, .size = size, .kind = BLOCK_FOREIGN };
	memory_block_insert(m, b);
	*ret_new = true;
	return CUDA_SUCCESS;
}

void memory_remove_foreign(struct memory *m, uint64_t address)
{
	struct memory_block *b = memory_block_at(m, address);

	if (b && b->kind == BLOCK_FOREIGN)
		memory_block_free(m, b);
}

// The last block that begins at or below address.
struct memory_block *memory_block_below(const struct memory *m, uint64_t address)
{
	struct memory_block *b = RB_ROOT(&m->blocks), *at = NULL;

	while (b) {
		if (b->address <= address) {
			at = b;
			b = RB_RIGHT(b, by_address);
		} else {
			b = RB_LEFT(b, by_address);
		}
	}
	return at;
}

static bool allows(const struct memory_block *b, enum vm_access access)
{
	return b->kind != BLOCK_MAPPED || b->access >= access;
}

bool memory_contains(const struct memory *m, uint64_t address, uint64_t bytes, enum vm_access access)
{
	struct memory_block *b = memory_block_below(m, address);

	if (!b || address - b->address > b->size || !allows(b, access))
		return false;
	while (bytes > b->size - (address - b->address)) {
		uint64_t end = b->address + b->size;

		if (b->kind != BLOCK_MAPPED)
			return false;
		bytes -= end - address;
		address = end;
		b = RB_NEXT(memory_blocks, &m->blocks, b);
		if (!b || b->kind != BLOCK_MAPPED || b->address != end || !allows(b, access))
			return false;
	}
	return true;
}

int32_t memory_info(const struct memory *m, uint64_t *ret_free, uint64_t *ret_total)
{
	uint64_t quota = atomic_load_explicit(&m->tenant->memory_quota, memory_order_relaxed);
	uint64_t used = atomic_load_explicit(&m->tenant->memory_used, memory_order_relaxed);
	uint64_t left = used < quota ? quota - used : 0;
	int r = m->ops->mem_available(m->backend, ret_free, ret_total);

	if (r || !quota)
		return r;
	if (quota < *ret_total)
		*ret_total = quota;
	if (left < *ret_free)
		*ret_free = left;
	return CUDA_SUCCESS;
}

// ---- life ----

int memory_init(struct memory *m, const struct backend_ops *ops, struct backend *backend, uint64_t base,
		uint64_t bytes, struct vgpu_turn_page *turn, struct vgpu_tenant_page *tenant)
{
	*m = (struct memory){ .ops = ops, .backend = backend, .turn = turn, .tenant = tenant };
	m->granule = ops->mem_granularity(backend);
	if (!m->granule)
		return ops->mem_alloc && ops->mem_free ? 0 : -EINVAL;
	if (m->granule % MEMORY_UNIT || m->granule & (m->granule - 1) || base % m->granule ||
	    bytes <= BACKEND_PRIVATE_WINDOW_BYTES || bytes % m->granule)
		return -EINVAL;
	m->chunk_bytes = round_up(MEMORY_CHUNK_BYTES, m->granule);
	return memory_window_init(m, base, (bytes - BACKEND_PRIVATE_WINDOW_BYTES) / m->granule * m->granule);
}

void memory_clear(struct memory *m)
{
	struct memory_block *b;

	while ((b = RB_ROOT(&m->blocks)))
		memory_block_free(m, b);
	while (!LIST_EMPTY(&m->reservations))
		memory_reservation_free(m, LIST_FIRST(&m->reservations));
	assert(!m->held && LIST_EMPTY(&m->roomy));
}

void memory_done(struct memory *m)
{
	assert(RB_EMPTY(&m->blocks));
	memory_window_done(m);
}
