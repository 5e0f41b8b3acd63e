// SPDX-License-Identifier: Apache-2.0
// Turn pages, kicks and the deadline timer around mediator/sched/wfq.c; see the header. The only file that
// reads or writes turn pages. Runs in the mediator's loop.
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

static struct turn_seat *seat_of(struct wfq_node *leaf)
{
	return (struct turn_seat *)((char *)leaf - offsetof(struct turn_seat, leaf));
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
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
	s->meters.launches =
	    max_u64(s->meters.launches, atomic_load_explicit(&p->launches, memory_order_relaxed));
	s->meters.copy_bytes =
	    max_u64(s->meters.copy_bytes, atomic_load_explicit(&p->copy_bytes, memory_order_relaxed));
	s->meters.faults = max_u64(s->meters.faults, atomic_load_explicit(&p->faults, memory_order_relaxed));
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
	} else {
		wfq_want(wfq, &s->leaf, g.demand, now_ns);
	}
}

static void ring(struct turn_seat *s)
{
	if (!bell_ring(s->doorbell_fd))
		s->ops->wake(s);
}

static void apply(const struct wfq_action *a)
{
	struct turn_seat *s = seat_of(a->leaf);
	struct vgpu_turn_page *p = s->page;

	switch (a->kind) {
	case WFQ_OPEN:
		atomic_store_explicit(&p->deadline_ns, a->deadline_ns, memory_order_relaxed);
		atomic_store(&p->gate, VGPU_GATE_OPEN);
		atomic_store(&p->turn_id, ++s->turn_id); // last: who sees it sees the rest
		ring(s);
		break;
	case WFQ_DEADLINE:
		atomic_store(&p->deadline_ns, a->deadline_ns);
		ring(s);
		break;
	case WFQ_CLOSE:
		atomic_store(&p->gate, VGPU_GATE_CLOSED);
		ring(s);
		break;
	case WFQ_LINGER: log_debug("a turn overran its deadline; others go on beside it"); break;
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
	while (wfq_next(&t->wfq, now_ns, &action))
		apply(&action);
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
	return 0;
}

int turns_init(struct turns *t, sd_event *event, const struct settings *settings)
{
	struct wfq_config config = {
		.turn_ns = settings->turn_length,
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

void turn_account_init(struct turn_account *a, struct turns *t, uint32_t weight)
{
	memset(a, 0, sizeof(*a));
	a->turns = t;
	wfq_add_group(&t->wfq, &a->group, NULL, weight);
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
	close_fd(&s->page_fd);
	close_fd(&s->kick_fd);
	s->kick = sd_event_source_disable_unref(s->kick);
}

static int make_page(struct turn_seat *s, const struct settings *settings, sd_event *event)
{
	int r = memory_make("vgpu-turn", VGPU_TURN_PAGE_BYTES, &s->page_fd, (void **)&s->page);

	if (r < 0)
		return r;
	atomic_store(&s->page->deadline_ns, VGPU_NO_DEADLINE);
	atomic_store(&s->page->inflight_budget_ns, settings->turn_in_flight);
	atomic_store(&s->page->idle_grace_ns, settings->turn_idle_grace);
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0)
		return -errno;
	r = sd_event_add_io(event, &s->kick, s->kick_fd, EPOLLIN, on_kick, s);
	if (r < 0)
		return r;
	r = sd_event_source_set_priority(s->kick, TURN_PRIORITY);
	if (r < 0)
		return r;
	return sd_event_source_set_ratelimit(s->kick, KICK_INTERVAL_US, KICK_BURST);
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
	s->account->ended.launches += s->meters.launches;
	s->account->ended.copy_bytes += s->meters.copy_bytes;
	s->account->ended.faults += s->meters.faults;
	s->account->seats--;
	wfq_remove(&t->wfq, &s->leaf, now);
	free_page(s);
	run(t, now);
}

uint64_t turn_seat_memory(const struct turn_seat *s)
{
	return s->page ? atomic_load(&s->page->memory_bytes) : 0;
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
