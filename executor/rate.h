// SPDX-License-Identifier: Apache-2.0
// The tenant's limits as the executor keeps them: launches and copied bytes a second, of all executors of the
// tenant together (protocol/host/turn_page.h), and its own depth of queue. What was submitted is counted
// anyway; here it is paid for before the next record, so graphs, copies and sets need nothing of their own.
// Pure but for the shared pages.
#ifndef VGPU_EXECUTOR_RATE_H
#define VGPU_EXECUTOR_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/turn_page.h"

// One limit: the counter of what was submitted, and how far it is paid for.
struct rate {
	const _Atomic uint64_t *per_s, *count;
	_Atomic uint64_t *due_ns;
	uint64_t seen; // of count: paid for
	uint64_t rest; // of the last division by per_s
	bool empty;    // half the burst must be back before work goes on
};

struct rates {
	struct rate launches, copies;
	const _Atomic uint64_t *queue_depth;
	// What holds the record at the ring's head back: enum vgpu_held_by, or VGPU_HELD_BY. until_ns: when
	// to ask again (only of the rates).
	unsigned held_by;
	uint64_t until_ns;
	uint64_t since_ns; // held_by is added to the page's counters up to here
};

void rates_init(struct rates *r, const struct vgpu_turn_page *page, struct vgpu_tenant_page *tenant);

// The tenant has limits at all. A few loads of one line.
static inline bool rates_are_set(const struct rates *r)
{
	return atomic_load_explicit(r->launches.per_s, memory_order_relaxed) |
	       atomic_load_explicit(r->copies.per_s, memory_order_relaxed) |
	       atomic_load_explicit(r->queue_depth, memory_order_relaxed);
}

// While there are no limits: what was submitted so far is nobody's debt when there are some.
void rates_forget(struct rates *r);

// Whether work that launches kernels and/or copies may be submitted now, with so many records in flight. If
// not, held_by and until_ns say why.
bool rates_admit(struct rates *r, bool launches, bool copies, uint32_t in_flight, uint64_t now_ns);

// Adds the time since the last call to the counter of what held_by was since then; now_held_by from here on.
void rates_account(struct rates *r, struct vgpu_turn_page *page, unsigned now_held_by, uint64_t now_ns);

#endif
