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
struct physical;

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
	LIST_HEAD(, physical) physicals;
	uint64_t held;	  // bytes that this executor was charged
	uint64_t parked;  // of those, bytes in the host's memory
	uint64_t refused; // bytes that the device did not have, or the lease, when they were wanted last
	uint32_t n_reservations;
	uint32_t n_blocks;
	// What is mapped at the address, or (0) the memory p, is about to go (share.c). True: it lives on in
	// other processes of the tenant, who keep its charge. NULL: nothing is ever shared.
	bool (*unshare)(void *opaque, uint64_t address, struct physical *p);
	// Whether other processes know the mapping at the address.
	bool (*is_shared)(void *opaque, uint64_t address);
	void *unshare_opaque;
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

// Virtual memory (the vm_* records): addresses are reserved, memory is made, and shown at them. Sizes,
// offsets and addresses are whole granules; any values are checked. CUresult; CUDA_ERROR_NOT_SUPPORTED where
// the backend places allocations.
int32_t memory_reserve(struct memory *m, uint64_t size, uint64_t hint, uint64_t *ret_address);
int32_t memory_unreserve(struct memory *m, uint64_t address);
// Charges the quota. The caller holds the one reference (*ret), which memory_unref gives back; each mapping
// holds one more. The last one frees the memory and uncharges it.
int32_t memory_create(struct memory *m, uint64_t size, uint32_t handle_types, struct physical **ret);
int32_t memory_unref(struct memory *m, struct physical *p);
int32_t memory_map(struct memory *m, struct physical *p, uint64_t address, uint64_t size, uint64_t offset);
// Whether whole mappings fill exactly this range; what may be done with them; and taking them away. No work
// may use them any more when they go, or when less is allowed.
bool memory_is_mapped(const struct memory *m, uint64_t address, uint64_t size);
int32_t memory_access(struct memory *m, uint64_t address, uint64_t size, enum vm_access access);
int32_t memory_unmap(struct memory *m, uint64_t address, uint64_t size);

// The whole mapping that an allocation (by its base) lies in: what the backend can share. false: none.
bool memory_mapping_of(const struct memory *m, uint64_t address, uint64_t *ret_base, uint64_t *ret_size);

// Memory that the backend made of what another process shared: not charged here. It is taken over.
int32_t memory_adopt(struct memory *m, struct backend_physical *backend, uint64_t size,
		     struct physical **ret);

// Makes device memory that the backend placed known as valid (once for each address), or forgets it.
int32_t memory_add_foreign(struct memory *m, uint64_t address, uint64_t size, bool *ret_new);
void memory_remove_foreign(struct memory *m, uint64_t address);

// Device memory that has no address here (arrays): counts bytes against the tenant's quota; false: it has no
// room.
bool memory_charge(struct memory *m, uint64_t bytes);
void memory_uncharge(struct memory *m, uint64_t bytes);
// The device has no room for so many bytes (which were not a matter of the quota): remembers it, and is
// CUDA_ERROR_OUT_OF_MEMORY.
int32_t memory_refuse(struct memory *m, uint64_t bytes);

// Whether all of [address, address + bytes) lies in one live allocation or variable, or in mappings that
// follow each other, and may be used like that (READ or READ_WRITE). Any values.
bool memory_contains(const struct memory *m, uint64_t address, uint64_t bytes, enum vm_access access);

// As the tenant shall see it: its quota is its card. CUresult.
int32_t memory_info(const struct memory *m, uint64_t *ret_free, uint64_t *ret_total);

// Parking (memory_park.c), while nothing runs. Out: as much as can be, until stop says so; what cannot stays.
// Back: all of it, or an error with all of it as before. What is parked counts as charged.
void memory_park(struct memory *m, bool (*stop)(void *opaque), void *opaque);
int32_t memory_unpark(struct memory *m);
// Whether so many bytes more may be on the device as far as the mediator is concerned.
bool memory_is_leased(const struct memory *m, uint64_t bytes);
// What the device has free, for whomever.
uint64_t memory_free_now(const struct memory *m);

// Frees everything.
void memory_clear(struct memory *m);

#endif
