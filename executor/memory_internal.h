// SPDX-License-Identifier: Apache-2.0
// What the parts of the device memory allocator share: memory.c (allocations, the quota), memory_window.c
// (free addresses) and memory_vm.c (addresses and memory apart).
#ifndef VGPU_EXECUTOR_MEMORY_INTERNAL_H
#define VGPU_EXECUTOR_MEMORY_INTERNAL_H

#include "executor/memory.h"

// A free part of the window. Whoever holds a part of the window keeps the extent that it will become again,
// so that giving back never needs memory.
struct memory_extent {
	RB_ENTRY(memory_extent) by_address, by_size;
	uint64_t address, size;
	void *store; // of a mapping that is parked: where its contents are; NULL: on the device
	bool back;   // ... and on the device again
};

enum block_kind { BLOCK_OWN, BLOCK_PIECE, BLOCK_DIRECT, BLOCK_FOREIGN, BLOCK_MAPPED };

struct memory_block {
	RB_ENTRY(memory_block) by_address;
	uint64_t address, size;
	enum block_kind kind;
	struct memory_extent *extent; // OWN
	struct memory_chunk *chunk;   // PIECE
	struct physical *physical;    // MAPPED; holds a reference
	enum vm_access access;	      // MAPPED; all others can be read and written
	uint64_t offset;	      // MAPPED: in physical
	bool hidden;		      // MAPPED: the backend does not know it while its memory is parked
};

struct memory_reservation {
	LIST_ENTRY(memory_reservation) link;
	struct memory_extent *extent;
};

// Makes [base, base + bytes) the window; forgets it. 0 or -ENOMEM.
int memory_window_init(struct memory *m, uint64_t base, uint64_t bytes);
void memory_window_done(struct memory *m);

// The best-fitting place of size bytes of the window, or exactly that place; the caller owns what is
// returned. NULL: there is none, or no memory.
struct memory_extent *memory_window_take(struct memory *m, uint64_t size);
struct memory_extent *memory_window_take_at(struct memory *m, uint64_t address, uint64_t size);
void memory_window_give(struct memory *m, struct memory_extent *e);

// The mapping at this address, or (0) this memory, goes, before the backend is told: memory_uncharge, unless
// the charge is somebody else's now.
void memory_uncharge_shared(struct memory *m, uint64_t address, struct physical *p, uint64_t bytes);

void memory_block_insert(struct memory *m, struct memory_block *b);
// The block that begins at the address; the last one that begins at or below it.
struct memory_block *memory_block_at(const struct memory *m, uint64_t address);
struct memory_block *memory_block_below(const struct memory *m, uint64_t address);
// The one behind it by address; of NULL the first; NULL: there is none.
struct memory_block *memory_block_next(const struct memory *m, struct memory_block *b);
// Gives back what the block stands for, and the block.
int32_t memory_block_free(struct memory *m, struct memory_block *b);

// The chunk's place.
struct memory_extent *memory_chunk_extent(struct memory_chunk *c);

// memory_park.c: the contents of what is parked are not wanted any more.
void memory_store_drop(struct memory *m, void **store, uint64_t size);

void memory_reservation_free(struct memory *m, struct memory_reservation *r);

#endif
