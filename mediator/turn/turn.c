// SPDX-License-Identifier: Apache-2.0
// Turn pages, kicks and the deadline timer around mediator/sched/wfq.c; see the header. With room.c,
// meters.c and turn_books.c all that reads or writes turn pages. Runs in the mediator's loop.
#include "mediator/turn/turn.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/memory.h"
#include "mediator/turn/bell.h"

// Turns go before all else that waits in the loop.
#define TURN_PRIORITY (SD_EVENT_PRIORITY_IMPORTANT)
// An executor that kicks more often than a program can launch and synchronise is looked at in intervals, so
// that others have their turn in the loop.
#define KICK_INTERVAL_US 5000
#define KICK_BURST	 200
#define CAP_WHOLE	 10000u
// Of a small cap: less would be hand-overs and nothing else.
#define LEAST_BURST_NS (500 * NSEC_PER_USEC)

static struct turn_seat *seat_of(struct wfq_node *leaf)
{
	return (struct turn_seat *)((char *)leaf - offsetof(struct turn_seat, leaf));
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

// Ours never falls.
static void raise_meter(uint64_t *meter, const _Atomic uint64_t *shown)
{
	uint64_t value = atomic_load_explicit(shown, memory_order_relaxed);

	if (value > TURN_METER_MOST)
		value = TURN_METER_MOST;
	if (value > *meter)
		*meter = value;
}

// What the executor shows, each field loaded once.
struct glance {
	bool demand, released;
};

static struct glance look(struct turn_seat *s)
{
	struct wfq *wfq = &s->account->turns->wfq;
	struct vgpu_turn_page *p = s->page;
	struct glance g;

