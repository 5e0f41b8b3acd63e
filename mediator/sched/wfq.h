// SPDX-License-Identifier: Apache-2.0
// Who gets the GPU, and until when: start-time fair queuing over a tree of groups (pools, tenants below them)
// whose leaves are executors. Pure policy: no system calls, time comes in as now_ns, decisions come out of
// wfq_next(). Owned by the mediator's loop through mediator/turn/; the unit tests drive it in simulated time.
//
// Every node has a tag: the virtual time at which its next service starts. Service of t ns moves the tags of
// the leaf and of the groups above it by t / weight; the smallest tag among siblings with waiting work is
// served next. A node that comes (back) into demand gets
//
//	tag = max(tag, V - allowance)      V: smallest tag among the siblings in demand
//
// so idleness earns nothing, except for the allowance: what V moves while one turn passes, turn / (sum of the
// weights in demand), which is one turn times the node's share in service. Without it a tenant that
// synchronises after each launch and pauses a little longer than the idle grace would lose what others ran
// during its pause, each time; with it, it loses nothing as long as it comes back within about a turn, and
// the most that anybody can save up by idling is that one share of a turn. Service beyond a turn (a kernel
// that cannot be stopped) is charged like any other: the tag carries the debt.
//
// Two policies of a group change who comes next (docs/decisions/0018). One of the latency class is served
// before others, and cuts the turn of whoever has the GPU, as long as no tag from it up to the root is ahead
// of V by more than a credit; so over any time it gets its share and at most the credit and a turn more. One
// with a cap has a bucket of GPU nanoseconds that fills with the time and empties with what is charged; while
// it is empty the leaves below are WFQ_CAPPED and count as not in demand.
#ifndef VGPU_MEDIATOR_SCHED_WFQ_H
#define VGPU_MEDIATOR_SCHED_WFQ_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WFQ_NEVER UINT64_MAX

// What a leaf is doing. Groups stay WFQ_IDLE.
enum wfq_state {
	WFQ_IDLE,      // gate closed, no demand
	WFQ_WAITING,   // gate closed, demand
	WFQ_CAPPED,    // the same, but a group above has used its cap up
	WFQ_HOLDING,   // gate open
	WFQ_CLOSING,   // gate closed again, its work still runs; nobody else has the turn yet
	WFQ_LINGERING, // the same for longer than overrun_ns; others have the turn meanwhile
};

struct wfq_node;
RB_HEAD(wfq_ready, wfq_node);
LIST_HEAD(wfq_children, wfq_node);

// The most GPU time that a group may have, whether others want it or not.
struct wfq_cap {
	uint32_t per_10000;	   // of the time; 0: no cap
	uint64_t burst_ns;	   // what the bucket holds
	int64_t level;		   // 1/10000 ns; negative: debt
	uint64_t filled_ns;	   // up to when
	bool empty;		   // leaves below are kept back
	uint32_t kept_back;	   // how many of them are WFQ_CAPPED
	uint64_t kept_ns;	   // meter: time in which one at least was
	LIST_ENTRY(wfq_node) link; // of wfq.empty_caps
};

struct wfq_node {
	struct wfq_node *parent; // NULL: the root
	uint64_t order;		 // breaks ties: who waits longest comes first
	uint32_t weight;
	bool in_demand; // leaf: work waits or runs; group: one of its leaves is in demand

	uint64_t tag, tag_rest; // virtual time, and what the last division by weight left over
	bool queued;		// in parent's ready tree
	RB_ENTRY(wfq_node) link;
	LIST_ENTRY(wfq_node) sibling;

	// group
	struct wfq_children children;
	struct wfq_ready ready; // children with a waiting leaf below them
	uint64_t v;		// never falls
	uint64_t demand_weight; // of the children in demand
	uint32_t demand_count;
	bool is_tenant;	  // its children are leaves
	uint64_t turn_ns; // of the leaves below; 0: as the group above has it
	bool latency; // class; latency_spent: its credit is used up, it waits like others until half is back
	bool latency_spent;
	LIST_ENTRY(wfq_node) latency_link;
	struct wfq_cap cap;

	// leaf
	enum wfq_state state;
	bool is_leaf, kill_said;
	uint32_t active_index;	     // place in wfq.active while it has or had the gate
	uint64_t opened_ns;	     // when its gate was opened last
	uint64_t deadline_ns;	     // of this turn; WFQ_NEVER while nobody else waits
	uint64_t wanted_deadline_ns; // what wfq_next makes of it
	uint64_t cap_deadline_ns;    // when a cap above will be used up; WFQ_NEVER: none will
	uint64_t busy_seen;	     // last wfq_meter() reading
	uint64_t phase_ns;	     // since when this turn is billed by busy time
	uint64_t phase_busy_ns;	     // busy_seen at that moment
	uint64_t phase_charged_ns;   // billed since

	// Meters; of a group: everything below it. They only grow.
	uint64_t charged_ns;	       // service
	uint64_t contended_charged_ns; // part of it while another tenant was in demand
	uint64_t turns;		       // openings with a deadline

	// contended_ns(): the scheduler's contended clock minus clock_mark while in demand, plus clock_sum.
	uint64_t clock_mark, clock_sum;
};

