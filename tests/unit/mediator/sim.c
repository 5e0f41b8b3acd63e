// SPDX-License-Identifier: Apache-2.0
// The simulation behind the scheduler's tests; see the header.
#include "tests/unit/mediator/sim.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { EVENT_STEP, EVENT_KICK, EVENT_TIMER, EVENT_OPEN, EVENT_CLOSE, EVENT_DEADLINE };

struct sim_event {
	uint64_t at_ns, order;
	enum kind kind;
	struct sim_proc *proc;
	uint64_t value; // deadline, or the timer's generation
};

// ---- events ----

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void push(struct sim *s, uint64_t at_ns, enum kind kind, struct sim_proc *p, uint64_t value)
{
	uint32_t i = s->n_events++;
	struct sim_event e = { at_ns < s->now_ns ? s->now_ns : at_ns, s->order++, kind, p, value };

	if (s->n_events > s->room) {
		s->room = s->room ? s->room * 2 : 1024;
		s->events = reallocarray(s->events, s->room, sizeof(*s->events));
		assert(s->events);
	}
	for (; i && before(&e, &s->events[(i - 1) / 2]); i = (i - 1) / 2)
		s->events[i] = s->events[(i - 1) / 2];
	s->events[i] = e;
}

static struct sim_event pop(struct sim *s)
{
	struct sim_event first = s->events[0], last = s->events[--s->n_events];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= s->n_events)
			break;
		if (child + 1 < s->n_events && before(&s->events[child + 1], &s->events[child]))
			child++;
		if (!before(&s->events[child], &last))
			break;
		s->events[i] = s->events[child];
		i = child;
	}
	s->events[i] = last;
	return first;
}

uint64_t sim_random(struct sim *s, uint64_t below)
{
	// splitmix64
	uint64_t z = s->seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (z ^ (z >> 31)) % below;
}

// ---- an executor ----

static void kick(struct sim *s, struct sim_proc *p)
{
	push(s, s->now_ns + SIM_LATENCY_NS, EVENT_KICK, p, 0);
}

static bool holds(const struct sim_proc *p)
{
	return p->turn_id != p->released_turn;
}

static void set_demand(struct sim *s, struct sim_proc *p, bool demand)
{
	if (p->demand == demand)
		return;
	p->demand = demand;
	if (!demand) {
		p->asked_ns = 0;
		return;
	}
	if (!holds(p) || !p->gate || p->deadline_ns != WFQ_NEVER) {
		if (!holds(p))
			p->asked_ns = s->now_ns;
		kick(s, p);
	}
}

static void give_back(struct sim *s, struct sim_proc *p)
{
	if (p->stuck)
		return;
	p->released_turn = p->turn_id;
	p->asked_ns = p->demand ? s->now_ns : 0;
	kick(s, p);
}

static uint64_t next_kernel(struct sim *s, const struct sim_proc *p)
{
	if (p->kernel_max_ns <= p->kernel_ns)
		return p->kernel_ns;
	return p->kernel_ns + sim_random(s, p->kernel_max_ns - p->kernel_ns + 1);
}

static void submit(struct sim *s, struct sim_proc *p)
{
	uint64_t k = next_kernel(s, p);

	p->drain_ns = (p->drain_ns > s->now_ns ? p->drain_ns : s->now_ns) + k;
	p->submitted_ns += k;
}

// Holds an open gate before its deadline.
static void work(struct sim *s, struct sim_proc *p)
{
	uint64_t again;

	if (p->gap_ns) {
		if (p->drain_ns <= s->now_ns)
			submit(s, p);
		p->pausing = true; // from the end of that kernel
		p->idle_since_ns = p->drain_ns;
		p->ready_ns = p->drain_ns + p->gap_ns;
		push(s, p->drain_ns, EVENT_STEP, p, 0);
		return;
	}
	while (p->drain_ns <= s->now_ns || p->drain_ns - s->now_ns < s->budget_ns)
		submit(s, p);
	again = p->drain_ns - s->budget_ns > s->now_ns ? p->drain_ns - s->budget_ns : p->drain_ns;
	push(s, again < p->deadline_ns ? again : p->deadline_ns, EVENT_STEP, p, 0);
}

static void pause_step(struct sim *s, struct sim_proc *p)
{
	uint64_t grace = p->idle_since_ns + s->idle_grace_ns;

	if (s->now_ns >= p->ready_ns) {
		p->pausing = false;
		set_demand(s, p, true);
		return;
	}
	set_demand(s, p, false);
	if (holds(p) && (!p->gate || (p->deadline_ns != WFQ_NEVER && s->now_ns >= grace)))
		give_back(s, p);
	if (holds(p) && p->deadline_ns != WFQ_NEVER && grace < p->ready_ns)
		push(s, grace, EVENT_STEP, p, 0);
	push(s, p->ready_ns, EVENT_STEP, p, 0);
}

static void step(struct sim *s, struct sim_proc *p)
{
	if (!p->here)
		return;
	if (p->drain_ns > s->now_ns && (p->gap_ns || !holds(p) || !p->gate || s->now_ns >= p->deadline_ns)) {
		push(s, p->drain_ns, EVENT_STEP, p, 0);
		return;
	}
	if (p->pausing) {
		pause_step(s, p);
		if (p->pausing)
			return;
	}
	if (!holds(p))
		return;
	if (!p->gate || s->now_ns >= p->deadline_ns)
		give_back(s, p);
	else
		work(s, p);
}

