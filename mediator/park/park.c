// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop, and does nothing as long as nobody wants room.
#include "mediator/park/park.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/channel.h"
#include "mediator/memory.h"
#include "mediator/turn/room.h"

// What the end of an executor that was started ahead takes, its context with it.
#define YIELD_NS      (300 * NSEC_PER_MSEC)
#define NO_NEW_ONE_NS (60 * NSEC_PER_SEC)

static struct channel *channel_of(struct park_seat *seat)
{
	return (struct channel *)((char *)seat - offsetof(struct channel, park.seat));
}

static void show(struct channel *c, const struct turn_room *room, uint64_t now_ns)
{
	struct park_member *m = &c->park;

	park_seat_show(&m->seat, room->held, room->parked, room->active_ns, room->demand, now_ns);
	m->seat.ends = c->state == CHANNEL_STOPPING || c->state == CHANNEL_KILLED;
	if (c->state != CHANNEL_SERVING)
		m->seat.deaf_until_ns = PARK_NEVER;
	else if (m->seat.deaf_until_ns == PARK_NEVER)
		m->seat.deaf_until_ns = 0;
}

static void refresh(struct channel *c, uint64_t now_ns)
{
	struct turn_room room;

	turn_room_look(&c->seat, &room);
	show(c, &room, now_ns);
}

// For the mediator after this one.
static void note(struct channel *c)
{
	struct park_notes n;
	struct turn_books_room room;

	park_seat_note(&c->park.seat, &n);
	room = (struct turn_books_room){ n.here_ns, n.asked_of, n.wants_ns, n.freed, c->park.room_ask };
	turn_room_note(&c->seat, &room);
}

// First what requests were credited with, then who has answered: a mediator that is killed between finds an
// answer twice rather than not at all, and who gets room too early asks again.
static void note_all(struct park *p)
{
	struct park_seat *s;

	LIST_FOREACH (s, &p->rule.seats, link)
		if (s->wants)
			note(channel_of(s));
	LIST_FOREACH (s, &p->rule.seats, link)
		if (!s->wants)
			note(channel_of(s));
}

