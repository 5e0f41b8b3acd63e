// SPDX-License-Identifier: Apache-2.0
// Histograms of times as the mediator keeps and tells them. The buckets are those of
// protocol/host/delays.h. Pure. Counts only grow, and stop at DELAY_COUNT_MOST: an executor that lies makes
// no sum overflow, so its tenant's numbers never go back.
#ifndef VGPU_MEDIATOR_METRICS_DELAYS_H
#define VGPU_MEDIATOR_METRICS_DELAYS_H

#include <stdint.h>

#include "protocol/host/delays.h"

#define DELAY_COUNT_MOST (UINT64_C(1) << 56) // of one bucket: all of them fit into 64 bits
#define DELAY_SUM_MOST	 (UINT64_C(1) << 62)

struct delay_counts {
	uint64_t buckets[VGPU_DELAY_BUCKETS]; // one each, not cumulative
	uint64_t sum_ns;
};

static inline uint64_t delay_add_up(uint64_t a, uint64_t b, uint64_t most)
{
	return a >= most || b >= most - a ? most : a + b;
}

// One time more.
static inline void delay_counts_note(struct delay_counts *d, uint64_t ns)
{
	uint64_t *bucket = &d->buckets[vgpu_delay_bucket(ns)];

	*bucket = delay_add_up(*bucket, 1, DELAY_COUNT_MOST);
	d->sum_ns = delay_add_up(d->sum_ns, ns, DELAY_SUM_MOST);
}

static inline void delay_counts_add(struct delay_counts *d, const struct delay_counts *more)
{
	for (unsigned i = 0; i < VGPU_DELAY_BUCKETS; i++)
		d->buckets[i] = delay_add_up(d->buckets[i], more->buckets[i], DELAY_COUNT_MOST);
	d->sum_ns = delay_add_up(d->sum_ns, more->sum_ns, DELAY_SUM_MOST);
}

// What somebody else counts now, each number loaded once: ours never falls.
static inline void delay_counts_raise(struct delay_counts *d, const struct vgpu_delays *seen)
{
	for (unsigned i = 0; i < VGPU_DELAY_BUCKETS; i++) {
		uint64_t n = atomic_load_explicit(&seen->buckets[i], memory_order_relaxed);

		n = n < DELAY_COUNT_MOST ? n : DELAY_COUNT_MOST;
		d->buckets[i] = n > d->buckets[i] ? n : d->buckets[i];
	}
	uint64_t sum = atomic_load_explicit(&seen->sum_ns, memory_order_relaxed);

	sum = sum < DELAY_SUM_MOST ? sum : DELAY_SUM_MOST;
	d->sum_ns = sum > d->sum_ns ? sum : d->sum_ns;
}

#endif
