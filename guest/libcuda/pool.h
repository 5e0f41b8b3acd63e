// SPDX-License-Identifier: Apache-2.0
// Memory pools: what pool.c (the driver's calls) and reserve.c (the memory that a pool holds) share, and what
// other files tell pools. Runs in the guest program.
#ifndef VGPU_LIBCUDA_POOL_H
#define VGPU_LIBCUDA_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include "guest/libcuda/objects.h"

#define VC_POOL_BINS 41 // of free blocks, by the logarithm of their size

struct vc_block; // a part of a pool's memory: an allocation, or free
LIST_HEAD(vc_blocks, vc_block);

struct vc_pool {
	struct vgpu_object object;
	int destroyed;	// goes with its last allocation
	uint64_t limit; // bytes; 0: none
	uint64_t threshold;
	int reuse[3]; // CU_MEMPOOL_ATTR_REUSE_*, in their order
	uint64_t used, used_high, reserved, reserved_high;
	struct vc_blocks segments; // the first block of each
	struct vc_blocks bins[VC_POOL_BINS];
};

enum { VC_REUSE_EVENTS, VC_REUSE_OPPORTUNISTIC, VC_REUSE_INTERNAL };

// Protects all pools and their memory, and what streams know of each other (struct vc_stream: behind).
extern pthread_mutex_t vc_pool_lock;

// ---- reserve.c; all with the lock held

void vc_reserve_init(struct vc_pool *p);

// A block of size bytes (made whole units) that work given to the stream from now on may use; NULL: the pool
// has none.
struct vc_block *vc_reserve_take(struct vc_pool *p, uint64_t bytes, const struct vc_stream *s);
// Makes [address, address + bytes), memory of the executor's, the pool's: free.
int vc_reserve_add(struct vc_pool *p, uint64_t address, uint64_t bytes); // nonzero: no memory
// The block is free: for those behind what the stream was given so far; NULL: for everybody.
void vc_reserve_give(struct vc_block *b, const struct vc_stream *s);
// Gives whole segments back to the executor while more than keep bytes are held; returns how many bytes went.
// Segments with blocks that work in flight may use stay.
uint64_t vc_reserve_trim(struct vc_pool *p, uint64_t keep);
// The stream is about to be destroyed: what waits for it will look at its fence.
void vc_reserve_stream_gone(struct vc_pool *p, struct vc_stream *s);

uint64_t vc_block_address(const struct vc_block *b);
struct vc_pool *vc_block_pool(const struct vc_block *b);

// ---- pool.c

// An allocation for the stream from the pool of that handle (0: the current one). *ret_handle is the pool's.
CUresult vc_pool_alloc(uint64_t pool, uint64_t bytes, const struct vc_stream *s, uint64_t *ret_handle,
		       struct vc_block **ret);
void vc_pool_free(struct vc_block *b, uint64_t bytes, const struct vc_stream *s);
// Gives back what pools hold and nobody uses, after an allocation failed; 1: something went, try again.
int vc_pools_give_up(void);

// Whether a pool holds anything, or more than its threshold.
extern _Atomic int vc_pools_used, vc_pools_excess;

// The stream stands behind the first `position` records of the stream with that handle.
void vc_pools_stream_waits(struct vc_stream *s, uint64_t handle, uint64_t position);
void vc_pools_stream_gone(struct vc_stream *s);
void vc_pools_trim_excess(void);

// The program has waited for work: pools may give back what they hold above their thresholds.
static inline void vc_pools_waited(void)
{
	if (__builtin_expect(atomic_load_explicit(&vc_pools_excess, memory_order_relaxed), 0))
		vc_pools_trim_excess();
}

#endif
