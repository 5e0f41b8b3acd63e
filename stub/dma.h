// SPDX-License-Identifier: Apache-2.0
// The VM's memory as its monitor tells it: ranges of guest-physical addresses, and the files they lie in,
// each kept open once (known by device and inode number). Nothing is mapped here: what the stub reads it
// reads by pread, so that a file that is cut cannot end it.
#ifndef VGPU_STUB_DMA_H
#define VGPU_STUB_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/limits.h"

struct dma_file {
	dev_t device;
	ino_t inode;
	int fd; // -1: free
	uint32_t uses;
};

struct dma_map {
	uint64_t address, bytes;
	uint64_t offset;
	int file;	   // index of dma.files; -1: not shared with us (a ROM, a BAR, memory without an fd)
	uint64_t channels; // bit i: channel i may have memory here
};

struct dma {
	struct dma_map *maps; // by address, apart
	uint32_t n_maps, room;
	uint32_t n_shared; // maps with a file
	struct dma_file files[VGPU_MAX_DMA_FILES];
};

// A piece of guest memory in a file.
struct dma_piece {
	struct dma_map *map;
	int fd, file; // borrowed
	uint64_t offset, bytes;
};

void dma_init(struct dma *d);
void dma_done(struct dma *d); // forgets everything

// fd (-1: none) is taken over. A range that is not writable, or whose fd is no ordinary file or one of huge
// pages, is kept without its file. 0; -EEXIST: overlaps another; -ENOSPC: VGPU_MAX_DMA_MAPS,
// VGPU_MAX_DMA_FILES; -ENOMEM.
int dma_add(struct dma *d, uint64_t address, uint64_t bytes, int fd, uint64_t offset, bool writable);

bool dma_overlaps(const struct dma *d, uint64_t address, uint64_t bytes);

// The channels that may have memory in the range.
uint64_t dma_users(const struct dma *d, uint64_t address, uint64_t bytes);

// Forgets what lies in the range; maps that reach out of it are cut. 0 or -ENOMEM, -ENOSPC (nothing changed).
int dma_remove(struct dma *d, uint64_t address, uint64_t bytes);

// The channel has no memory anywhere any more.
void dma_forget_channel(struct dma *d, unsigned channel);

// The first bytes of [address, address + bytes) that lie in one map. False: not in any, or in one without a
// file.
bool dma_find(struct dma *d, uint64_t address, uint64_t bytes, struct dma_piece *ret);

// Copies from or to guest memory. 0; -EFAULT: not all of it is shared memory; -errno.
int dma_read(struct dma *d, uint64_t address, void *to, size_t bytes);
int dma_write(struct dma *d, uint64_t address, const void *from, size_t bytes);

#endif
