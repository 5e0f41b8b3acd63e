// SPDX-License-Identifier: Apache-2.0
// Turns as the executor takes and gives them; see the header. Called by the executor's loop; pure but for the
// turn page.
#include "executor/gate.h"

void gate_init(struct gate *g, struct vgpu_turn_page *page)
{
	*g = (struct gate){ .page = page };
	g->released = atomic_load_explicit(&page->released_turn, memory_order_relaxed);
}

enum gate_answer gate_ask_slow(const struct gate *g, uint64_t now_ns, uint64_t in_flight_ns)
{
	uint64_t turn = atomic_load_explicit(&g->page->turn_id, memory_order_acquire);
	uint32_t open = atomic_load_explicit(&g->page->gate, memory_order_acquire);
	uint64_t deadline = atomic_load_explicit(&g->page->deadline_ns, memory_order_relaxed);

	if (turn == g->released || open != VGPU_GATE_OPEN)
		return GATE_CLOSED;
	if (deadline == VGPU_NO_DEADLINE)
		return GATE_GO;
	if (now_ns >= deadline)
		return GATE_CLOSED;
	// Something may always run, so that a piece of work above the budget does not wait for ever.
	if (in_flight_ns &&
	    in_flight_ns >= atomic_load_explicit(&g->page->inflight_budget_ns, memory_order_relaxed))
		return GATE_BUDGET_FULL;
	return GATE_GO;
}

bool gate_is_open(const struct vgpu_turn_page *page, uint64_t now_ns)
{
	uint64_t turn = atomic_load_explicit(&page->turn_id, memory_order_acquire);
	uint32_t open = atomic_load_explicit(&page->gate, memory_order_acquire);
	uint64_t deadline = atomic_load_explicit(&page->deadline_ns, memory_order_relaxed);

	return turn != atomic_load_explicit(&page->released_turn, memory_order_relaxed) &&
	       open == VGPU_GATE_OPEN && (deadline == VGPU_NO_DEADLINE || now_ns < deadline);
}

static void show_demand(struct gate *g, bool demand, bool somebody_waits)
{
	if (atomic_load_explicit(&g->page->demand, memory_order_relaxed) == demand)
		return;
	atomic_store_explicit(&g->page->demand, demand, memory_order_release);
	if (demand && somebody_waits)
		g->kick = true;
}

static void release_turn(struct gate *g, uint64_t turn)
{
	g->released = turn;
	g->idle_since = 0;
	atomic_store_explicit(&g->page->released_turn, turn, memory_order_release);
	g->kick = true;
}

uint64_t gate_update(struct gate *g, uint64_t now_ns, bool waiting, uint32_t in_flight)
{
	uint64_t turn = atomic_load_explicit(&g->page->turn_id, memory_order_acquire);
	bool open = atomic_load_explicit(&g->page->gate, memory_order_acquire) == VGPU_GATE_OPEN;
	uint64_t deadline = atomic_load_explicit(&g->page->deadline_ns, memory_order_relaxed);
	bool demand = waiting || in_flight, held = turn != g->released;
	uint64_t grace_end;

	show_demand(g, demand, !open || !held);
	if (!held)
		return UINT64_MAX;
	if (!open || (deadline != VGPU_NO_DEADLINE && now_ns >= deadline)) {
		if (!in_flight)
			release_turn(g, turn);
		return UINT64_MAX;
	}
	if (deadline == VGPU_NO_DEADLINE || demand) {
		g->idle_since = 0;
		return deadline;
	}
	if (!g->idle_since)
		g->idle_since = now_ns;
	grace_end = g->idle_since + atomic_load_explicit(&g->page->idle_grace_ns, memory_order_relaxed);
	if (now_ns >= grace_end) {
		release_turn(g, turn);
		return UINT64_MAX;
	}
	return grace_end < deadline ? grace_end : deadline;
}
