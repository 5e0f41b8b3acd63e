// SPDX-License-Identifier: Apache-2.0
// The memory that the GPU can reach, as this process knows it: allocations, pinned and registered host
// memory, variables of modules. A tree over disjoint address ranges; look-ups share a lock, changes take it
// alone.
#ifndef VGPU_LIBCUDA_RANGES_H
#define VGPU_LIBCUDA_RANGES_H

#include <stdint.h>

enum vc_range_kind {
	VC_RANGE_DEVICE = 1, // cuMemAlloc and its kin
	VC_RANGE_GLOBAL,     // a module's variable
	VC_RANGE_PINNED,     // cuMemHostAlloc and its kin
	VC_RANGE_REGISTERED, // cuMemHostRegister
	VC_RANGE_MANAGED,    // cuMemAllocManaged: pinned memory that counts as the device's too
	VC_RANGE_IMPORTED,   // cuIpcOpenMemHandle: another process's cuMemAlloc
	VC_RANGE_RESERVED,   // cuMemAddressReserve: the executor knows what is mapped in it
};

struct vc_range {
	uint64_t base, bytes; // as the program asked for
	enum vc_range_kind kind;
	uint32_t flags; // cuMemHostAlloc's or cuMemHostRegister's
	uint64_t id;	// unique in the process
	void *owner;	// struct vc_context, or struct vc_module for GLOBAL
	int sync_memops;
	uint64_t pool;		// DEVICE: handle of the pool that it is of; 0: none
	struct vc_block *block; // its part of the pool
};

// Enters a range; id is given here. -EEXIST: overlaps a known one; -ENOMEM. bytes must not be 0.
int vc_range_add(const struct vc_range *range);

// The range that holds address; 0, or -ENOENT.
int vc_range_find(uint64_t address, struct vc_range *ret);

// Whether any known range overlaps [base, base + bytes).
int vc_range_overlaps(uint64_t base, uint64_t bytes);

// Takes out the range that begins at base and has one of the kinds in the mask (1 << kind); *ret is what it
// was. -ENOENT.
int vc_range_remove(uint64_t base, unsigned int kinds, struct vc_range *ret);

// Takes out the lowest range of the owner, for clearing up. -ENOENT when none is left.
int vc_range_remove_owned(const void *owner, struct vc_range *ret);

// Sets sync_memops of the range that holds address. -ENOENT.
int vc_range_set_sync(uint64_t address, int sync);

// Takes everything out of a reservation that was removed, and gives it back (vmap.c).
void vc_vmem_release(const struct vc_range *range);

// Closes the allocation of another process that a removed range stands for, as often as it was opened
// (ipc.c).
void vc_ipc_release(const struct vc_range *range);

// Whether cuIpcGetMemHandle serves for it: memory of cuMemAlloc and nothing else.
static inline int vc_ipc_capable(const struct vc_range *r)
{
	return r->kind == VC_RANGE_DEVICE && !r->pool;
}

static inline int vc_range_is_device(const struct vc_range *r)
{
	return r->kind == VC_RANGE_DEVICE || r->kind == VC_RANGE_GLOBAL || r->kind == VC_RANGE_IMPORTED ||
	       r->kind == VC_RANGE_RESERVED;
}

#endif
