// SPDX-License-Identifier: Apache-2.0
// Device memory of one executor: addresses inside the device window, backed by the backend's mem_map in whole
// granules. Allocations above half a chunk have granules of their own; smaller ones share chunks. What the
// tenant's quota is charged is exactly what is mapped. Pieces are re-used only inside this process, so
// whatever a recycled one holds is the same program's own; fresh mappings come clean from the backend.
#ifndef VGPU_EXECUTOR_MEMORY_H
#define VGPU_EXECUTOR_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <bsd/sys/tree.h>

#include "executor/backends/backend.h"
#include "protocol/host/turn_page.h"

#define MEMORY_UNIT	   512u	    // bytes: alignment of every allocation
#define MEMORY_CHUNK_BYTES 2097152u // at least; a whole number of granules

struct memory_block;
struct memory_extent;
struct memory_chunk;
struct memory_reservation;

RB_HEAD(memory_blocks, memory_block);
RB_HEAD(memory_extents, memory_extent);
RB_HEAD(memory_sizes, memory_extent);

struct memory {
	const struct backend_ops *ops;
	struct backend *backend;
	struct vgpu_turn_page *turn;
	struct vgpu_tenant_page *tenant;
	uint64_t granule; // 0: the backend allocates (ops->mem_alloc)
	uint64_t chunk_bytes;
	struct memory_blocks blocks;	 // live allocations and module variables, by address
	struct memory_extents extents;	 // free parts of the window, by address
	struct memory_sizes sizes;	 // the same, by size
	LIST_HEAD(, memory_chunk) roomy; // chunks with free units
	LIST_HEAD(, memory_reservation) reservations;
	uint64_t aside; // bytes charged by memory_create and not mapped
	uint64_t held;	// bytes mapped or set aside, and charged
	uint32_t n_reservations;
	uint32_t n_blocks;
};

// The window is [base, base + bytes), of which the last part is the backend's (BACKEND_PRIVATE_WINDOW_BYTES).
// All pointers stay valid until memory_done. 0 or -errno.
int memory_init(struct memory *m, const struct backend_ops *ops, struct backend *backend, uint64_t base,
		uint64_t bytes, struct vgpu_turn_page *turn, struct vgpu_tenant_page *tenant);
// memory_clear must have been called.
void memory_done(struct memory *m);

// size bytes at *ret_address, aligned to MEMORY_UNIT; *ret_charged is what the quota was charged for it (0
// when a chunk had room). CUresult; on an error nothing has changed.
int32_t memory_alloc(struct memory *m, uint64_t size, uint64_t *ret_address, uint64_t *ret_charged);

// Whether address is the base of an allocation, and giving that allocation back. No work may use it any more.
bool memory_is_base(const struct memory *m, uint64_t address);
int32_t memory_free(struct memory *m, uint64_t address);

// Virtual memory (the vm_* records): addresses are reserved, memory is set aside, and one is put into the
// other. Sizes and addresses are whole granules. CUresult; CUDA_ERROR_NOT_SUPPORTED where the backend places
// allocations.
int32_t memory_reserve(struct memory *m, uint64_t size, uint64_t hint, uint64_t *ret_address);
int32_t memory_unreserve(struct memory *m, uint64_t address);
int32_t memory_create(struct memory *m, uint64_t size);
int32_t memory_release(struct memory *m, uint64_t size);
int32_t memory_map(struct memory *m, uint64_t address, uint64_t size);
// Whether exactly this was mapped, and taking it away. No work may use it any more.
bool memory_is_mapped(const struct memory *m, uint64_t address, uint64_t size);
int32_t memory_unmap(struct memory *m, uint64_t address, uint64_t size);

// Makes device memory that the backend placed known as valid (once for each address), or forgets it.
int32_t memory_add_foreign(struct memory *m, uint64_t address, uint64_t size, bool *ret_new);
void memory_remove_foreign(struct memory *m, uint64_t address);

// Whether all of [address, address + bytes) lies in one live allocation or variable, or in mappings that
// follow each other. Any values.
bool memory_contains(const struct memory *m, uint64_t address, uint64_t bytes);

// As the tenant shall see it: its quota is its card. CUresult.
int32_t memory_info(const struct memory *m, uint64_t *ret_free, uint64_t *ret_total);

// Frees everything.
void memory_clear(struct memory *m);

#endif
