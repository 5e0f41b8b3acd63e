// SPDX-License-Identifier: Apache-2.0
// Virtual memory: what vmem.c (addresses, memory without them) and vmap.c (mappings) share, and what others
// ask about mappings. Runs in the guest program.
#ifndef VGPU_LIBCUDA_VMEM_H
#define VGPU_LIBCUDA_VMEM_H

#include <pthread.h>
#include <stdint.h>

#include "guest/libcuda/objects.h"
#include "guest/libcuda/ranges.h"
#include "protocol/cuda/cuda_abi.h"

#define VC_GRANULE (2ull << 20)

struct vc_mapping {
	uint64_t address, bytes;
	struct vc_physical *physical;
	int access;	   // CU_MEM_ACCESS_FLAGS_*
	int handle_types;  // that the memory was made for
	uint64_t block_id; // unique to the memory, in the process
};

// Protects every struct vc_physical and the table of mappings.
extern pthread_mutex_t vc_vmem_lock;

static inline int vc_granular(uint64_t n)
{
	return n && n % VC_GRANULE == 0;
}

// With the lock held: the memory that the program's handle names, NULL if it names none; giving it up when
// nobody holds and nothing maps it any more.
struct vc_physical *vc_physical_find(CUmemGenericAllocationHandle handle);
void vc_physical_tidy(struct vc_physical *p);

// Memory that another process of the tenant shared under the key (others: another one, not this). The
// caller's alone until vc_object_publish; drop gives it back before that.
CUresult vc_physical_import(const uint64_t key[2], int others, struct vc_physical **ret);
void vc_physical_drop(struct vc_physical *p);

// The mapping that holds the address: 1 and *ret, or 0. Takes the lock; physical must not be looked into.
int vc_mapping_find(uint64_t address, struct vc_mapping *ret);

// Whether mappings fill all of it and the device may do that with each (CU_MEM_ACCESS_FLAGS_*).
int vc_mappings_allow(uint64_t address, uint64_t bytes, int access);

// The same for a part of any known range: only reservations ask.
static inline int vc_range_allows(const struct vc_range *range, uint64_t address, uint64_t bytes, int access)
{
	return range->kind != VC_RANGE_RESERVED || vc_mappings_allow(address, bytes, access);
}

#endif
