// SPDX-License-Identifier: Apache-2.0
// What the two halves of the device memory allocator share: memory.c (allocations, the window, the quota) and
// memory_vm.c (addresses and memory apart).
#ifndef VGPU_EXECUTOR_MEMORY_INTERNAL_H
#define VGPU_EXECUTOR_MEMORY_INTERNAL_H

#include "executor/memory.h"

// A free part of the window. Whoever holds a part of the window keeps the extent that it will become again,
// so that giving back never needs memory.
struct memory_extent {
	RB_ENTRY(memory_extent) by_address, by_size;
	uint64_t address, size;
};

enum block_kind { BLOCK_OWN, BLOCK_PIECE, BLOCK_DIRECT, BLOCK_FOREIGN, BLOCK_MAPPED };

struct memory_block {
	RB_ENTRY(memory_block) by_address;
	uint64_t address, size;
	enum block_kind kind;
	struct memory_extent *extent; // OWN
	struct memory_chunk *chunk;   // PIECE
};

struct memory_reservation {
	LIST_ENTRY(memory_reservation) link;
	struct memory_extent *extent;
};

// The best-fitting place of size bytes of the window, or exactly that place; the caller owns what is
// returned. NULL: there is none, or no memory.
struct memory_extent *memory_window_take(struct memory *m, uint64_t size);
struct memory_extent *memory_window_take_at(struct memory *m, uint64_t address, uint64_t size);
void memory_window_give(struct memory *m, struct memory_extent *e);

// Counts bytes against the tenant's quota; false: it has no room.
bool memory_charge(struct memory *m, uint64_t bytes);
void memory_uncharge(struct memory *m, uint64_t bytes);

void memory_block_insert(struct memory *m, struct memory_block *b);
// The block that begins at the address; the last one that begins at or below it.
struct memory_block *memory_block_at(const struct memory *m, uint64_t address);
struct memory_block *memory_block_below(const struct memory *m, uint64_t address);
// Gives back what the block stands for, and the block.
int32_t memory_block_free(struct memory *m, struct memory_block *b);

void memory_reservation_free(struct memory *m, struct memory_reservation *r);

#endif