struct wfq_config {
	uint64_t turn_ns;
	uint64_t round_ns;    // in which each that waits is to have its share; shortens turns; 0: never
	uint64_t min_turn_ns; // a turn is not cut shorter for somebody who is behind
	uint64_t overrun_ns;  // after the deadline: when others go on although the turn was not given back
	uint64_t watchdog_ns; // after the deadline: when the executor is to be killed
	uint64_t latency_credit_ns; // service that a node of the latency class may be ahead of the others
};

struct wfq {
	struct wfq_config config;
	struct wfq_node root;
	struct wfq_node *holder;  // HOLDING or CLOSING
	struct wfq_node **active; // HOLDING, CLOSING and LINGERING leaves
	uint32_t n_active, active_room, leaves;
	uint64_t next_order;
	uint64_t accounted_ns;	    // the past is charged up to here
	uint64_t contended_clock;   // ns in which two tenants were in demand
	uint32_t tenants_in_demand; // groups with leaves
	struct wfq_children latency_groups, empty_caps;
};

enum wfq_action_kind {
	WFQ_OPEN,     // open the leaf's gate until deadline_ns
	WFQ_DEADLINE, // the open gate's deadline is now deadline_ns
	WFQ_CLOSE,    // close the gate; it is to release the turn (nobody waits for that if it was idle)
	WFQ_LINGER,   // it did not in overrun_ns; others go on (nothing to do but to log it)
	WFQ_KILL,     // nor in watchdog_ns: the executor hangs
};

struct wfq_action {
	enum wfq_action_kind kind;
	struct wfq_node *leaf;
	uint64_t deadline_ns; // OPEN, DEADLINE; WFQ_NEVER: none
};

void wfq_init(struct wfq *w, const struct wfq_config *config);
void wfq_done(struct wfq *w); // all leaves and groups are removed before

// Nodes belong to the caller and stay in place while added. parent NULL: the root. weight >= 1. A new node
// starts at its siblings' virtual time. -ENOMEM only from adding a leaf.
void wfq_add_group(struct wfq *w, struct wfq_node *n, struct wfq_node *parent, uint32_t weight);
int wfq_add_leaf(struct wfq *w, struct wfq_node *n, struct wfq_node *parent, uint32_t weight);
// A leaf in any state (what it held is charged and passed on); a group without children.
void wfq_remove(struct wfq *w, struct wfq_node *n, uint64_t now_ns);

// Changes of policy take effect at once; what was used so far stays used. Each may be called at any time.
//
// Debt is scaled with the weight: who owed a turn owes a turn.
void wfq_set_weight(struct wfq *w, struct wfq_node *n, uint32_t weight, uint64_t now_ns);
// A group with all below it; parent NULL: the root. Debt goes with it.
void wfq_move(struct wfq *w, struct wfq_node *group, struct wfq_node *parent, uint64_t now_ns);
void wfq_set_turn(struct wfq_node *group, uint64_t turn_ns); // from the next turn on
void wfq_set_latency(struct wfq *w, struct wfq_node *group, bool latency);
// per_10000 of the time, 0 or 10000 and more: no cap. burst_ns: of GPU time at once.
void wfq_set_cap(struct wfq *w, struct wfq_node *group, uint32_t per_10000, uint64_t burst_ns,
		 uint64_t now_ns);

// The leaf's demand as it is now. May be said at any time, repeatedly. While the leaf has a turn under a
// deadline this changes nothing: a pause inside a turn is part of the turn, its end comes with
// wfq_released().
void wfq_want(struct wfq *w, struct wfq_node *leaf, bool demand, uint64_t now_ns);

// The leaf gave its turn back; demand as it is now. Ignored if it has none.
void wfq_released(struct wfq *w, struct wfq_node *leaf, bool demand, uint64_t now_ns);

// The leaf will not release its turn any more (its executor is being ended): others go on at once, it
// lingers. Nothing happens if it has no turn.
void wfq_abandon(struct wfq *w, struct wfq_node *leaf, uint64_t now_ns);

// The leaf's own count of nanoseconds with work in flight. Billed instead of wall time while nobody else is
// in demand, and never more than the wall time.
void wfq_meter(struct wfq *w, struct wfq_node *leaf, uint64_t busy_ns);

// Charges the past up to now_ns. wfq_next and all above that take now_ns do it themselves.
void wfq_account(struct wfq *w, uint64_t now_ns);

// The next thing to do, until it returns false. Whatever it returns counts as done from then on.
bool wfq_next(struct wfq *w, uint64_t now_ns, struct wfq_action *ret);

// When wfq_next must be asked again even if nothing happens; WFQ_NEVER: not needed.
uint64_t wfq_wakeup(const struct wfq *w);

// Nanoseconds in which this tenant was in demand together with another.
uint64_t wfq_contended_ns(const struct wfq *w, const struct wfq_node *n);

// Nanoseconds in which something below the group was kept back by the group's cap.
uint64_t wfq_capped_ns(const struct wfq_node *group);

// The part of the GPU that the node's weight and those above it give it, in 1/10000, among those in demand
// (and itself).
uint32_t wfq_share(const struct wfq_node *n);

#endif