	// released before demand: an executor gives the turn back first and shows new demand later.
	g.released = atomic_load(&p->released_turn) == s->turn_id;
	g.demand = atomic_load(&p->demand) != 0;
	wfq_meter(wfq, &s->leaf, atomic_load_explicit(&p->busy_ns, memory_order_relaxed));
	raise_meter(&s->meters.launches, &p->launches);
	raise_meter(&s->meters.copy_bytes, &p->copy_bytes);
	raise_meter(&s->meters.faults, &p->faults);
	for (unsigned i = 0; i < VGPU_HELD_BY; i++)
		raise_meter(&s->meters.held_ns[i], &p->held_ns[i]);
	return g;
}

static void tell(struct turn_seat *s, uint64_t now_ns)
{
	struct wfq *wfq = &s->account->turns->wfq;
	struct glance g = look(s);
	enum wfq_state state = s->leaf.state;

	if (s->stopped)
		g.demand = false;

	if (g.released && (state == WFQ_HOLDING || state == WFQ_CLOSING || state == WFQ_LINGERING)) {
		atomic_store(&s->page->gate, VGPU_GATE_CLOSED);
		wfq_released(wfq, &s->leaf, g.demand, now_ns);
		turn_books_note(s, now_ns);
	} else {
		wfq_want(wfq, &s->leaf, g.demand, now_ns);
	}
}

void turn_seat_ring(struct turn_seat *s)
{
	if (!bell_ring(s->doorbell_fd))
		s->ops->wake(s);
}

static void apply(struct turns *t, const struct wfq_action *a)
{
	struct turn_seat *s = seat_of(a->leaf);
	struct vgpu_turn_page *p = s->page;

	switch (a->kind) {
	case WFQ_OPEN:
		t->openings++;
		atomic_store_explicit(&p->deadline_ns, a->deadline_ns, memory_order_relaxed);
		atomic_store(&p->gate, VGPU_GATE_OPEN);
		atomic_store(&p->turn_id, ++s->turn_id); // last: who sees it sees the rest
		turn_seat_ring(s);
		break;
	case WFQ_DEADLINE:
		atomic_store(&p->deadline_ns, a->deadline_ns);
		turn_seat_ring(s);
		break;
	case WFQ_CLOSE:
		atomic_store(&p->gate, VGPU_GATE_CLOSED);
		turn_seat_ring(s);
		break;
	case WFQ_LINGER:
		t->overruns++;
		log_debug("a turn overran its deadline; others go on beside it");
		break;
	case WFQ_KILL: s->ops->hung(s); break;
	}
}

static void arm(struct turns *t)
{
	uint64_t at = wfq_wakeup(&t->wfq);

	if (at == WFQ_NEVER) {
		sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(t->timer, at / NSEC_PER_USEC + 1);
	sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

// Asks for decisions until there are none. The holder is looked at first: it may have gone idle or given the
// turn back without a kick that has been handled yet.
static void run(struct turns *t, uint64_t now_ns)
{
	struct wfq_action action;

	if (t->wfq.holder)
		tell(seat_of(t->wfq.holder), now_ns);
	while (wfq_next(&t->wfq, now_ns, &action)) {
		apply(t, &action);
		turn_books_note(seat_of(action.leaf), now_ns);
	}
	if (t->wfq.holder)
		turn_books_note(seat_of(t->wfq.holder), now_ns);
	arm(t);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	run(userdata, clock_now_ns());
	return 0;
}

static int on_kick(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct turn_seat *s = userdata;
	struct turns *t = s->account->turns;
	uint64_t now = clock_now_ns();

	(void)source;
	(void)events;
	bell_clear(fd);
	// The holder's figures first: if this one contends, they say how the time until now is billed.
	if (t->wfq.holder && t->wfq.holder != &s->leaf)
		tell(seat_of(t->wfq.holder), now);
	tell(s, now);
	run(t, now);
	s->ops->kicked(s);
	return 0;
}

int turns_init(struct turns *t, sd_event *event, const struct settings *settings)
{
	struct wfq_config config = {
		.turn_ns = settings->turn_length,
		.round_ns = settings->turn_round,
		.latency_credit_ns = settings->turn_latency_credit,
		.min_turn_ns = settings->turn_shortest,
		.overrun_ns = settings->turn_overrun,
		.watchdog_ns = settings->turn_watchdog,
	};
	int r;

	memset(t, 0, sizeof(*t));
	t->event = event;
	t->settings = settings;
	wfq_init(&t->wfq, &config);
	r = bell_init();
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &t->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer, t);
	if (r < 0)
		return r;
	return sd_event_source_set_priority(t->timer, TURN_PRIORITY);
}

void turns_done(struct turns *t)
{
	t->timer = sd_event_source_disable_unref(t->timer);
	wfq_done(&t->wfq);
}

void turns_add_pool(struct turns *t, struct wfq_node *pool)
{
	wfq_add_group(&t->wfq, pool, NULL, 1);
}

void turns_remove_pool(struct turns *t, struct wfq_node *pool)
{
	wfq_remove(&t->wfq, pool, clock_now_ns());
}

void turns_set_policy(struct turns *t, struct wfq_node *group, const struct turn_policy *p)
{
	uint64_t now = clock_now_ns(), burst;

	burst = t->settings->limits_cap_window / CAP_WHOLE * p->cap_per_10000;
	wfq_set_weight(&t->wfq, group, p->weight, now);
	wfq_set_latency(&t->wfq, group, p->latency);
	wfq_set_cap(&t->wfq, group, p->cap_per_10000, max_u64(burst, LEAST_BURST_NS), now);
	wfq_set_turn(group, p->turn_ns ? p->turn_ns : p->latency ? t->settings->turn_latency_length : 0);
	run(t, now);
}

void turn_account_init(struct turn_account *a, struct turns *t, struct wfq_node *pool)
{
	memset(a, 0, sizeof(*a));
	a->turns = t;
	wfq_add_group(&t->wfq, &a->group, pool, 1);
}

void turn_account_move(struct turn_account *a, struct wfq_node *pool)
{
	uint64_t now = clock_now_ns();

	wfq_move(&a->turns->wfq, &a->group, pool, now);
	run(a->turns, now);
}

void turn_account_done(struct turn_account *a)
{
	wfq_remove(&a->turns->wfq, &a->group, clock_now_ns());
}

static void free_page(struct turn_seat *s)
{
	if (s->page)
		munmap(s->page, VGPU_TURN_PAGE_BYTES);
	s->page = NULL;
	turn_books_give_place(s);
	close_fd(&s->page_fd);
	close_fd(&s->kick_fd);
	s->kick = sd_event_source_disable_unref(s->kick);
}

static int watch_kick(struct turn_seat *s, const struct settings *settings, sd_event *event)
{
	int r;

	atomic_store(&s->page->inflight_budget_ns, settings->turn_in_flight);
	atomic_store(&s->page->idle_grace_ns, settings->turn_idle_grace);
	r = sd_event_add_io(event, &s->kick, s->kick_fd, EPOLLIN, on_kick, s);
	if (r < 0)
		return r;
	r = sd_event_source_set_priority(s->kick, TURN_PRIORITY);
	if (r < 0)
		return r;
	return sd_event_source_set_ratelimit(s->kick, KICK_INTERVAL_US, KICK_BURST);
}

static int make_page(struct turn_seat *s, const struct settings *settings, sd_event *event)
{
	int r = memory_make("vgpu-turn", VGPU_TURN_PAGE_BYTES, &s->page_fd, (void **)&s->page);

	if (r < 0)
		return r;
	atomic_store(&s->page->deadline_ns, VGPU_NO_DEADLINE);
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->kick_fd < 0 ? -errno : watch_kick(s, settings, event);
}

int turn_seat_init(struct turn_seat *s, struct turn_account *a, int doorbell_fd,
		   const struct turn_seat_ops *ops)
{
	int r;

	memset(s, 0, sizeof(*s));
	s->account = a;
	s->page_fd = s->kick_fd = -1;
	s->doorbell_fd = doorbell_fd;
	s->ops = ops;
	r = make_page(s, a->turns->settings, a->turns->event);
	if (r == 0)
		r = wfq_add_leaf(&a->turns->wfq, &s->leaf, &a->group, 1);
	if (r < 0) {
		free_page(s);
		return r;
	}
	a->seats++;
	return 0;
}

// ---- seats of a mediator before this one ----

int turn_seat_adopt(struct turn_seat *s, struct turn_account *a, int doorbell_fd, int page_fd, int kick_fd,
		    const struct turn_seat_ops *ops)
{
	void *page = mmap(NULL, VGPU_TURN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	int r;

	if (page == MAP_FAILED)
		return -errno;
	*s = (struct turn_seat){ .account = a, .page = page, .doorbell_fd = doorbell_fd, .ops = ops };
	s->page_fd = page_fd;
	s->kick_fd = kick_fd;
	s->turn_id = atomic_load(&s->page->turn_id);
	s->park_ask = atomic_load(&s->page->park_ask);
	r = watch_kick(s, a->turns->settings, a->turns->event);
	if (r >= 0)
		r = wfq_add_leaf(&a->turns->wfq, &s->leaf, &a->group, 1);
	if (r < 0) {
		s->page_fd = s->kick_fd = -1;
		free_page(s);
		return r;
	}
	a->seats++;
	return 0;
}

bool turn_seat_holds(const struct turn_seat *s, bool *ret_open)
{
	*ret_open = atomic_load(&s->page->gate) == VGPU_GATE_OPEN;
	return atomic_load(&s->page->released_turn) != s->turn_id;
}

// To the scheduler this is a turn that begins now; the time before was billed with the gap.
void turn_seat_resume(struct turn_seat *s)
{
	struct wfq *wfq = &s->account->turns->wfq;
	uint64_t now = clock_now_ns();
	struct wfq_action action;
	bool open;

	if (!turn_seat_holds(s, &open))
		return;
	wfq_meter(wfq, &s->leaf, atomic_load_explicit(&s->page->busy_ns, memory_order_relaxed));
	turn_books_bill_gap(s, true, now);
	if (wfq->holder) { // two open gates: one of the pages lies
		atomic_store(&seat_of(wfq->holder)->page->gate, VGPU_GATE_CLOSED);
		wfq_abandon(wfq, wfq->holder, now);
	}
	wfq_want(wfq, &s->leaf, true, now);
	while (wfq_next(wfq, now, &action)) {
		if (action.kind == WFQ_KILL)
			seat_of(action.leaf)->ops->hung(seat_of(action.leaf));
	}
	if (open && s->leaf.state == WFQ_HOLDING)
		return;
	atomic_store(&s->page->gate, VGPU_GATE_CLOSED);
	wfq_abandon(wfq, &s->leaf, now);
}

void turn_seat_look(struct turn_seat *s)
{
	uint64_t now = clock_now_ns();
	bool open;

	if (!turn_seat_holds(s, &open)) {
		wfq_meter(&s->account->turns->wfq, &s->leaf, atomic_load(&s->page->busy_ns));
		turn_books_bill_gap(s, false, now);
		atomic_store(&s->page->gate, VGPU_GATE_CLOSED);
	}
	tell(s, now);
	turn_books_note(s, now);
}

void turn_seat_stop(struct turn_seat *s)
{
	uint64_t now = clock_now_ns();
	struct turns *t;
	struct glance g;

	if (!s->page || s->stopped)
		return;
	t = s->account->turns;
	g = look(s);
	s->stopped = true;
	atomic_store(&s->page->gate, VGPU_GATE_CLOSED);
	if (g.demand)
		wfq_abandon(&t->wfq, &s->leaf, now);
	else
		wfq_released(&t->wfq, &s->leaf, false, now);
	wfq_want(&t->wfq, &s->leaf, false, now);
	run(t, now);
}

void turn_seat_done(struct turn_seat *s)
{
	struct turns *t;
	uint64_t now;

	if (!s->page)
		return;
	t = s->account->turns;
	now = clock_now_ns();
	look(s);
	turn_meters_add(&s->account->ended, &s->meters);
	s->account->seats--;
	wfq_remove(&t->wfq, &s->leaf, now);
	free_page(s);
	turn_books_note_account(s->account);
	run(t, now);
}

void turn_seat_pulse(const struct turn_seat *s, struct turn_pulse *ret)
{
	*ret = (struct turn_pulse){
		.in_flight = atomic_load_explicit(&s->page->in_flight, memory_order_relaxed) != 0,
		.progress = atomic_load_explicit(&s->page->progress, memory_order_relaxed),
		.refused_memory = atomic_load_explicit(&s->page->refused_memory, memory_order_relaxed),
	};
}

void turn_seat_nudge(struct turn_seat *s)
{
	if (s->page && !s->stopped)
		turn_seat_ring(s);
}

uint64_t turn_seat_memory(const struct turn_seat *s)
{
	return s->page ? atomic_load(&s->page->memory_bytes) : 0;
}

uint64_t turn_seat_pinned(const struct turn_seat *s)
{
	return s->page ? atomic_load(&s->page->pinned_bytes) : 0;
}

void turn_seat_refresh(struct turn_seat *s)
{
	if (s->page)
		look(s);
}

void turns_refresh(struct turns *t)
{
	run(t, clock_now_ns());
}
