// SPDX-License-Identifier: Apache-2.0
// Start-time fair queuing: tags and demand (who comes before whom) and charging (what was used); see
// wfq.h for the policy. Runs in the mediator and in the unit tests' simulation.
#include "mediator/sched/wfq_internal.h"

// Tags of a group's children are moved down together when its virtual time gets here.
#define VIRTUAL_LIMIT (UINT64_C(1) << 62)
// Longest piece that is charged in one multiplication.
#define CHARGE_STEP_NS (UINT64_C(1) << 40)

static int compare_nodes(const struct wfq_node *a, const struct wfq_node *b)
{
	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return 0;
}

RB_GENERATE_INTERNAL(wfq_ready, wfq_node, link, compare_nodes, __attribute__((unused)) static)

struct wfq_node *wfq_first(struct wfq_ready *ready)
{
	return RB_MIN(wfq_ready, ready);
}

// ---- virtual time ----

// Keeps tags far from the end of 64 bits. Children in demand are near v, so only idle ones can reach 0, and
// those would be lifted to about v at their return anyway: the order does not change.
static void rebase(struct wfq_node *group)
{
	uint64_t base = group->v / 2;
	struct wfq_node *n;

	LIST_FOREACH (n, &group->children, sibling)
		n->tag = n->tag > base ? n->tag - base : 0;
	group->v -= base;
}

void wfq_refresh_v(struct wfq *w, struct wfq_node *group)
{
	struct wfq_node *first = RB_MIN(wfq_ready, &group->ready);
	uint64_t least = first ? first->tag : UINT64_MAX;

	for (uint32_t i = 0; i < w->n_active; i++) {
		struct wfq_node *n = wfq_below(w->active[i], group);

		if (n && n->in_demand)
			least = min_u64(least, n->tag);
	}
	if (least != UINT64_MAX)
		group->v = max_u64(group->v, least);
	if (group->v >= VIRTUAL_LIMIT)
		rebase(group);
}

struct wfq_node *wfq_enter_demand(struct wfq *w, struct wfq_node *from)
{
	struct wfq_node *top = from;

	for (struct wfq_node *n = from; n->parent && !n->in_demand; n = n->parent) {
		struct wfq_node *p = n->parent;
		uint64_t allowance, floor;

		wfq_refresh_v(w, p);
		n->in_demand = true;
		n->clock_mark = w->contended_clock;
		w->tenants_in_demand += n->is_tenant;
		p->demand_count++;
		p->demand_weight += n->weight;
		allowance = w->config.turn_ns * VIRTUAL_PER_NS / p->demand_weight;
		floor = p->v > allowance ? p->v - allowance : 0;
		if (n->tag < floor) {
			n->tag = floor;
			n->tag_rest = 0;
		}
		top = n;
	}
	return top;
}

void wfq_leave_demand(struct wfq *w, struct wfq_node *from)
{
	for (struct wfq_node *n = from; n->parent; n = n->parent) {
		struct wfq_node *p = n->parent;

		wfq_refresh_v(w, p);
		n->in_demand = false;
		n->clock_sum += w->contended_clock - n->clock_mark;
		w->tenants_in_demand -= n->is_tenant;
		p->demand_count--;
		p->demand_weight -= n->weight;
		if (p->demand_count)
			break;
	}
}

void wfq_enqueue(struct wfq *w, struct wfq_node *from)
{
	for (struct wfq_node *n = from; n->parent && !n->queued; n = n->parent) {
		n->order = w->next_order++;
		RB_INSERT(wfq_ready, &n->parent->ready, n);
		n->queued = true;
	}
}

void wfq_dequeue(struct wfq_node *from)
{
	for (struct wfq_node *n = from; n->parent; n = n->parent) {
		RB_REMOVE(wfq_ready, &n->parent->ready, n);
		n->queued = false;
		if (!RB_EMPTY(&n->parent->ready))
			break;
	}
}

// ---- charging ----

void wfq_set_tag(struct wfq_node *n, uint64_t tag)
{
	if (n->queued)
		RB_REMOVE(wfq_ready, &n->parent->ready, n);
	n->tag = tag;
	if (n->queued)
		RB_INSERT(wfq_ready, &n->parent->ready, n);
}

static void advance_tag(struct wfq_node *n, uint64_t ns)
{
	if (n->queued)
		RB_REMOVE(wfq_ready, &n->parent->ready, n);
	while (ns) {
		uint64_t step = min_u64(ns, CHARGE_STEP_NS);
		uint64_t amount = step * VIRTUAL_PER_NS + n->tag_rest;

		n->tag = add_sat(n->tag, amount / n->weight);
		n->tag_rest = amount % n->weight;
		ns -= step;
	}
	if (n->queued)
		RB_INSERT(wfq_ready, &n->parent->ready, n);
}

void wfq_charge(struct wfq *w, struct wfq_node *leaf, uint64_t ns, uint64_t now_ns)
{
	bool contended = w->tenants_in_demand > (leaf->parent->in_demand ? 1u : 0u);

	for (struct wfq_node *n = leaf; n->parent; n = n->parent) {
		advance_tag(n, ns);
		wfq_cap_charge(n, ns, now_ns);
		n->charged_ns += ns;
		if (contended)
			n->contended_charged_ns += ns;
	}
}

static bool billed_by_busy_time(const struct wfq *w)
{
	return w->n_active == 1 && w->holder && w->holder->state == WFQ_HOLDING &&
	       w->holder->deadline_ns == WFQ_NEVER;
}

void wfq_begin_phase(struct wfq *w, uint64_t now_ns)
{
	struct wfq_node *leaf = w->holder;

	if (!leaf)
		return;
	leaf->phase_ns = now_ns;
	leaf->phase_busy_ns = leaf->busy_seen;
	leaf->phase_charged_ns = 0;
}

void wfq_account(struct wfq *w, uint64_t now_ns)
{
	uint64_t dt;

	if (now_ns <= w->accounted_ns)
		return;
	dt = now_ns - w->accounted_ns;
	if (w->tenants_in_demand >= 2)
		w->contended_clock += dt;
	wfq_caps_account(w, dt);
	if (billed_by_busy_time(w)) {
		struct wfq_node *leaf = w->holder;
		uint64_t busy = leaf->busy_seen - leaf->phase_busy_ns;
		uint64_t wall = now_ns > leaf->phase_ns ? now_ns - leaf->phase_ns : 0;
		uint64_t total = min_u64(busy, wall);

		if (total > leaf->phase_charged_ns) {
			wfq_charge(w, leaf, total - leaf->phase_charged_ns, now_ns);
			leaf->phase_charged_ns = total;
		}
	} else {
		// Leaves that overlap (one overran its turn) share the device's time slices evenly.
		for (uint32_t i = 0; i < w->n_active; i++)
			wfq_charge(w, w->active[i], dt / w->n_active, now_ns);
	}
	w->accounted_ns = now_ns;
}

void wfq_meter(struct wfq *w, struct wfq_node *leaf, uint64_t busy_ns)
{
	(void)w;
	leaf->busy_seen = max_u64(leaf->busy_seen, busy_ns);
}

uint64_t wfq_contended_ns(const struct wfq *w, const struct wfq_node *n)
{
	return n->clock_sum + (n->in_demand ? w->contended_clock - n->clock_mark : 0);
}

uint32_t wfq_share(const struct wfq_node *n)
{
	double share = 1;

	for (; n->parent; n = n->parent) {
		uint64_t weights = n->parent->demand_weight + (n->in_demand ? 0 : n->weight);

		share *= (double)n->weight / (double)weights;
	}
	return (uint32_t)(share * 10000 + 0.5);
}
