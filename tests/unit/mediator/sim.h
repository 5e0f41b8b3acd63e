// SPDX-License-Identifier: Apache-2.0
// Simulated executors, GPU work and time around mediator/sched/wfq.c: ten seconds of many tenants in a
// moment, the same each time. The mediator's side does what mediator/turn/turn.c does with turn pages; the
// executor's side what protocol/host/turn_page.h asks of an executor; messages between them take
// SIM_LATENCY_NS.
#ifndef VGPU_TESTS_UNIT_MEDIATOR_SIM_H
#define VGPU_TESTS_UNIT_MEDIATOR_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "mediator/sched/wfq.h"

#define SIM_LATENCY_NS (20 * NSEC_PER_USEC)
#define US(n)	       ((uint64_t)(n) * NSEC_PER_USEC)
#define MS(n)	       ((uint64_t)(n) * NSEC_PER_MSEC)
#define SEC(n)	       ((uint64_t)(n) * NSEC_PER_SEC)

// A program: kernels of kernel_ns (random in kernel_ns..kernel_max_ns if that is greater). gap_ns 0: always
// more to submit; else it waits for each kernel and pauses gap_ns before the next one.
struct sim_proc {
	struct wfq_node leaf;
	uint64_t kernel_ns, kernel_max_ns, gap_ns;
	bool stuck; // never gives a turn back
	bool here;  // joined and not left

	// its turn page
	bool gate, demand, opening; // opening: the mediator opened it, the executor does not see it yet
	uint64_t turn_id, deadline_ns, released_turn;

	// its GPU work
	uint64_t drain_ns;		  // when all that is submitted is done
	uint64_t submitted_ns;		  // total
	uint64_t idle_since_ns, ready_ns; // a pause: since when, until when
	bool pausing;

	// measured
	uint64_t asked_ns;	  // when it came into demand without a turn; 0: has one, or no demand
	uint64_t longest_wait_ns; // for a turn
	uint64_t opened, killed, lingered;
};

struct sim {
	struct wfq wfq;
	uint64_t now_ns;
	uint64_t idle_grace_ns, budget_ns;
	uint64_t seed;
	uint64_t order, timer_generation;
	struct sim_event *events; // heap
	uint32_t n_events, room;

	uint64_t decisions;
};

void sim_init(struct sim *s, uint64_t turn_ns, uint64_t seed);
void sim_done(struct sim *s);

// tenant: a group of s->wfq.
void sim_join(struct sim *s, struct sim_proc *p, struct wfq_node *tenant);
void sim_leave(struct sim *s, struct sim_proc *p);

void sim_run_until(struct sim *s, uint64_t until_ns);

// GPU work that p had done by now.
uint64_t sim_used_ns(const struct sim *s, const struct sim_proc *p);

// 0..below-1, from the simulation's seed.
uint64_t sim_random(struct sim *s, uint64_t below);

// (sum x)^2 / (n sum x^2)
double sim_jain(const double *x, unsigned n);

#endif
