// SPDX-License-Identifier: Apache-2.0
// Start-time fair queuing over a tree; see the header for the policy. Here: tags and demand (who comes before
// whom), charging (what was used), and the life of a turn. Runs in the mediator and in the unit tests'
// simulation.
#include "mediator/sched/wfq.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Virtual time of one nanosecond at weight 1. Enough that a microsecond at the greatest weight is not lost
// (the rest is carried anyway); small enough that VIRTUAL_LIMIT is months of service away.
#define VIRTUAL_PER_NS 1024u
// Tags of a group's children are moved down together when its virtual time gets here.
#define VIRTUAL_LIMIT (UINT64_C(1) << 62)
// Longest piece that is charged in one multiplication.
#define CHARGE_STEP_NS (UINT64_C(1) << 40)
// Consecutive turns of one leaf that are granted as one, when the tags would give it the next ones anyway.
#define MAX_TURNS_IN_ONE 8u

static int compare_nodes(const struct wfq_node *a, const struct wfq_node *b)
{
	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return 0;
}

RB_GENERATE_INTERNAL(wfq_ready, wfq_node, link, compare_nodes, __attribute__((unused)) static)

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t add_sat(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static bool is_active(const struct wfq_node *leaf)
{
	return leaf->state == WFQ_HOLDING || leaf->state == WFQ_CLOSING || leaf->state == WFQ_LINGERING;
}

static bool somebody_waits(const struct wfq *w)
{
	return !RB_EMPTY(&w->root.ready);
}

// ---- virtual time ----

// The ancestor of n (or n) whose parent is group; NULL if n is not below group.
static struct wfq_node *below(struct wfq_node *n, const struct wfq_node *group)
{
	while (n && n->parent != group)
		n = n->parent;
	return n;
}

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

static void refresh_v(struct wfq *w, struct wfq_node *group)
{
	struct wfq_node *first = RB_MIN(wfq_ready, &group->ready);
	uint64_t least = first ? first->tag : UINT64_MAX;

	for (uint32_t i = 0; i < w->n_active; i++) {
		struct wfq_node *n = below(w->active[i], group);

		if (n && n->in_demand)
			least = min_u64(least, n->tag);
	}
	if (least != UINT64_MAX)
		group->v = max_u64(group->v, least);
	if (group->v >= VIRTUAL_LIMIT)
		rebase(group);
}

// Returns the topmost node that came into demand with the leaf.
static struct wfq_node *enter_demand(struct wfq *w, struct wfq_node *leaf)
{
	struct wfq_node *top = leaf;

	for (struct wfq_node *n = leaf; n->parent && !n->in_demand; n = n->parent) {
		struct wfq_node *p = n->parent;
		uint64_t allowance, floor;

		refresh_v(w, p);
		n->in_demand = true;
		n->clock_mark = w->contended_clock;
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

static void leave_demand(struct wfq *w, struct wfq_node *leaf)
{
	for (struct wfq_node *n = leaf; n->parent; n = n->parent) {
		struct wfq_node *p = n->parent;

		refresh_v(w, p);
		n->in_demand = false;
		n->clock_sum += w->contended_clock - n->clock_mark;
		p->demand_count--;
		p->demand_weight -= n->weight;
		if (p->demand_count)
			break;
	}
}

static void enqueue(struct wfq *w, struct wfq_node *leaf)
{
	for (struct wfq_node *n = leaf; n->parent && !n->queued; n = n->parent) {
		n->order = w->next_order++;
		RB_INSERT(wfq_ready, &n->parent->ready, n);
		n->queued = true;
	}
}

static void dequeue(struct wfq_node *leaf)
{
	for (struct wfq_node *n = leaf; n->parent; n = n->parent) {
		RB_REMOVE(wfq_ready, &n->parent->ready, n);
		n->queued = false;
		if (!RB_EMPTY(&n->parent->ready))
			break;
	}
}

// ---- charging ----

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

static void charge(struct wfq *w, struct wfq_node *leaf, uint64_t ns)
{
	struct wfq_node *top = below(leaf, &w->root);
	bool contended = w->root.demand_count > (top->in_demand ? 1u : 0u);

	for (struct wfq_node *n = leaf; n->parent; n = n->parent) {
		advance_tag(n, ns);
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

static void begin_phase(struct wfq *w, uint64_t now_ns)
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
	if (w->root.demand_count >= 2)
		w->contended_clock += dt;
	if (billed_by_busy_time(w)) {
		struct wfq_node *leaf = w->holder;
		uint64_t busy = leaf->busy_seen - leaf->phase_busy_ns;
		uint64_t wall = now_ns > leaf->phase_ns ? now_ns - leaf->phase_ns : 0;
		uint64_t total = min_u64(busy, wall);

		if (total > leaf->phase_charged_ns) {
			charge(w, leaf, total - leaf->phase_charged_ns);
			leaf->phase_charged_ns = total;
		}
	} else {
		// Leaves that overlap (one overran its turn) share the device's time slices evenly.
		for (uint32_t i = 0; i < w->n_active; i++)
			charge(w, w->active[i], dt / w->n_active);
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

// ---- turns ----

static void add_active(struct wfq *w, struct wfq_node *leaf)
{
	assert(w->n_active < w->active_room);
	leaf->active_index = w->n_active;
	w->active[w->n_active++] = leaf;
}

static void remove_active(struct wfq *w, struct wfq_node *leaf, uint64_t now_ns)
{
	struct wfq_node *last = w->active[--w->n_active];

	w->active[leaf->active_index] = last;
	last->active_index = leaf->active_index;
	if (w->holder == leaf)
		w->holder = NULL;
	else
		begin_phase(w, now_ns); // fewer share the device from here on
}

// How much service the leaf is behind those who wait: until then the tags would choose it again.
static uint64_t owed_ns(struct wfq_node *leaf)
{
	uint64_t owed = UINT64_MAX;

	for (struct wfq_node *n = leaf; n->parent; n = n->parent) {
		struct wfq_node *next = RB_MIN(wfq_ready, &n->parent->ready);
		uint64_t gap;

		if (!next || next == n)
			continue;
		gap = next->tag > n->tag ? next->tag - n->tag : 0;
		owed = min_u64(owed, gap / VIRTUAL_PER_NS > UINT64_MAX / n->weight
					 ? UINT64_MAX
					 : gap / VIRTUAL_PER_NS * n->weight);
	}
	return owed;
}

static uint64_t new_turn_ns(const struct wfq *w, struct wfq_node *leaf)
{
	uint64_t turn = w->config.turn_ns;

	return min_u64(max_u64(owed_ns(leaf), turn), turn * MAX_TURNS_IN_ONE);
}

// The deadline of a turn that runs already, now that somebody (else) waits: the end of the turn it is in, or
// later if it is behind the others.
static uint64_t running_deadline(const struct wfq *w, struct wfq_node *leaf, uint64_t now_ns)
{
	uint64_t turn = w->config.turn_ns;
	uint64_t owed = min_u64(owed_ns(leaf), turn * MAX_TURNS_IN_ONE);
	uint64_t end = leaf->opened_ns + turn;

	// A turn without a deadline is over after its first turn_ns. One with a deadline is a number of whole
	// turns; it ends with the one that runs.
	if (leaf->deadline_ns != WFQ_NEVER && now_ns > end)
		end += (now_ns - end + turn - 1) / turn * turn;
	return min_u64(leaf->deadline_ns, max_u64(max_u64(end, now_ns), add_sat(now_ns, owed)));
}

// new_top came into demand just now, with a tag. If the holder is further ahead of it than a short turn, it
// need not wait for the end of a whole one.
static bool may_cut(const struct wfq *w, const struct wfq_node *new_top)
{
	struct wfq_node *mine = below(w->holder, new_top->parent);
	uint64_t lead;

	if (!mine || mine == new_top || mine->tag <= new_top->tag)
		return false;
	lead = (mine->tag - new_top->tag) / VIRTUAL_PER_NS;
	return lead > w->config.min_turn_ns / mine->weight;
}

// Somebody came into demand while w->holder has the gate: decides the new deadline; wfq_next says it.
static void contend(struct wfq *w, const struct wfq_node *new_top, uint64_t now_ns)
{
	struct wfq_node *holder = w->holder;

	if (!holder || holder->state != WFQ_HOLDING)
		return;
	if (may_cut(w, new_top)) {
		uint64_t cut = max_u64(now_ns, holder->opened_ns + w->config.min_turn_ns);

		holder->wanted_deadline_ns = min_u64(holder->wanted_deadline_ns, cut);
	} else {
		holder->wanted_deadline_ns =
		    min_u64(holder->wanted_deadline_ns, running_deadline(w, holder, now_ns));
	}
}

static void stop_waiting(struct wfq *w, struct wfq_node *leaf)
{
	dequeue(leaf);
	leave_demand(w, leaf);
	leaf->state = WFQ_IDLE;
}

void wfq_want(struct wfq *w, struct wfq_node *leaf, bool demand, uint64_t now_ns)
{
	wfq_account(w, now_ns);
	switch (leaf->state) {
	case WFQ_IDLE:
		if (demand) {
			const struct wfq_node *top = enter_demand(w, leaf);

			leaf->state = WFQ_WAITING;
			enqueue(w, leaf);
			contend(w, top, now_ns);
		}
		break;
	case WFQ_WAITING:
		if (!demand)
			stop_waiting(w, leaf);
		break;
	case WFQ_HOLDING:
		if (leaf->deadline_ns != WFQ_NEVER || demand == leaf->in_demand)
			break;
		if (demand)
			enter_demand(w, leaf);
		else
			leave_demand(w, leaf);
		break;
	case WFQ_CLOSING:
	case WFQ_LINGERING: break;
	}
}

void wfq_released(struct wfq *w, struct wfq_node *leaf, bool demand, uint64_t now_ns)
{
	if (!is_active(leaf))
		return;
	wfq_account(w, now_ns);
	remove_active(w, leaf, now_ns);
	leaf->state = demand ? WFQ_WAITING : WFQ_IDLE;
	if (demand) {
		if (!leaf->in_demand)
			enter_demand(w, leaf);
		enqueue(w, leaf);
		if (w->holder)
			contend(w, leaf, now_ns);
	} else if (leaf->in_demand) {
		leave_demand(w, leaf);
	}
}

void wfq_abandon(struct wfq *w, struct wfq_node *leaf, uint64_t now_ns)
{
	if (w->holder != leaf)
		return;
	wfq_account(w, now_ns);
	leaf->state = WFQ_LINGERING;
	leaf->deadline_ns = min_u64(leaf->deadline_ns, now_ns);
	w->holder = NULL;
}

// ---- decisions ----

static bool find_hung(struct wfq *w, uint64_t now_ns, struct wfq_action *ret)
{
	for (uint32_t i = 0; i < w->n_active; i++) {
		struct wfq_node *leaf = w->active[i];

		if (leaf->state == WFQ_HOLDING || leaf->kill_said ||
		    now_ns < add_sat(leaf->deadline_ns, w->config.watchdog_ns))
			continue;
		leaf->kill_said = true;
		*ret = (struct wfq_action){ .kind = WFQ_KILL, .leaf = leaf };
		return true;
	}
	return false;
}

static bool close_gate(struct wfq_node *leaf, uint64_t deadline_ns, struct wfq_action *ret)
{
	leaf->state = WFQ_CLOSING;
	leaf->deadline_ns = deadline_ns;
	*ret = (struct wfq_action){ .kind = WFQ_CLOSE, .leaf = leaf };
	return true;
}

static bool move_deadline(struct wfq *w, struct wfq_node *leaf, uint64_t deadline_ns, uint64_t now_ns,
			  struct wfq_action *ret)
{
	leaf->deadline_ns = leaf->wanted_deadline_ns = deadline_ns;
	if (deadline_ns == WFQ_NEVER)
		begin_phase(w, now_ns);
	*ret = (struct wfq_action){ .kind = WFQ_DEADLINE, .leaf = leaf, .deadline_ns = deadline_ns };
	return true;
}

static bool serve_holder(struct wfq *w, uint64_t now_ns, struct wfq_action *ret)
{
	struct wfq_node *leaf = w->holder;

	if (leaf->state == WFQ_CLOSING) {
		if (now_ns < add_sat(leaf->deadline_ns, w->config.overrun_ns))
			return false;
		leaf->state = WFQ_LINGERING;
		w->holder = NULL;
		*ret = (struct wfq_action){ .kind = WFQ_LINGER, .leaf = leaf };
		return true;
	}
	if (!somebody_waits(w)) {
		leaf->wanted_deadline_ns = WFQ_NEVER;
		return leaf->deadline_ns != WFQ_NEVER && move_deadline(w, leaf, WFQ_NEVER, now_ns, ret);
	}
	if (!leaf->in_demand) {
		// It runs nothing, so there is nothing to wait for.
		remove_active(w, leaf, now_ns);
		leaf->state = WFQ_IDLE;
		*ret = (struct wfq_action){ .kind = WFQ_CLOSE, .leaf = leaf };
		return true;
	}
	if (leaf->wanted_deadline_ns == WFQ_NEVER)
		leaf->wanted_deadline_ns = running_deadline(w, leaf, now_ns);
	if (leaf->wanted_deadline_ns <= now_ns)
		return close_gate(leaf, leaf->wanted_deadline_ns, ret);
	if (leaf->wanted_deadline_ns != leaf->deadline_ns)
		return move_deadline(w, leaf, leaf->wanted_deadline_ns, now_ns, ret);
	return false;
}

static struct wfq_node *first_waiting(struct wfq *w)
{
	struct wfq_node *n = &w->root;

	while (!RB_EMPTY(&n->ready))
		n = RB_MIN(wfq_ready, &n->ready);
	return n == &w->root ? NULL : n;
}

static bool open_gate(struct wfq *w, struct wfq_node *leaf, uint64_t now_ns, struct wfq_action *ret)
{
	// Often enough that tags are moved down in time even if nobody ever comes or goes.
	for (struct wfq_node *n = leaf; n->parent; n = n->parent)
		refresh_v(w, n->parent);
	dequeue(leaf);
	leaf->state = WFQ_HOLDING;
	leaf->kill_said = false;
	leaf->opened_ns = now_ns;
	leaf->deadline_ns = somebody_waits(w) ? add_sat(now_ns, new_turn_ns(w, leaf)) : WFQ_NEVER;
	leaf->wanted_deadline_ns = leaf->deadline_ns;
	w->holder = leaf;
	add_active(w, leaf);
	begin_phase(w, now_ns);
	if (leaf->deadline_ns != WFQ_NEVER) {
		for (struct wfq_node *n = leaf; n->parent; n = n->parent)
			n->turns++;
	}
	*ret = (struct wfq_action){ .kind = WFQ_OPEN, .leaf = leaf, .deadline_ns = leaf->deadline_ns };
	return true;
}

bool wfq_next(struct wfq *w, uint64_t now_ns, struct wfq_action *ret)
{
	struct wfq_node *leaf;

	wfq_account(w, now_ns);
	if (find_hung(w, now_ns, ret))
		return true;
	if (w->holder && serve_holder(w, now_ns, ret))
		return true;
	if (w->holder)
		return false;
	leaf = first_waiting(w);
	return leaf && open_gate(w, leaf, now_ns, ret);
}

uint64_t wfq_wakeup(const struct wfq *w)
{
	uint64_t at = WFQ_NEVER;

	for (uint32_t i = 0; i < w->n_active; i++) {
		const struct wfq_node *leaf = w->active[i];

		if (leaf->state == WFQ_HOLDING) {
			at = min_u64(at, leaf->deadline_ns);
			continue;
		}
		if (leaf->state == WFQ_CLOSING)
			at = min_u64(at, add_sat(leaf->deadline_ns, w->config.overrun_ns));
		if (!leaf->kill_said)
			at = min_u64(at, add_sat(leaf->deadline_ns, w->config.watchdog_ns));
	}
	return at;
}

// ---- the tree ----

void wfq_init(struct wfq *w, const struct wfq_config *config)
{
	memset(w, 0, sizeof(*w));
	w->config = *config;
	w->root.weight = 1;
	RB_INIT(&w->root.ready);
	LIST_INIT(&w->root.children);
}

void wfq_done(struct wfq *w)
{
	assert(LIST_EMPTY(&w->root.children));
	free(w->active);
	w->active = NULL;
}

void wfq_add_group(struct wfq *w, struct wfq_node *n, struct wfq_node *parent, uint32_t weight)
{
	assert(weight);
	memset(n, 0, sizeof(*n));
	RB_INIT(&n->ready);
	LIST_INIT(&n->children);
	n->parent = parent ? parent : &w->root;
	n->weight = weight;
	refresh_v(w, n->parent);
	n->tag = n->parent->v;
	LIST_INSERT_HEAD(&n->parent->children, n, sibling);
}

int wfq_add_leaf(struct wfq *w, struct wfq_node *n, struct wfq_node *parent, uint32_t weight)
{
	// Room for every leaf to linger, so that opening a gate cannot fail.
	if (w->leaves >= w->active_room) {
		uint32_t room = w->active_room ? w->active_room * 2 : 64;
		struct wfq_node **grown = reallocarray(w->active, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->active = grown;
		w->active_room = room;
	}
	w->leaves++;
	wfq_add_group(w, n, parent, weight);
	n->is_leaf = true;
	return 0;
}

void wfq_remove(struct wfq *w, struct wfq_node *n, uint64_t now_ns)
{
	wfq_account(w, now_ns);
	if (n->is_leaf) {
		wfq_released(w, n, false, now_ns);
		if (n->state == WFQ_WAITING)
			stop_waiting(w, n);
		w->leaves--;
	}
	assert(LIST_EMPTY(&n->children) && !n->queued && !n->in_demand);
	LIST_REMOVE(n, sibling);
	n->parent = NULL;
}
