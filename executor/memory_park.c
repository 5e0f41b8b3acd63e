// SPDX-License-Identifier: Apache-2.0
// Device memory of an executor out to the host's memory and back (docs/decisions/0021): the allocator's
// mappings, and memory without an address with all its mappings. Called by park.c while nothing runs. What
// other processes share, arrays and variables of modules stay where they are.
#include <stdlib.h>
#include <sys/mman.h>

#include "executor/memory_internal.h"
#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"

static void *store_new(uint64_t size)
{
	void *p =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE); // a wish: fewer pages to make and to register
	return p;
}

static void store_free(void **store, uint64_t size)
{
	if (*store)
		munmap(*store, size);
	*store = NULL;
}

void memory_store_drop(struct memory *m, void **store, uint64_t size)
{
	if (!*store)
		return;
	store_free(store, size);
	m->parked -= size;
}

static void show_parked(const struct memory *m)
{
	atomic_store_explicit(&m->turn->parked_bytes, m->parked, memory_order_relaxed);
}

// The mapping of the allocator that an allocation lies in; NULL: it is none, or one that was seen already.
static struct memory_extent *next_span(const struct memory_block *b, const struct memory_extent *last)
{
	struct memory_extent *e = b->kind == BLOCK_OWN	   ? b->extent
				  : b->kind == BLOCK_PIECE ? memory_chunk_extent(b->chunk)
							   : NULL;

	return e == last ? NULL : e; // pieces of a chunk follow one another
}

// ---- out

static bool park_span(struct memory *m, struct memory_extent *e)
{
	void *store = store_new(e->size);

	if (!store)
		return false;
	if (m->ops->mem_park(m->backend, e->address, e->size, store)) {
		store_free(&store, e->size);
		return false;
	}
	e->store = store;
	m->parked += e->size;
	return true;
}

static bool park_spans(struct memory *m, bool (*stop)(void *opaque), void *opaque)
{
	struct memory_extent *e, *last = NULL;
	struct memory_block *b;

	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b)) {
		e = next_span(b, last);
		if (!e)
			continue;
		last = e;
		if (e->store || (m->is_shared && m->is_shared(m->unshare_opaque, e->address)))
			continue;
		if (stop(opaque) || !park_span(m, e))
			return false;
	}
	return true;
}

static bool may_park(const struct physical *p)
{
	return p->share.kind == SHARE_NONE && !p->store;
}

static bool park_physical(struct memory *m, struct physical *p)
{
	void *store = store_new(p->size);

	if (!store)
		return false;
	if (m->ops->physical_park(m->backend, p->backend, p->size, store)) {
		store_free(&store, p->size);
		return false;
	}
	p->store = store;
	m->parked += p->size;
	return true;
}

static int32_t show_mapping(struct memory *m, struct memory_block *b)
{
	int32_t r = m->ops->physical_map(m->backend, b->address, b->size, b->physical->backend, b->offset);

	if (!r && b->access != VM_ACCESS_NONE) {
		r = m->ops->physical_access(m->backend, b->address, b->size, b->access);
		if (r)
			m->ops->physical_unmap(m->backend, b->address, b->size);
	}
	b->hidden = r != CUDA_SUCCESS;
	return r;
}

// Mappings whose memory is here but are not. CUresult.
static int32_t show_mappings(struct memory *m)
{
	struct memory_block *b;
	int32_t r;

	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b)) {
		if (!b->hidden || b->physical->store)
			continue;
		r = show_mapping(m, b);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

static void hide_mappings(struct memory *m, bool (*which)(const struct physical *p))
{
	struct memory_block *b;

	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b))
		if (b->kind == BLOCK_MAPPED && !b->hidden && which(b->physical))
			b->hidden = m->ops->physical_unmap(m->backend, b->address, b->size) == CUDA_SUCCESS;
}

static bool park_physicals(struct memory *m, bool (*stop)(void *opaque), void *opaque)
{
	bool all = true;
	struct physical *p;

	if (stop(opaque))
		return false;
	hide_mappings(m, may_park);
	LIST_FOREACH (p, &m->physicals, link) {
		if (!may_park(p))
			continue;
		all = !stop(opaque) && park_physical(m, p);
		if (!all)
			break;
	}
	return show_mappings(m) == CUDA_SUCCESS && all;
}

void memory_park(struct memory *m, bool (*stop)(void *opaque), void *opaque)
{
	if (!m->granule || !m->ops->mem_park)
		return;
	if (park_spans(m, stop, opaque))
		park_physicals(m, stop, opaque);
	show_parked(m);
}

// ---- back

// Memory that was brought back goes again, and its copy is still there.
static void undo(struct memory *m)
{
	struct memory_extent *e, *last = NULL;
	struct memory_block *b;
	struct physical *p;

	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b)) {
		if (b->kind == BLOCK_MAPPED && !b->hidden && b->physical->back)
			b->hidden = m->ops->physical_unmap(m->backend, b->address, b->size) == CUDA_SUCCESS;
		e = next_span(b, last);
		if (!e)
			continue;
		last = e;
		if (e->back)
			e->back = m->ops->mem_park(m->backend, e->address, e->size, NULL) != CUDA_SUCCESS;
	}
	LIST_FOREACH (p, &m->physicals, link)
		if (p->back)
			p->back =
			    m->ops->physical_park(m->backend, p->backend, p->size, NULL) != CUDA_SUCCESS;
}

static int32_t bring_back(struct memory *m)
{
	struct memory_extent *e, *last = NULL;
	struct memory_block *b;
	struct physical *p;
	int32_t r;

	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b)) {
		e = next_span(b, last);
		if (!e)
			continue;
		last = e;
		if (!e->store || e->back)
			continue;
		r = m->ops->mem_unpark(m->backend, e->address, e->size, e->store);
		if (r)
			return r;
		e->back = true;
	}
	LIST_FOREACH (p, &m->physicals, link) {
		if (!p->store || p->back)
			continue;
		r = m->ops->physical_unpark(m->backend, p->backend, p->size, p->store);
		if (r)
			return r;
		p->back = true;
	}
	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b)) {
		r = b->kind == BLOCK_MAPPED && b->hidden ? show_mapping(m, b) : CUDA_SUCCESS;
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

int32_t memory_unpark(struct memory *m)
{
	struct memory_extent *e, *last = NULL;
	struct memory_block *b;
	struct physical *p;
	int32_t r;

	if (!memory_is_leased(m, m->parked))
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = bring_back(m);
	if (r) {
		undo(m);
		return r;
	}
	for (b = memory_block_next(m, NULL); b; b = memory_block_next(m, b)) {
		e = next_span(b, last);
		if (!e)
			continue;
		last = e;
		e->back = false;
		memory_store_drop(m, &e->store, e->size);
	}
	LIST_FOREACH (p, &m->physicals, link) {
		p->back = false;
		memory_store_drop(m, &p->store, p->size);
	}
	show_parked(m);
	return CUDA_SUCCESS;
}

// ---- room

bool memory_is_leased(const struct memory *m, uint64_t bytes)
{
	uint64_t lease = atomic_load_explicit(&m->turn->lease, memory_order_relaxed),
		 here = m->held - m->parked;

	return !lease || (here <= lease && bytes <= lease - here);
}

uint64_t memory_free_now(const struct memory *m)
{
	uint64_t available, total;

	return m->ops->mem_available(m->backend, &available, &total) ? 0 : available;
}
