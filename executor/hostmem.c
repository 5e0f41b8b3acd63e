// SPDX-License-Identifier: Apache-2.0
// Registered host ranges of one executor; see the header. Called by the handlers of host_* records and by
// executor/copy.c for its checks.
#include "executor/hostmem.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "common/limits.h"
#include "executor/guest_memory.h"
#include "protocol/cuda/cuda_abi.h"
#include "executor/tree.h" // last

#define PAGE 4096u
// Where a program's own memory can be: above what the kernel keeps free at 0, below the end of user space.
#define PROGRAM_BEGIN VGPU_MIB(1)
#define PROGRAM_END   0x7ffffffff000ull

struct host_range {
	RB_ENTRY(host_range) by_address;
	uint64_t address, size;
	bool mapped; // by us, at the guest's address
	bool arena;
};

static int range_compare(struct host_range *a, struct host_range *b)
{
	return a->address < b->address ? -1 : a->address > b->address;
}

RB_GENERATE_STATIC(host_ranges, host_range, by_address, range_compare)

void hostmem_init(struct hostmem *h, const struct backend_ops *ops, struct backend *backend,
		  const struct link_geometry *geometry, int window_fd, const struct guest_memory *guest)
{
	*h = (struct hostmem){
		.ops = ops,
		.backend = backend,
		.geometry = geometry,
		.window_fd = window_fd,
		.guest = guest,
	};
	RB_INIT(&h->ranges);
}

void hostmem_count(struct hostmem *h, struct vgpu_turn_page *turn, struct vgpu_tenant_page *tenant)
{
	h->turn = turn;
	h->tenant = tenant;
}

static bool charge(struct hostmem *h, uint64_t bytes)
{
	uint64_t quota, used;

	if (!h->tenant)
		return true;
	quota = atomic_load_explicit(&h->tenant->pinned_quota, memory_order_relaxed);
	used = atomic_load_explicit(&h->tenant->pinned_used, memory_order_relaxed);
	do {
		if (quota && (used > quota || bytes > quota - used))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&h->tenant->pinned_used, &used, used + bytes,
							memory_order_relaxed, memory_order_relaxed));
	h->held += bytes;
	atomic_store_explicit(&h->turn->pinned_bytes, h->held, memory_order_relaxed);
	return true;
}

static void uncharge(struct hostmem *h, uint64_t bytes)
{
	if (!h->tenant)
		return;
	h->held -= bytes;
	atomic_store_explicit(&h->turn->pinned_bytes, h->held, memory_order_relaxed);
	atomic_fetch_sub_explicit(&h->tenant->pinned_used, bytes, memory_order_relaxed);
}