uint64_t sim_used_ns(const struct sim *s, const struct sim_proc *p)
{
	return p->submitted_ns - (p->drain_ns > s->now_ns ? p->drain_ns - s->now_ns : 0);
}

// ---- the mediator ----

static struct sim_proc *proc_of(struct wfq_node *leaf)
{
	return (struct sim_proc *)((char *)leaf - offsetof(struct sim_proc, leaf));
}

static void tell(struct sim *s, struct sim_proc *p)
{
	wfq_meter(&s->wfq, &p->leaf, sim_used_ns(s, p));
	if (p->leaf.state >= WFQ_HOLDING && !holds(p) && !p->opening) {
		p->gate = false;
		wfq_released(&s->wfq, &p->leaf, p->demand, s->now_ns);
	} else {
		wfq_want(&s->wfq, &p->leaf, p->demand, s->now_ns);
	}
}

static void decide(struct sim *s)
{
	struct wfq_action a;
	uint64_t at;

	if (s->wfq.holder)
		tell(s, proc_of(s->wfq.holder));
	while (wfq_next(&s->wfq, s->now_ns, &a)) {
		struct sim_proc *p = proc_of(a.leaf);

		s->decisions++;
		switch (a.kind) {
		case WFQ_OPEN:
			p->opening = true;
			push(s, s->now_ns + SIM_LATENCY_NS, EVENT_OPEN, p, a.deadline_ns);
			break;
		case WFQ_DEADLINE:
			push(s, s->now_ns + SIM_LATENCY_NS, EVENT_DEADLINE, p, a.deadline_ns);
			break;
		case WFQ_CLOSE: push(s, s->now_ns + SIM_LATENCY_NS, EVENT_CLOSE, p, 0); break;
		case WFQ_LINGER: p->lingered++; break;
		case WFQ_KILL: p->killed++; break;
		}
	}
	at = wfq_wakeup(&s->wfq);
	s->timer_generation++;
	if (at != WFQ_NEVER)
		push(s, at, EVENT_TIMER, NULL, s->timer_generation);
}

static void handle(struct sim *s, const struct sim_event *e)
{
	struct sim_proc *p = e->proc;

	if (e->kind == EVENT_TIMER) {
		if (e->value == s->timer_generation)
			decide(s);
		return;
	}
	if (!p->here)
		return;
	switch (e->kind) {
	case EVENT_STEP: step(s, p); break;
	case EVENT_KICK:
		if (s->wfq.holder && s->wfq.holder != &p->leaf)
			tell(s, proc_of(s->wfq.holder));
		tell(s, p);
		decide(s);
		break;
	case EVENT_OPEN:
		p->opening = false;
		p->gate = true;
		p->deadline_ns = e->value;
		p->turn_id++;
		p->opened++;
		if (p->asked_ns && s->now_ns - p->asked_ns > p->longest_wait_ns)
			p->longest_wait_ns = s->now_ns - p->asked_ns;
		p->asked_ns = 0;
		step(s, p);
		break;
	case EVENT_DEADLINE:
		p->deadline_ns = e->value;
		step(s, p);
		break;
	case EVENT_CLOSE:
		p->gate = false;
		step(s, p);
		break;
	case EVENT_TIMER: break;
	}
}

// ---- from outside ----

void sim_init(struct sim *s, uint64_t turn_ns, uint64_t seed)
{
	struct wfq_config config = {
		.turn_ns = turn_ns,
		.min_turn_ns = turn_ns / 8,
		.overrun_ns = MS(250),
		.watchdog_ns = SEC(30),
	};

	memset(s, 0, sizeof(*s));
	wfq_init(&s->wfq, &config);
	s->now_ns = SEC(1000);
	s->wfq.accounted_ns = s->now_ns;
	s->idle_grace_ns = US(100);
	s->budget_ns = MS(1);
	s->seed = seed;
}

void sim_done(struct sim *s)
{
	free(s->events);
	wfq_done(&s->wfq);
}

void sim_join(struct sim *s, struct sim_proc *p, struct wfq_node *tenant)
{
	int r = wfq_add_leaf(&s->wfq, &p->leaf, tenant, 1);

	assert(r == 0);
	p->here = true;
	p->deadline_ns = WFQ_NEVER;
	set_demand(s, p, true);
}

void sim_leave(struct sim *s, struct sim_proc *p)
{
	wfq_meter(&s->wfq, &p->leaf, sim_used_ns(s, p));
	p->here = false;
	wfq_remove(&s->wfq, &p->leaf, s->now_ns);
	decide(s);
}

void sim_run_until(struct sim *s, uint64_t until_ns)
{
	while (s->n_events && s->events[0].at_ns <= until_ns) {
		struct sim_event e = pop(s);

		s->now_ns = e.at_ns;
		handle(s, &e);
	}
	s->now_ns = until_ns;
}

double sim_jain(const double *x, unsigned n)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < n; i++) {
		sum += x[i];
		squares += x[i] * x[i];
	}
	return squares > 0 ? sum * sum / (n * squares) : 1;
}