static void arm(struct park *p, uint64_t wake_ns)
{
	if (wake_ns == PARK_NEVER) {
		sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(p->timer, wake_ns / NSEC_PER_USEC + 1);
	sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

static void trim_leases(struct park *p)
{
	struct park_seat *s;

	if (!p->rule.config.device)
		return;
	LIST_FOREACH (s, &p->rule.seats, link)
		turn_room_lease(&channel_of(s)->seat, park_lease(&p->rule, s));
}

static void apply(struct park *p, const struct park_action *a)
{
	struct channel *c = channel_of(a->seat);

	if (a->kind == PARK_ANSWER) {
		log_debug("channel %" PRIu64 ": %s", c->id,
			  a->seat->granted ? "has room" : "no room can be made for it");
		trim_leases(p); // what others freed is not theirs any more
		turn_room_answer(&c->seat, c->park.room_ask, a->lease);
		return;
	}
	log_debug("channel %" PRIu64 ": is to park%s", c->id,
		  a->kind == PARK_ASK_URGENT ? ", at work or not" : "");
	note(c);
	c->park.asked = turn_room_ask(&c->seat, a->kind == PARK_ASK_URGENT);
}

// Executors that wait for tenants go first. True: they are going.
static bool yields(struct park *p, uint64_t now_ns)
{
	if (!p->rule.config.device && warm_pool_yield(&p->mediator->warm, now_ns + NO_NEW_ONE_NS))
		p->hold_ns = now_ns + YIELD_NS;
	return now_ns < p->hold_ns;
}

// When to look again.
static uint64_t take_steps(struct park *p)
{
	uint64_t now = clock_now_ns(), available, wake = PARK_NEVER;
	uint64_t spare = p->mediator->settings->executor_warm_spare;
	struct park_action a;
	struct park_seat *s;

	if (!park_is_wanted(&p->rule))
		return PARK_NEVER;
	if (yields(p, now))
		return p->hold_ns;
	LIST_FOREACH (s, &p->rule.seats, link)
		refresh(channel_of(s), now);
	available = memory_available();
	available = available > spare ? available - spare : 0;
	for (;;) {
		a = park_next(&p->rule, available, now, &wake);
		if (a.kind == PARK_NOTHING)
			break;
		apply(p, &a);
	}
	return wake;
}

static void decide(struct park *p)
{
	arm(p, take_steps(p));
	note_all(p);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	decide(userdata);
	return 0;
}

int park_init(struct park *p, struct mediator *m)
{
	const struct settings *s = m->settings;
	const struct park_config config = {
		.device = s->gpu_memory,
		.host = s->park_host_memory,
		.idle_ns = s->park_idle,
		.residence_ns = s->park_residence,
		.patience_ns = s->park_patience,
		.wait_ns = s->park_wait,
		.answer_ns = s->park_answer,
	};
	int r;

	*p = (struct park){ .mediator = m };
	park_rule_init(&p->rule, &config);
	r = sd_event_add_time(m->event, &p->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer, p);
	return r < 0 ? r : 0;
}

void park_done(struct park *p)
{
	p->timer = sd_event_source_disable_unref(p->timer);
}

void park_channel_began(struct channel *c)
{
	struct park *p = &c->mediator->park;

	park_seat_add(&p->rule, &c->park.seat, clock_now_ns());
	c->park.is = true;
	turn_room_lease(&c->seat, park_lease(&p->rule, &c->park.seat));
}

void park_channel_gone(struct channel *c)
{
	if (!c->park.is)
		return;
	c->park.is = false;
	park_seat_remove(&c->mediator->park.rule, &c->park.seat);
	if (c->mediator->park.timer)
		decide(&c->mediator->park); // its memory is free
}

void park_seat_kicked(struct turn_seat *seat)
{
	struct channel *c = (struct channel *)((char *)seat - offsetof(struct channel, seat));
	uint64_t now = clock_now_ns();
	struct park_member *m = &c->park;
	struct turn_room room;
	bool news = false;

	turn_room_look(&c->seat, &room);
	if (room.parked != m->parked_bytes) {
		log_debug("channel %" PRIu64 ": %" PRIu64 " of %" PRIu64 " bytes parked", c->id, room.parked,
			  room.held);
		m->parked_bytes = room.parked;
		refresh(c, now);
		note(c);
	}
	if (m->seat.asked && room.park_answer == m->asked) {
		refresh(c, now);
		park_seat_answered(&c->mediator->park.rule, &m->seat, now);
		news = true;
	}
	if (room.room_ask != m->room_ask || room.room_bytes != m->room_bytes) {
		m->room_ask = room.room_ask;
		m->room_bytes = room.room_bytes;
		refresh(c, now);
		if (room.room_bytes)
			log_debug("channel %" PRIu64 ": wants room for %" PRIu64 " bytes%s", c->id,
				  room.room_bytes, room.room_back ? ", to come back" : "");
		park_seat_want(&m->seat, room.room_bytes, room.room_free, room.room_back, now);
		news = true;
	}
	if (news)
		decide(&c->mediator->park);
}

// ---- what the last mediator began ----

void park_channel_resumed(struct channel *c)
{
	park_seat_add(&c->mediator->park.rule, &c->park.seat, clock_now_ns());
	c->park.is = true;
}

// Of what it was told to take. Without leases nobody knows whether that was much or nothing; it is over as
// soon as the executor has tried.
static uint64_t promised(const struct park *p, const struct turn_room *room)
{
	uint64_t here = room->held > room->parked ? room->held - room->parked : 0;
	uint64_t left = room->lease > here ? room->lease - here : 0;

	return !p->rule.config.device || room->room_bytes < left ? room->room_bytes : left;
}

static void remember(struct park *p, struct channel *c, uint64_t now_ns)
{
	struct park_member *m = &c->park;
	struct turn_books_room noted;
	struct park_notes n;
	struct turn_room room;

	turn_room_look(&c->seat, &room);
	turn_room_noted(&c->seat, &noted);
	show(c, &room, now_ns);
	m->parked_bytes = room.parked;
	m->room_ask = room.room_ask;
	m->room_bytes = room.room_bytes;
	m->asked = room.park_ask;
	if (room.room_bytes)
		park_seat_want(&m->seat, room.room_bytes, room.room_free, room.room_back, now_ns);
	n = (struct park_notes){ noted.here_ns, noted.asked_of, noted.wants_ns, noted.freed };
	park_seat_remember(&m->seat, &n, noted.room_ask == room.room_ask, now_ns);
	if (room.room_bytes && room.room_answer == room.room_ask)
		park_seat_promise(&m->seat, promised(p, &room));
}

void park_adopted(struct park *p)
{
	uint64_t now = clock_now_ns();
	struct park_seat *s;

	LIST_FOREACH (s, &p->rule.seats, link)
		remember(p, channel_of(s), now);
	LIST_FOREACH (s, &p->rule.seats, link) {
		struct channel *c = channel_of(s);
		struct turn_room room;

		turn_room_look(&c->seat, &room);
		if (s->asked && room.park_answer == c->park.asked)
			park_seat_answered(&p->rule, s, now);
		turn_room_lease(&c->seat, park_lease(&p->rule, s)); // the settings may be others
	}
	note_all(p);
	arm(p, now); // from the loop, when all else is there as well
}
