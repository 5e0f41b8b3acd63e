// SPDX-License-Identifier: Apache-2.0
// The device window's free addresses: extents that never touch each other, by address and by size. Called by
// the device memory allocator of an executor (memory.c, memory_vm.c).
#include <errno.h>
#include <stdlib.h>

#include "executor/memory_internal.h"
#include "executor/tree.h" // last

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int extent_compare(struct memory_extent *a, struct memory_extent *b)
{
	return compare(a->address, b->address);
}

static int size_compare(struct memory_extent *a, struct memory_extent *b)
{
	return a->size != b->size ? compare(a->size, b->size) : compare(a->address, b->address);
}

RB_GENERATE_STATIC(memory_extents, memory_extent, by_address, extent_compare)
RB_GENERATE_STATIC(memory_sizes, memory_extent, by_size, size_compare)

static void extent_insert(struct memory *m, struct memory_extent *e)
{
	RB_INSERT(memory_extents, &m->extents, e);
	RB_INSERT(memory_sizes, &m->sizes, e);
}

static void extent_remove(struct memory *m, struct memory_extent *e)
{
	RB_REMOVE(memory_extents, &m->extents, e);
	RB_REMOVE(memory_sizes, &m->sizes, e);
}

struct memory_extent *memory_window_take(struct memory *m, uint64_t size)
{
	struct memory_extent key = { .size = size }, *e = RB_NFIND(memory_sizes, &m->sizes, &key), *taken;

	if (!e)
		return NULL;
	if (e->size == size) {
		extent_remove(m, e);
		return e;
	}
	taken = calloc(1, sizeof(*taken));
	if (!taken)
		return NULL;
	extent_remove(m, e);
	taken->address = e->address;
	taken->size = size;
	e->address += size;
	e->size -= size;
	extent_insert(m, e);
	return taken;
}

// The part [address, address + size) of the window if all of it is free; NULL: it is not, or no memory.
struct memory_extent *memory_window_take_at(struct memory *m, uint64_t address, uint64_t size)
{
	struct memory_extent key = { .address = address + 1 }, *e, *taken, *behind;

	e = RB_NFIND(memory_extents, &m->extents, &key);
	e = e ? RB_PREV(memory_extents, &m->extents, e) : RB_MAX(memory_extents, &m->extents);
	if (!e || e->address > address || e->size < size || address - e->address > e->size - size)
		return NULL;
	taken = calloc(1, sizeof(*taken));
	behind = calloc(1, sizeof(*behind));
	if (!taken || !behind) {
		free(taken);
		free(behind);
		return NULL;
	}
	extent_remove(m, e);
	*taken = (struct memory_extent){ .address = address, .size = size };
	*behind = (struct memory_extent){ .address = address + size,
					  .size = e->address + e->size - (address + size) };
	e->size = address - e->address;
	if (e->size)
		extent_insert(m, e);
	else
		free(e);
	if (behind->size)
		extent_insert(m, behind);
	else
		free(behind);
	return taken;
}

void memory_window_give(struct memory *m, struct memory_extent *e)
{
	struct memory_extent *next = RB_NFIND(memory_extents, &m->extents, e), *before;

	before = next ? RB_PREV(memory_extents, &m->extents, next) : RB_MAX(memory_extents, &m->extents);
	if (before && before->address + before->size == e->address) {
		extent_remove(m, before);
		e->address = before->address;
		e->size += before->size;
		free(before);
	}
	if (next && e->address + e->size == next->address) {
		extent_remove(m, next);
		e->size += next->size;
		free(next);
	}
	extent_insert(m, e);
}

int memory_window_init(struct memory *m, uint64_t base, uint64_t bytes)
{
	struct memory_extent *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->address = base;
	all->size = bytes;
	extent_insert(m, all);
	return 0;
}

void memory_window_done(struct memory *m)
{
	struct memory_extent *e;

	while ((e = RB_ROOT(&m->extents))) {
		extent_remove(m, e);
		free(e);
	}
}
