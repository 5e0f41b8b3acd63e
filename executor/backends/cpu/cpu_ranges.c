// SPDX-License-Identifier: Apache-2.0
// Sorted tables of address ranges of the cpu backend: what is mapped, what is registered. Executor process;
// the caller locks. Pure: touches no memory but the table.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Index of the first range that ends behind address.
static size_t first_behind(const struct cpu_ranges *r, uint64_t address)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->at[mid].address + r->at[mid].size > address)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

int cpu_ranges_add(struct cpu_ranges *r, uint64_t address, uint64_t size, enum vm_access access)
{
	size_t i = first_behind(r, address);
	uint64_t end;

	if (!size || __builtin_add_overflow(address, size, &end) || (i < r->n && r->at[i].address < end))
		return -EEXIST;
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 16;
		void *grown = realloc(r->at, room * sizeof(*r->at));

		if (!grown)
			return -ENOMEM;
		r->at = grown;
		r->room = room;
	}
	memmove(&r->at[i + 1], &r->at[i], (r->n - i) * sizeof(*r->at));
	r->at[i] = (struct cpu_range){ .address = address, .size = size, .access = access };
	r->n++;
	return 0;
}

int cpu_ranges_remove(struct cpu_ranges *r, uint64_t address, uint64_t *ret_size)
{
	size_t i = first_behind(r, address);

	if (i == r->n || r->at[i].address != address)
		return -ENOENT;
	*ret_size = r->at[i].size;
	r->n--;
	memmove(&r->at[i], &r->at[i + 1], (r->n - i) * sizeof(*r->at));
	return 0;
}

bool cpu_ranges_cover(const struct cpu_ranges *r, uint64_t address, uint64_t size, enum vm_access access)
{
	uint64_t end;

	if (__builtin_add_overflow(address, size, &end))
		return false;
	for (size_t i = first_behind(r, address); i < r->n && r->at[i].address <= address; i++) {
		if (r->at[i].access < access)
			return false;
		address = r->at[i].address + r->at[i].size;
		if (address >= end)
			return true;
	}
	return false;
}

bool cpu_ranges_allow(struct cpu_ranges *r, uint64_t address, uint64_t size, enum vm_access access)
{
	size_t first = first_behind(r, address), i;
	uint64_t at = address, end;

	if (__builtin_add_overflow(address, size, &end))
		return false;
	for (i = first; i < r->n && at < end && r->at[i].address == at; i++)
		at += r->at[i].size;
	if (at != end)
		return false;
	while (i-- > first)
		r->at[i].access = access;
	return true;
}

bool cpu_ranges_has(const struct cpu_ranges *r, uint64_t address, uint64_t size)
{
	size_t i = first_behind(r, address);

	return i < r->n && r->at[i].address == address && r->at[i].size == size;
}

bool cpu_ranges_gap(const struct cpu_ranges *r, uint64_t base, uint64_t end, uint64_t size, uint64_t align,
		    uint64_t *ret)
{
	uint64_t at = (base + align - 1) & ~(align - 1);

	for (size_t i = first_behind(r, base); i < r->n && r->at[i].address < end; i++) {
		if (r->at[i].address >= at && r->at[i].address - at >= size)
			break;
		at = (r->at[i].address + r->at[i].size + align - 1) & ~(align - 1);
	}
	if (at > end || end - at < size)
		return false;
	*ret = at;
	return true;
}

void cpu_ranges_done(struct cpu_ranges *r)
{
	free(r->at);
	*r = (struct cpu_ranges){ 0 };
}
