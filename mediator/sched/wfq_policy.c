// SPDX-License-Identifier: Apache-2.0
// What an operator may change of the scheduler's tree while it runs: weights, places, turn lengths, the
// latency class and caps; see wfq.h for what they do. Runs in the mediator and in the unit tests' simulation.
#include <assert.h>

#include "mediator/sched/wfq_internal.h"

#define WHOLE 10000u // caps are parts of this; bucket levels are in nanoseconds divided by this
// A bucket with less counts as empty: a turn of that length would be nothing but a hand-over.
#define EMPTY_BELOW_NS 20000u
// Longest time that is filled in, or charged to a bucket, at once: 64 bits hold a hundred times that.
#define CAP_STEP_NS (UINT64_C(24) * 3600 * 1000000000)

// ---- weights, places, turns ----

// What n is ahead of its siblings, as it counts with another weight.
static uint64_t scaled_lead(const struct wfq_node *n, uint64_t v, uint32_t weight)
{
	unsigned __int128 lead = n->tag > v ? n->tag - v : 0;

	lead = lead * n->weight / weight;
	return lead > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)lead;
}

void wfq_set_weight(struct wfq *w, struct wfq_node *n, uint32_t weight, uint64_t now_ns)
{
	struct wfq_node *p = n->parent;

	assert(weight);
	if (weight == n->weight)
		return;
	wfq_account(w, now_ns);
	wfq_refresh_v(w, p);
	if (n->tag > p->v)
		wfq_set_tag(n, p->v + scaled_lead(n, p->v, weight));
	if (n->in_demand)
		p->demand_weight += (uint64_t)weight - n->weight;
	n->weight = weight;
	n->tag_rest = 0;
}

static void count_kept_back(struct wfq_node *from, uint32_t add, uint32_t take)
{
	for (struct wfq_node *n = from; n; n = n->parent)
		n->cap.kept_back += add - take;
}

static void settle(struct wfq *w, struct wfq_node *n, uint64_t now_ns);

static void renew_cap_deadline(struct wfq *w, const struct wfq_node *group, uint64_t now_ns)
{
	struct wfq_node *leaf = w->holder;

	for (const struct wfq_node *n = leaf; n; n = n->parent) {
		if (n == group)
			leaf->cap_deadline_ns = wfq_cap_deadline(leaf, now_ns);
	}
}

void wfq_move(struct wfq *w, struct wfq_node *group, struct wfq_node *parent, uint64_t now_ns)
{
	struct wfq_node *to = parent ? parent : &w->root;
	bool queued = group->queued, in_demand = group->in_demand;
	uint64_t lead;

	if (to == group->parent)
		return;
	wfq_account(w, now_ns);
	wfq_refresh_v(w, group->parent);
	lead = scaled_lead(group, group->parent->v, group->weight);
	if (queued)
		wfq_dequeue(group);
	if (in_demand)
		wfq_leave_demand(w, group);
	count_kept_back(group->parent, 0, group->cap.kept_back);
	LIST_REMOVE(group, sibling);
	group->parent = to;
	LIST_INSERT_HEAD(&to->children, group, sibling);
	count_kept_back(to, group->cap.kept_back, 0);
	wfq_refresh_v(w, to);
	group->tag = to->v + lead;
	group->tag_rest = 0;
	if (in_demand)
		wfq_enter_demand(w, group);
	if (queued)
		wfq_enqueue(w, group);
	settle(w, group, now_ns);
	renew_cap_deadline(w, group, now_ns);
}

void wfq_set_turn(struct wfq_node *group, uint64_t turn_ns)
{
	group->turn_ns = turn_ns;
}

uint64_t wfq_turn_of(const struct wfq *w, const struct wfq_node *leaf)
{
	uint64_t turn;

	for (const struct wfq_node *n = leaf->parent; n; n = n->parent) {
		if (n->turn_ns)
			return n->turn_ns;
	}
	// What its share gives it in a round: where many want the GPU, or weights differ much, a whole turn
	// at once would come too seldom.
	turn = w->config.turn_ns;
	if (w->config.round_ns)
		turn = min_u64(turn,
			       max_u64(w->config.round_ns * wfq_share(leaf) / WHOLE, w->config.min_turn_ns));
	return turn;
}

