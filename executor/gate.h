// SPDX-License-Identifier: Apache-2.0
// The executor's side of the turn page (protocol/host/turn_page.h): may GPU work be submitted, is there
// demand, and when is the turn given back. Time comes in as a parameter; nothing here makes a system call:
// when kick is set the loop rings the mediator's eventfd and clears it.
#ifndef VGPU_EXECUTOR_GATE_H
#define VGPU_EXECUTOR_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/turn_page.h"

struct gate {
	struct vgpu_turn_page *page;
	uint64_t released;   // the last turn that was given back
	uint64_t idle_since; // ns; 0: not idle, or no deadline
	bool kick;
};

enum gate_answer {
	GATE_GO,	 // submit
	GATE_CLOSED,	 // no turn: wait for the doorbell
	GATE_BUDGET_FULL // enough in flight: submit when some of it is done
};

void gate_init(struct gate *g, struct vgpu_turn_page *page);

enum gate_answer gate_ask_slow(const struct gate *g, uint64_t now_ns, uint64_t in_flight_ns);

// Whether the turn is ours and has no deadline: then nothing else has to be asked. A few loads of one line.
static inline bool gate_is_free(const struct gate *g)
{
	uint64_t turn = atomic_load_explicit(&g->page->turn_id, memory_order_acquire);

	return turn != g->released &&
	       atomic_load_explicit(&g->page->gate, memory_order_acquire) == VGPU_GATE_OPEN &&
	       atomic_load_explicit(&g->page->deadline_ns, memory_order_relaxed) == VGPU_NO_DEADLINE;
}

// Whether work may be submitted now, by what the page says alone: for a thread beside the loop's.
bool gate_is_open(const struct vgpu_turn_page *page, uint64_t now_ns);

// Brings the page up to date. waiting: GPU work stands in the ring or waits to be let go on; in_flight:
// records submitted and not known complete. Returns when it must be called again at the latest (ns,
// UINT64_MAX: not before something changes).
uint64_t gate_update(struct gate *g, uint64_t now_ns, bool waiting, uint32_t in_flight);

#endif
