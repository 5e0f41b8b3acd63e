// SPDX-License-Identifier: Apache-2.0
// Histograms of times in shared memory, counted by one side and read by the other. Buckets are powers of two
// of nanoseconds, so the bucket of a time is one instruction and any quantile is known to a factor of two:
// bucket i counts times above 2^(VGPU_DELAY_LEAST + i - 1) and up to 2^(VGPU_DELAY_LEAST + i), the first all
// up to its bound, the last all above the one before it. From 1 us to 17 s.
#ifndef VGPU_PROTOCOL_HOST_DELAYS_H
#define VGPU_PROTOCOL_HOST_DELAYS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#define VGPU_DELAY_LEAST   10u // log2 of the first bound, ns
#define VGPU_DELAY_BUCKETS 26u // the last has no bound

struct vgpu_delays {
	_Atomic uint64_t buckets[VGPU_DELAY_BUCKETS]; // one each, not cumulative
	_Atomic uint64_t sum_ns;
	uint64_t reserved[5];
};
static_assert(sizeof(struct vgpu_delays) == 256, "shared layout");

// i below VGPU_DELAY_BUCKETS - 1.
static inline uint64_t vgpu_delay_bound_ns(unsigned i)
{
	return UINT64_C(1) << (VGPU_DELAY_LEAST + i);
}

static inline unsigned vgpu_delay_bucket(uint64_t ns)
{
	unsigned bits;

	if (ns <= UINT64_C(1) << VGPU_DELAY_LEAST)
		return 0;
	bits = 64 - (unsigned)__builtin_clzll(ns - 1);
	return bits - VGPU_DELAY_LEAST < VGPU_DELAY_BUCKETS ? bits - VGPU_DELAY_LEAST
							    : VGPU_DELAY_BUCKETS - 1;
}

// By the only one who counts.
static inline void vgpu_delay_note(struct vgpu_delays *d, uint64_t ns, uint64_t times)
{
	_Atomic uint64_t *bucket = &d->buckets[vgpu_delay_bucket(ns)];

	atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + times,
			      memory_order_relaxed);
	if (ns)
		atomic_store_explicit(&d->sum_ns,
				      atomic_load_explicit(&d->sum_ns, memory_order_relaxed) + ns * times,
				      memory_order_relaxed);
}

#endif
