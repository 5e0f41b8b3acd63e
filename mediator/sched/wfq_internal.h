// SPDX-License-Identifier: Apache-2.0
// The scheduler's inside, shared by the files of this folder only: wfq_tags.c (who comes before whom, and
// what was used), wfq_policy.c (weights, moves, latency class, caps), wfq.c (turns and decisions).
#ifndef VGPU_MEDIATOR_SCHED_WFQ_INTERNAL_H
#define VGPU_MEDIATOR_SCHED_WFQ_INTERNAL_H

#include "mediator/sched/wfq.h"

// Virtual time of one nanosecond at weight 1. Enough that a microsecond at the greatest weight is not lost
// (the rest is carried anyway); small enough that the limit at which tags are moved down is months of service
// away.
#define VIRTUAL_PER_NS 1024u
// Consecutive turns of one leaf that are granted as one, when the tags would give it the next ones anyway.
#define MAX_TURNS_IN_ONE 8u

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t add_sat(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline bool is_active(const struct wfq_node *leaf)
{
	return leaf->state == WFQ_HOLDING || leaf->state == WFQ_CLOSING || leaf->state == WFQ_LINGERING;
}

static inline bool somebody_waits(const struct wfq *w)
{
	return !RB_EMPTY(&w->root.ready);
}

// The ancestor of n (or n) whose parent is group; NULL if n is not below group.
static inline struct wfq_node *wfq_below(struct wfq_node *n, const struct wfq_node *group)
{
	while (n && n->parent != group)
		n = n->parent;
	return n;
}

// ---- wfq_tags.c

struct wfq_node *wfq_first(struct wfq_ready *ready); // the child that is served next; NULL: none waits
void wfq_refresh_v(struct wfq *w, struct wfq_node *group);
// n (a leaf, or a group with a leaf in demand) and what is above it come into demand. Returns the topmost
// node that came.
struct wfq_node *wfq_enter_demand(struct wfq *w, struct wfq_node *n);
void wfq_leave_demand(struct wfq *w, struct wfq_node *n);
void wfq_enqueue(struct wfq *w, struct wfq_node *n);
void wfq_dequeue(struct wfq_node *n);
void wfq_set_tag(struct wfq_node *n, uint64_t tag);
void wfq_charge(struct wfq *w, struct wfq_node *leaf, uint64_t ns, uint64_t now_ns);
void wfq_begin_phase(struct wfq *w, uint64_t now_ns);

// ---- wfq_policy.c

// The turn length that holds for the leaf.
uint64_t wfq_turn_of(const struct wfq *w, const struct wfq_node *leaf);

// Whether the latency class lets the leaf go before others now.
bool wfq_goes_first(struct wfq *w, struct wfq_node *leaf);
// The group of the latency class that goes first and waits longest; NULL: none.
struct wfq_node *wfq_first_latency(struct wfq *w);

void wfq_cap_charge(struct wfq_node *group, uint64_t ns, uint64_t now_ns);
bool wfq_is_kept_back(const struct wfq_node *leaf); // by a cap above it
void wfq_keep_back(struct wfq_node *leaf);	    // state becomes WFQ_CAPPED
void wfq_let_go(struct wfq_node *leaf);		    // WFQ_CAPPED ends, state becomes WFQ_IDLE
// When the caps above the leaf are used up if it runs from now on; WFQ_NEVER: there are none.
uint64_t wfq_cap_deadline(const struct wfq_node *leaf, uint64_t now_ns);
// Keeps back what is below caps that are used up, and lets go what is below those that filled again.
void wfq_enforce_caps(struct wfq *w, uint64_t now_ns);
// When the first empty cap lets go; WFQ_NEVER: none is empty.
uint64_t wfq_caps_wakeup(const struct wfq *w);
void wfq_caps_account(struct wfq *w, uint64_t dt_ns);
void wfq_forget_policy(struct wfq_node *n); // it is about to be removed

// ---- wfq.c

// The leaf, whose topmost ancestor that was not in demand is top, waits from now on: a turn that runs may
// have to end sooner.
void wfq_contend(struct wfq *w, struct wfq_node *leaf, const struct wfq_node *top, uint64_t now_ns);

#endif