// ---- the latency class ----

void wfq_set_latency(struct wfq *w, struct wfq_node *group, bool latency)
{
	if (latency == group->latency)
		return;
	group->latency = latency;
	group->latency_spent = false;
	if (latency)
		LIST_INSERT_HEAD(&w->latency_groups, group, latency_link);
	else
		LIST_REMOVE(group, latency_link);
}

// Once the credit is used up, half of it must be back: at the border a program that synchronises after each
// launch would else take the GPU from the others for each of them.
static bool group_goes_first(struct wfq *w, struct wfq_node *group)
{
	uint64_t credit_ns = w->config.latency_credit_ns / (group->latency_spent ? 2 : 1);

	for (struct wfq_node *n = group; n->parent; n = n->parent) {
		uint64_t credit = credit_ns * VIRTUAL_PER_NS / n->weight;

		wfq_refresh_v(w, n->parent);
		if (n->tag > add_sat(n->parent->v, credit)) {
			group->latency_spent = true;
			return false;
		}
	}
	group->latency_spent = false;
	return true;
}

bool wfq_goes_first(struct wfq *w, struct wfq_node *leaf)
{
	return leaf->parent->latency && group_goes_first(w, leaf->parent);
}

struct wfq_node *wfq_first_latency(struct wfq *w)
{
	struct wfq_node *best = NULL, *n;

	LIST_FOREACH (n, &w->latency_groups, latency_link) {
		if (n->queued && (!best || n->order < best->order) && group_goes_first(w, n))
			best = n;
	}
	return best;
}

// ---- caps ----

static int64_t full(const struct wfq_cap *c)
{
	return (int64_t)(c->burst_ns * WHOLE);
}

// At this level a bucket that was empty lets go again: turns are then worth their hand-over.
static int64_t half_full(const struct wfq *w, const struct wfq_cap *c)
{
	uint64_t ns = min_u64(c->burst_ns, w->config.turn_ns) / 2;

	return (int64_t)(max_u64(ns, (uint64_t)2 * EMPTY_BELOW_NS) * WHOLE);
}

static void fill(struct wfq_cap *c, uint64_t now_ns)
{
	uint64_t dt = now_ns > c->filled_ns ? min_u64(now_ns - c->filled_ns, CAP_STEP_NS) : 0;

	c->level += (int64_t)(dt * c->per_10000);
	if (c->level > full(c))
		c->level = full(c);
	c->filled_ns = max_u64(c->filled_ns, now_ns);
}

void wfq_cap_charge(struct wfq_node *group, uint64_t ns, uint64_t now_ns)
{
	struct wfq_cap *c = &group->cap;
	int64_t least = -(int64_t)(CAP_STEP_NS * WHOLE);

	if (!c->per_10000)
		return;
	fill(c, now_ns);
	c->level -= (int64_t)(min_u64(ns, CAP_STEP_NS) * WHOLE);
	if (c->level < least) // debt beyond a day is forgotten
		c->level = least;
}

bool wfq_is_kept_back(const struct wfq_node *leaf)
{
	for (const struct wfq_node *n = leaf->parent; n; n = n->parent) {
		if (n->cap.empty)
			return true;
	}
	return false;
}

void wfq_keep_back(struct wfq_node *leaf)
{
	leaf->state = WFQ_CAPPED;
	count_kept_back(leaf->parent, 1, 0);
}

void wfq_let_go(struct wfq_node *leaf)
{
	leaf->state = WFQ_IDLE;
	count_kept_back(leaf->parent, 0, 1);
}

