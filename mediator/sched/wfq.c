// SPDX-License-Identifier: Apache-2.0
// Start-time fair queuing over a tree: the life of a turn, and what is to be done next; see the header for
// the policy. Runs in the mediator and in the unit tests' simulation.
#include "mediator/sched/wfq.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/sched/wfq_internal.h"

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
		wfq_begin_phase(w, now_ns); // fewer share the device from here on
}

// How much service the leaf is behind those who wait: until then the tags would choose it again.
static uint64_t owed_ns(struct wfq_node *leaf)
{
	uint64_t owed = UINT64_MAX;

	for (struct wfq_node *n = leaf; n->parent; n = n->parent) {
		struct wfq_node *next = wfq_first(&n->parent->ready);
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
	uint64_t turn = wfq_turn_of(w, leaf);

	return min_u64(max_u64(owed_ns(leaf), turn), turn * MAX_TURNS_IN_ONE);
}

// The deadline of a turn that runs already, now that somebody (else) waits: the end of the turn it is in, or
// later if it is behind the others.
static uint64_t running_deadline(const struct wfq *w, struct wfq_node *leaf, uint64_t now_ns)
{
	uint64_t turn = wfq_turn_of(w, leaf);
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
	struct wfq_node *mine = wfq_below(w->holder, new_top->parent);
	uint64_t lead;

	if (!mine || mine == new_top || mine->tag <= new_top->tag)
		return false;
	lead = (mine->tag - new_top->tag) / VIRTUAL_PER_NS;
	return lead > w->config.min_turn_ns / mine->weight;
}

void wfq_contend(struct wfq *w, struct wfq_node *leaf, const struct wfq_node *top, uint64_t now_ns)
{
	struct wfq_node *holder = w->holder;
	uint64_t until;

	if (!holder || holder->state != WFQ_HOLDING)
		return;
	if (wfq_goes_first(w, leaf) && !wfq_goes_first(w, holder))
		until = now_ns;
	else if (may_cut(w, top))
		until = max_u64(now_ns, holder->opened_ns + w->config.min_turn_ns);
	else
		until = running_deadline(w, holder, now_ns);
	holder->wanted_deadline_ns = min_u64(holder->wanted_deadline_ns, until);
}

static void start_waiting(struct wfq *w, struct wfq_node *leaf, uint64_t now_ns)
{
	const struct wfq_node *top;

	if (wfq_is_kept_back(leaf)) {
		if (leaf->in_demand)
			wfq_leave_demand(w, leaf);
		wfq_keep_back(leaf);
		return;
	}
	top = leaf->in_demand ? leaf : wfq_enter_demand(w, leaf);
	leaf->state = WFQ_WAITING;
	wfq_enqueue(w, leaf);
	wfq_contend(w, leaf, top, now_ns);
}

static void stop_waiting(struct wfq *w, struct wfq_node *leaf)
{
	wfq_dequeue(leaf);
	wfq_leave_demand(w, leaf);
	leaf->state = WFQ_IDLE;
}

void wfq_want(struct wfq *w, struct wfq_node *leaf, bool demand, uint64_t now_ns)
{
	wfq_account(w, now_ns);
	switch (leaf->state) {
	case WFQ_IDLE:
		if (demand)
			start_waiting(w, leaf, now_ns);
		break;
	case WFQ_CAPPED:
		if (!demand)
			wfq_let_go(leaf);
		break;
	case WFQ_WAITING:
		if (!demand)
			stop_waiting(w, leaf);
		break;
	case WFQ_HOLDING:
		if (leaf->deadline_ns != WFQ_NEVER || demand == leaf->in_demand)
			break;
		if (demand)
			wfq_enter_demand(w, leaf);
		else
			wfq_leave_demand(w, leaf);
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
	leaf->state = WFQ_IDLE;
	if (demand)
		start_waiting(w, leaf, now_ns);
	else if (leaf->in_demand)
		wfq_leave_demand(w, leaf);
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
		wfq_begin_phase(w, now_ns);
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
	if (!somebody_waits(w) && leaf->cap_deadline_ns > now_ns) {
		leaf->wanted_deadline_ns = leaf->cap_deadline_ns;
		return leaf->deadline_ns != leaf->wanted_deadline_ns &&
		       move_deadline(w, leaf, leaf->wanted_deadline_ns, now_ns, ret);
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
	leaf->wanted_deadline_ns = min_u64(leaf->wanted_deadline_ns, leaf->cap_deadline_ns);
	if (leaf->wanted_deadline_ns <= now_ns)
		return close_gate(leaf, leaf->wanted_deadline_ns, ret);
	if (leaf->wanted_deadline_ns != leaf->deadline_ns)
		return move_deadline(w, leaf, leaf->wanted_deadline_ns, now_ns, ret);
	return false;
}

static struct wfq_node *first_waiting(struct wfq *w)
{
	struct wfq_node *n = wfq_first_latency(w);

	if (!n)
		n = &w->root;
	while (!RB_EMPTY(&n->ready))
		n = wfq_first(&n->ready);
	return n == &w->root ? NULL : n;
}

static bool open_gate(struct wfq *w, struct wfq_node *leaf, uint64_t now_ns, struct wfq_action *ret)
{
	// Often enough that tags are moved down in time even if nobody ever comes or goes.
	for (struct wfq_node *n = leaf; n->parent; n = n->parent)
		wfq_refresh_v(w, n->parent);
	wfq_dequeue(leaf);
	leaf->state = WFQ_HOLDING;
	leaf->kill_said = false;
	leaf->opened_ns = now_ns;
	leaf->cap_deadline_ns = wfq_cap_deadline(leaf, now_ns);
	leaf->deadline_ns = somebody_waits(w) ? add_sat(now_ns, new_turn_ns(w, leaf)) : WFQ_NEVER;
	leaf->deadline_ns = min_u64(leaf->deadline_ns, leaf->cap_deadline_ns);
	leaf->wanted_deadline_ns = leaf->deadline_ns;
	w->holder = leaf;
	add_active(w, leaf);
	wfq_begin_phase(w, now_ns);
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
	wfq_enforce_caps(w, now_ns);
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
	uint64_t at = wfq_caps_wakeup(w);

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
	LIST_INIT(&w->latency_groups);
	LIST_INIT(&w->empty_caps);
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
	wfq_refresh_v(w, n->parent);
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
	n->parent->is_tenant = true;
	return 0;
}

void wfq_remove(struct wfq *w, struct wfq_node *n, uint64_t now_ns)
{
	wfq_account(w, now_ns);
	if (n->is_leaf) {
		wfq_released(w, n, false, now_ns);
		if (n->state == WFQ_WAITING)
			stop_waiting(w, n);
		if (n->state == WFQ_CAPPED)
			wfq_let_go(n);
		w->leaves--;
	}
	wfq_forget_policy(n);
	assert(LIST_EMPTY(&n->children) && !n->queued && !n->in_demand);
	LIST_REMOVE(n, sibling);
	n->parent = NULL;
}