static bool meets(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

// The last range that begins at or below address.
static struct host_range *range_below(const struct hostmem *h, uint64_t address)
{
	struct host_range *r = RB_ROOT(&h->ranges), *at = NULL;

	while (r) {
		if (r->address <= address) {
			at = r;
			r = RB_RIGHT(r, by_address);
		} else {
			r = RB_LEFT(r, by_address);
		}
	}
	return at;
}

static bool overlaps_range(const struct hostmem *h, uint64_t address, uint64_t size)
{
	const struct host_range *last = range_below(h, address + size - 1);

	return last && last->address + last->size > address;
}

// A program's own memory: nothing of the windows.
static bool is_programs(const struct link_geometry *g, uint64_t address, uint64_t size)
{
	return address >= PROGRAM_BEGIN && address <= PROGRAM_END - size &&
	       !meets(address, size, VGPU_SCRATCH_WINDOW_BASE, VGPU_WINDOW_BYTES) &&
	       !meets(address, size, g->host_window_base, VGPU_WINDOW_BYTES) &&
	       !meets(address, size, g->device_window_base, g->device_window_bytes);
}

bool hostmem_is_place(const struct link_geometry *g, uint64_t address, uint64_t bytes)
{
	uint64_t offset = address - g->host_window_base;

	if (offset < g->host_window_bytes)
		return offset >= g->arena_bytes && bytes <= g->host_window_bytes - offset;
	return is_programs(g, address, bytes);
}

static int32_t check(const struct hostmem *h, uint64_t address, uint64_t size, uint64_t offset)
{
	const struct link_geometry *g = h->geometry;

	if (!size || (address | size) % PAGE)
		return CUDA_ERROR_INVALID_VALUE;
	if (h->guest) { // what was mapped was checked then; a place in a memfd means nothing here
		if (!guest_memory_contains(h->guest, address, size))
			return CUDA_ERROR_INVALID_VALUE;
	} else if (offset % PAGE || size > g->host_window_bytes || offset > g->host_window_bytes - size ||
		   (address != g->host_window_base + offset && !is_programs(g, address, size))) {
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (overlaps_range(h, address, size))
		return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	return h->n_ranges < VGPU_MAX_HOST_RANGES ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static void range_free(struct hostmem *h, struct host_range *r)
{
	RB_REMOVE(host_ranges, &h->ranges, r);
	h->n_ranges--;
	if (r->mapped)
		munmap((void *)(uintptr_t)r->address, r->size);
	if (!r->arena)
		uncharge(h, r->size);
	free(r);
}

static int32_t range_add(struct hostmem *h, uint64_t address, uint64_t size, uint64_t offset, bool arena)
{
	struct host_range *r = calloc(1, sizeof(*r));
	void *at;
	int result;

	if (!r) {
		if (!arena)
			uncharge(h, size);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*r = (struct host_range){ .address = address, .size = size, .arena = arena };
	if (!h->guest && address != h->geometry->host_window_base + offset) {
		at = mmap((void *)(uintptr_t)address, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, h->window_fd, (off_t)offset);
		if (at != MAP_FAILED &&
		    at != (void *)(uintptr_t)address) { // kernels before 4.17 take it as a hint
			munmap(at, size);
			at = MAP_FAILED;
		}
		if (at == MAP_FAILED) {
			if (!arena)
				uncharge(h, size);
			free(r);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		r->mapped = true;
	}
	RB_INSERT(host_ranges, &h->ranges, r);
	h->n_ranges++;
	result = h->ops->host_register(h->backend, address, size);
	if (result)
		range_free(h, r);
	return result;
}

int32_t hostmem_add_arena(struct hostmem *h)
{
	return range_add(h, h->geometry->host_window_base, h->geometry->arena_bytes, 0, true);
}

int32_t hostmem_register(struct hostmem *h, uint64_t address, uint64_t size, uint64_t offset)
{
	int32_t result = check(h, address, size, offset);

	if (!result && !charge(h, size))
		result = CUDA_ERROR_OUT_OF_MEMORY;
	return result ? result : range_add(h, address, size, offset, false);
}

bool hostmem_is_base(const struct hostmem *h, uint64_t address)
{
	const struct host_range *r = range_below(h, address);

	return r && r->address == address && !r->arena;
}

int32_t hostmem_unregister(struct hostmem *h, uint64_t address)
{
	struct host_range *r = range_below(h, address);
	int32_t result;

	if (!r || r->address != address || r->arena)
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	result = h->ops->host_unregister(h->backend, address);
	range_free(h, r);
	return result;
}

// The last range that touches [address, address + bytes) and is not the arena's.
static struct host_range *last_in(const struct hostmem *h, uint64_t address, uint64_t bytes)
{
	struct host_range *r = range_below(h, address + bytes - 1);

	return r && !r->arena && r->address + r->size > address ? r : NULL;
}

bool hostmem_any_in(const struct hostmem *h, uint64_t address, uint64_t bytes)
{
	return last_in(h, address, bytes) != NULL;
}

bool hostmem_unregister_in(struct hostmem *h, uint64_t address, uint64_t bytes)
{
	struct host_range *r;
	bool some = false;

	while ((r = last_in(h, address, bytes))) {
		h->ops->host_unregister(h->backend, r->address);
		range_free(h, r);
		some = true;
	}
	return some;
}

uint64_t hostmem_run(const struct hostmem *h, uint64_t address)
{
	const struct host_range *r = range_below(h, address);

	return r && address - r->address < r->size ? r->size - (address - r->address) : 0;
}

bool hostmem_contains(const struct hostmem *h, uint64_t address, uint64_t bytes)
{
	struct host_range *r = range_below(h, address);

	if (!r || address - r->address > r->size)
		return false;
	// The program's memory may be registered in neighbouring pieces: two of its ranges share a page.
	while (bytes > r->size - (address - r->address)) {
		uint64_t end = r->address + r->size;

		bytes -= end - address;
		address = end;
		r = RB_NEXT(host_ranges, &h->ranges, r);
		if (!r || r->address != end)
			return false;
	}
	return true;
}

void hostmem_clear(struct hostmem *h)
{
	struct host_range *r;

	while ((r = RB_ROOT(&h->ranges))) {
		h->ops->host_unregister(h->backend, r->address);
		range_free(h, r);
	}
}