// Brings all leaves below n in line with the caps above them.
static void settle(struct wfq *w, struct wfq_node *n, uint64_t now_ns)
{
	struct wfq_node *child;

	LIST_FOREACH (child, &n->children, sibling)
		settle(w, child, now_ns);
	if (!n->is_leaf)
		return;
	if (n->state == WFQ_CAPPED && !wfq_is_kept_back(n)) {
		wfq_let_go(n);
		wfq_want(w, n, true, now_ns);
	} else if (n->state == WFQ_WAITING && wfq_is_kept_back(n)) {
		wfq_dequeue(n);
		wfq_leave_demand(w, n);
		wfq_keep_back(n);
	}
}

static void set_empty(struct wfq *w, struct wfq_node *group, bool empty, uint64_t now_ns)
{
	group->cap.empty = empty;
	if (empty)
		LIST_INSERT_HEAD(&w->empty_caps, group, cap.link);
	else
		LIST_REMOVE(group, cap.link);
	settle(w, group, now_ns);
}

void wfq_set_cap(struct wfq *w, struct wfq_node *group, uint32_t per_10000, uint64_t burst_ns,
		 uint64_t now_ns)
{
	struct wfq_cap *c = &group->cap;
	bool is_new = !c->per_10000;

	wfq_account(w, now_ns);
	if (!is_new)
		fill(c, now_ns);
	c->per_10000 = per_10000 < WHOLE ? per_10000 : 0;
	c->burst_ns = min_u64(burst_ns, CAP_STEP_NS);
	c->filled_ns = now_ns;
	if (is_new || c->level > full(c))
		c->level = full(c);
	if (!c->per_10000 && c->empty)
		set_empty(w, group, false, now_ns);
	renew_cap_deadline(w, group, now_ns);
}

uint64_t wfq_cap_deadline(const struct wfq_node *leaf, uint64_t now_ns)
{
	uint64_t at = WFQ_NEVER;

	for (const struct wfq_node *n = leaf->parent; n; n = n->parent) {
		struct wfq_cap c = n->cap;

		if (!c.per_10000)
			continue;
		fill(&c, now_ns);
		at = min_u64(at, c.level > 0 ? add_sat(now_ns, (uint64_t)c.level / (WHOLE - c.per_10000))
					     : now_ns);
	}
	return at;
}

void wfq_enforce_caps(struct wfq *w, uint64_t now_ns)
{
	struct wfq_node *n, *next;

	for (uint32_t i = 0; i < w->n_active; i++) {
		for (n = w->active[i]->parent; n; n = n->parent) {
			if (!n->cap.per_10000 || n->cap.empty)
				continue;
			fill(&n->cap, now_ns);
			if (n->cap.level < (int64_t)EMPTY_BELOW_NS * WHOLE)
				set_empty(w, n, true, now_ns);
		}
	}
	LIST_FOREACH_SAFE (n, &w->empty_caps, cap.link, next) {
		fill(&n->cap, now_ns);
		if (n->cap.level >= half_full(w, &n->cap))
			set_empty(w, n, false, now_ns);
	}
}

uint64_t wfq_caps_wakeup(const struct wfq *w)
{
	uint64_t at = WFQ_NEVER;
	const struct wfq_node *n;

	LIST_FOREACH (n, &w->empty_caps, cap.link) {
		const struct wfq_cap *c = &n->cap;
		int64_t missing = half_full(w, c) - c->level;
		uint64_t wait = missing > 0 ? ((uint64_t)missing + c->per_10000 - 1) / c->per_10000 : 0;

		if (c->kept_back)
			at = min_u64(at, add_sat(c->filled_ns, wait));
	}
	return at;
}

void wfq_caps_account(struct wfq *w, uint64_t dt_ns)
{
	struct wfq_node *n;

	LIST_FOREACH (n, &w->empty_caps, cap.link) {
		if (n->cap.kept_back)
			n->cap.kept_ns += dt_ns;
	}
}

uint64_t wfq_capped_ns(const struct wfq_node *group)
{
	return group->cap.kept_ns;
}

void wfq_forget_policy(struct wfq_node *n)
{
	if (n->latency)
		LIST_REMOVE(n, latency_link);
	if (n->cap.empty)
		LIST_REMOVE(n, cap.link);
	n->latency = n->cap.empty = false;
}
