// SPDX-License-Identifier: Apache-2.0
// Limits in rate and depth; see the header. Called by the executor's loop and by the replay of graphs.
#include "executor/rate.h"

#include "common/clock.h"

static void rate_init(struct rate *r, const _Atomic uint64_t *per_s, _Atomic uint64_t *due_ns,
		      const _Atomic uint64_t *count)
{
	*r = (struct rate){ .per_s = per_s, .count = count, .due_ns = due_ns };
	r->seen = atomic_load_explicit(count, memory_order_relaxed);
}

void rates_init(struct rates *r, const struct vgpu_turn_page *page, struct vgpu_tenant_page *tenant)
{
	*r = (struct rates){ .queue_depth = &tenant->queue_depth, .held_by = VGPU_HELD_BY };
	rate_init(&r->launches, &tenant->launches_per_s, &tenant->launches_due_ns, &page->launches);
	rate_init(&r->copies, &tenant->copy_bytes_per_s, &tenant->copies_due_ns, &page->copy_bytes);
}

// What n take at that rate. A rate that changes loses less than a nanosecond here.
static uint64_t cost_ns(struct rate *r, uint64_t n, uint64_t per_s)
{
	unsigned __int128 total = (unsigned __int128)n * NSEC_PER_SEC + (r->rest < per_s ? r->rest : 0);
	unsigned __int128 ns = total / per_s;

	r->rest = (uint64_t)(total % per_s);
	return ns > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)ns;
}

// Pays for what was submitted since the last time. Returns what is due then.
static uint64_t pay(struct rate *r, uint64_t per_s, uint64_t now_ns)
{
	uint64_t count = atomic_load_explicit(r->count, memory_order_relaxed);
	uint64_t due = atomic_load_explicit(r->due_ns, memory_order_relaxed), cost, next;

	if (count == r->seen)
		return due;
	cost = cost_ns(r, count - r->seen, per_s);
	r->seen = count;
	do {
		uint64_t from = due > now_ns ? due : now_ns;

		next = from > UINT64_MAX - cost ? UINT64_MAX : from + cost;
	} while (!atomic_compare_exchange_weak_explicit(r->due_ns, &due, next, memory_order_relaxed,
							memory_order_relaxed));
	return next;
}

// 0: go on; else when to ask again.
static uint64_t ready_ns(struct rate *r, uint64_t now_ns)
{
	uint64_t per_s = atomic_load_explicit(r->per_s, memory_order_relaxed), due, allowed;

	if (!per_s) {
		r->seen = atomic_load_explicit(r->count, memory_order_relaxed);
		r->empty = false;
		return 0;
	}
	due = pay(r, per_s, now_ns);
	allowed = now_ns + (r->empty ? VGPU_RATE_BURST_NS / 2 : VGPU_RATE_BURST_NS);
	r->empty = due > allowed;
	return r->empty ? due - VGPU_RATE_BURST_NS / 2 : 0;
}

void rates_forget(struct rates *r)
{
	r->launches.seen = atomic_load_explicit(r->launches.count, memory_order_relaxed);
	r->copies.seen = atomic_load_explicit(r->copies.count, memory_order_relaxed);
	r->launches.empty = r->copies.empty = false;
}

static bool held(struct rates *r, enum vgpu_held_by by, uint64_t until_ns)
{
	r->held_by = by;
	r->until_ns = until_ns;
	return false;
}

bool rates_admit(struct rates *r, bool launches, bool copies, uint32_t in_flight, uint64_t now_ns)
{
	uint64_t depth = atomic_load_explicit(r->queue_depth, memory_order_relaxed);
	uint64_t launches_at = ready_ns(&r->launches, now_ns), copies_at = ready_ns(&r->copies, now_ns);

	if (launches && launches_at)
		return held(r, VGPU_HELD_BY_LAUNCHES, launches_at);
	if (copies && copies_at)
		return held(r, VGPU_HELD_BY_COPIES, copies_at);
	if (depth && in_flight >= depth)
		return held(r, VGPU_HELD_BY_QUEUE, UINT64_MAX);
	return true;
}

void rates_account(struct rates *r, struct vgpu_turn_page *page, unsigned now_held_by, uint64_t now_ns)
{
	if (r->held_by < VGPU_HELD_BY && now_ns > r->since_ns) {
		_Atomic uint64_t *counter = &page->held_ns[r->held_by];

		atomic_store_explicit(
		    counter, atomic_load_explicit(counter, memory_order_relaxed) + now_ns - r->since_ns,
		    memory_order_relaxed);
	}
	r->held_by = now_held_by;
	r->since_ns = now_ns;
}
