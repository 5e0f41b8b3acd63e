// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/watch/watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/about.h"
#include "mediator/channel.h"
#include "mediator/complain.h"
#include "mediator/tenant.h"
#include "mediator/watch/objects.h"

// How often channels are looked at when no limit asks for more, and the longest step towards the end of a
// quarantine.
#define PATROL_NS NSEC_PER_SEC
#define FOREVER	  WORK_NEVER

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

// Behind t, by id; NULL: the first.
static struct tenant *next_tenant(struct mediator *m, const struct tenant *t)
{
	if (!t)
		return tenant_from_id(m, 0);
	return t->id == UINT32_MAX ? NULL : tenant_from_id(m, t->id + 1);
}

static void book_changed(struct tenant *t)
{
	const struct watch *w = &t->mediator->watch;

	for (unsigned i = 0; i < WATCH_LISTENERS; i++) {
		if (w->listeners[i].changed)
			w->listeners[i].changed(w->listeners[i].opaque, t);
	}
}

void watch_listen(struct watch *w, void (*changed)(void *opaque, struct tenant *t), void *opaque)
{
	unsigned i = 0;

	while (i < WATCH_LISTENERS && w->listeners[i].changed)
		i++;
	assert(i < WATCH_LISTENERS);
	w->listeners[i] = (struct watch_listener){ changed, opaque };
}

void watch_unlisten(struct watch *w, void (*changed)(void *opaque, struct tenant *t))
{
	for (unsigned i = 0; i < WATCH_LISTENERS; i++) {
		if (w->listeners[i].changed == changed)
			w->listeners[i] = (struct watch_listener){ 0 };
	}
}

// ---- quarantine ----

static void say_left(char *ret, size_t bytes, uint64_t left_ns)
{
	if (left_ns == STRIKES_FOREVER)
		snprintf(ret, bytes, "until it is released");
	else
		snprintf(ret, bytes, "for %llu s more", (left_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

static void say_quarantine(const struct tenant *t, uint64_t left_ns, char *ret, size_t bytes)
{
	const struct strike_book *b = &t->watch.book;
	char left[48];

	say_left(left, sizeof(left), left_ns);
	snprintf(ret, bytes, "tenant '%s' is in quarantine %s (%s%s)", t->name, left,
		 b->quarantine_cause == STRIKE_OPERATOR ? "" : "after strikes, the last one: ",
		 b->quarantine_cause == STRIKE_OPERATOR ? "an operator's order"
							: strike_cause_text(b->quarantine_cause));
}

static void publish_quarantine(const struct tenant *t)
{
	const struct strike_book *b = &t->watch.book;

	event_publish(t->mediator, EVENT_QUARANTINE_BEGAN, t,
		      json_pack("{s:s}", "cause", strike_cause_text(b->quarantine_cause)),
		      "tenant '%s' is in quarantine", t->name);
}

static bool kept_out(struct tenant *t, uint64_t now_ns, uint64_t *ret_left_ns)
{
	ABOUT_TENANT(t);
	if (strikes_expire(&t->watch.book, now_ns)) {
		log_info("tenant %" PRIu32 " '%s': its quarantine is over", t->id, t->name);
		event_publish(t->mediator, EVENT_QUARANTINE_ENDED, t, NULL, "the quarantine's time is over");
		book_changed(t);
	}
	return strikes_keep_out(&t->watch.book, now_ns, ret_left_ns);
}

static void enforce(struct tenant *t, uint64_t now_ns)
{
	char text[LINK_TEXT_BYTES];
	struct channel *c;
	uint64_t left;

	ABOUT_TENANT(t);
	if (!kept_out(t, now_ns, &left))
		return;
	say_quarantine(t, left, text, sizeof(text));
	log_warning("%s", text);
	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant == t)
			channel_stop(c, LINK_E_QUARANTINED, text);
	}
}

static void arm(struct watch *w);

static void strike(struct tenant *t, enum strike_cause cause)
{
	const struct strike_rules *rules = &t->watch.rules.strikes;
	uint64_t now = clock_now_ns();
	bool begins = strikes_add(&t->watch.book, rules, cause, now);

	ABOUT_TENANT(t);
	complain("tenant %" PRIu32 " '%s': strike: %s (%" PRIu32 " of %" PRIu32 ")", t->id, t->name,
		 strike_cause_text(cause), strikes_counting(&t->watch.book, rules, now), rules->most);
	event_publish(t->mediator, EVENT_STRIKE, t,
		      json_pack("{s:s, s:i, s:i}", "cause", strike_cause_text(cause), "counting",
				(int)strikes_counting(&t->watch.book, rules, now), "most", (int)rules->most),
		      "strike: %s", strike_cause_text(cause));
	if (begins) {
		publish_quarantine(t);
		enforce(t, now);
	}
	book_changed(t);
	arm(&t->mediator->watch);
}

void watch_strike(struct channel *c, enum strike_cause cause)
{
	strike(c->tenant, cause);
}

void watch_executor_exit(struct channel *c, const siginfo_t *si)
{
	if (si->si_code != CLD_KILLED && si->si_code != CLD_DUMPED)
		return;
	switch (si->si_status) {
	case SIGSYS: strike(c->tenant, STRIKE_SANDBOX); break;
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
	case SIGTRAP: strike(c->tenant, STRIKE_CRASH); break;
	default: break; // somebody on this host sent it: the tenant cannot
	}
}

void quarantine_list(struct mediator *m, void (*row)(void *opaque, const struct quarantine_row *r),
		     void *opaque)
{
	uint64_t now = clock_now_ns();
	struct tenant *t = NULL;

	while ((t = next_tenant(m, t))) {
		struct quarantine_row r = { .tenant = t };

		if (!kept_out(t, now, &r.left_ns))
			continue;
		r.cause = t->watch.book.quarantine_cause;
		row(opaque, &r);
	}
}

bool quarantine_release(struct tenant *t)
{
	uint64_t left;

	if (!kept_out(t, clock_now_ns(), &left))
		return false;
	strikes_release(&t->watch.book);
	log_info("tenant %" PRIu32 " '%s': released from quarantine", t->id, t->name);
	event_publish(t->mediator, EVENT_QUARANTINE_ENDED, t, NULL, "released by an operator");
	book_changed(t);
	return true;
}

void quarantine_add(struct tenant *t, uint64_t for_ns)
{
	uint64_t now = clock_now_ns();

	strikes_quarantine(&t->watch.book, for_ns, now);
	publish_quarantine(t);
	enforce(t, now);
	book_changed(t);
	arm(&t->mediator->watch);
}

// ---- the card ----

static void health_changed(struct watch *w)
{
	static const char text[] = "the GPU is lost: it does not answer any more";
	struct channel *c;

	event_publish(w->mediator, EVENT_HEALTH, NULL,
		      json_pack("{s:s, s:i}", "health", health_text(w->health.state), "last_xid",
				(int)w->health.last_xid),
		      "the GPU is %s", health_text(w->health.state));
	if (w->health.state != DEVICE_HEALTH_LOST) {
		log_info("the GPU is %s", health_text(w->health.state));
		return;
	}
	log_error("%s; channels end, and none opens until it is back", text);
	warm_pool_yield(&w->mediator->warm, clock_now_ns() + 2 * PATROL_NS);
	LIST_FOREACH (c, &w->mediator->channels, link)
		channel_stop(c, LINK_E_DEVICE_LOST, text);
}

void watch_sensed(struct watch *w, const struct link_sensed *sensed)
{
	uint64_t now = clock_now_ns();
	bool changed = false, lost = sensed->lost;

	for (uint32_t i = 0; i < sensed->n_xids; i++) {
		enum xid_class class = health_xid_class(sensed->xid[i]);

		complain("GPU: Xid %" PRIu32 "%s", sensed->xid[i],
			 class == XID_PROGRAM ? " (a program's fault)" : "");
		changed |= health_xid(&w->health, sensed->xid[i], now);
		lost |= class == XID_LOST;
	}
	w->sensed_ns = now;
	if (lost)
		changed |= health_lost(&w->health, now);
	else
		changed |= health_reading(&w->health, now);
	changed |= health_expire(&w->health, w->mediator->settings->sensor_degraded, now);
	if (changed)
		health_changed(w);
	arm(w);
}

void watch_no_card(struct watch *w)
{
	if (health_reading(&w->health, clock_now_ns()))
		health_changed(w);
}

// ---- the patrol ----

static void look_at_work(struct channel *c, const struct turn_pulse *p, uint64_t now_ns)
{
	uint64_t limit = c->tenant->watch.rules.work_ns;

	work_look(&c->watch.work, p->in_flight, p->progress, now_ns);
	if (work_hangs(&c->watch.work, limit, now_ns))
		channel_hang(c, "GPU work made no progress for longer than watch.work");
}

static void look_at_refusals(struct channel *c, const struct turn_pulse *p, uint64_t now_ns)
{
	struct channel_watch *w = &c->watch;
	uint32_t most = c->tenant->watch.rules.refusals_in_s;
	uint64_t dt = now_ns - w->refusals_ns;

	if (dt < NSEC_PER_SEC)
		return;
	// Compared as a rate: a patrol that was late shall not make a storm of a breeze.
	if (most && p->refused_memory > w->refusals &&
	    (p->refused_memory - w->refusals) / (dt / NSEC_PER_SEC) >= most)
		strike(c->tenant, STRIKE_MEMORY);
	w->refusals = p->refused_memory;
	w->refusals_ns = now_ns;
}

static void look_at_channels(struct watch *w, uint64_t now_ns)
{
	struct channel *c;

	LIST_FOREACH (c, &w->mediator->channels, link) {
		struct turn_pulse pulse;

		if (c->state != CHANNEL_SERVING)
			continue;
		use_look(c);
		turn_seat_pulse(&c->seat, &pulse);
		look_at_work(c, &pulse, now_ns);
		if (c->state == CHANNEL_SERVING)
			look_at_refusals(c, &pulse, now_ns);
	}
}

// The card is asked as long as somebody uses it, and while it is not well, so that its return is seen.
static bool card_interests(const struct watch *w)
{
	return w->mediator->settings->sensor_patrol &&
	       (!LIST_EMPTY(&w->mediator->channels) || w->health.state >= DEVICE_HEALTH_DEGRADED);
}

static uint64_t next_look(struct watch *w, uint64_t now_ns)
{
	struct mediator *m = w->mediator;
	uint64_t step = FOREVER, left;
	struct tenant *t = NULL;
	struct channel *c;

	LIST_FOREACH (c, &m->channels, link)
		step = min_u64(step, min_u64(PATROL_NS, work_interval_ns(c->tenant->watch.rules.work_ns)));
	while ((t = next_tenant(m, t))) {
		if (strikes_keep_out(&t->watch.book, now_ns, &left) && left != STRIKES_FOREVER)
			step = min_u64(step, PATROL_NS);
	}
	if (card_interests(w))
		step = min_u64(step, min_u64(PATROL_NS, m->settings->sensor_patrol));
	return step;
}

static int on_patrol(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct watch *w = userdata;
	uint64_t now = clock_now_ns(), left;
	struct tenant *t = NULL;

	(void)source;
	(void)usec;
	look_at_channels(w, now);
	// What was started ahead has a context on a card that is no more, and so would the next ones.
	if (w->health.state == DEVICE_HEALTH_LOST)
		warm_pool_yield(&w->mediator->warm, now + 2 * PATROL_NS);
	while ((t = next_tenant(w->mediator, t)))
		kept_out(t, now, &left);
	if (card_interests(w) && now - w->sensed_ns >= w->mediator->settings->sensor_patrol)
		sensor_want(&w->mediator->sensor, now);
	arm(w);
	return 0;
}

static void arm(struct watch *w)
{
	uint64_t now, step;

	if (!w->patrol)
		return;
	now = clock_now_ns();
	step = w->mediator->stopping ? FOREVER : next_look(w, now);
	if (step == FOREVER) {
		sd_event_source_set_enabled(w->patrol, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(w->patrol, (now + step) / NSEC_PER_USEC);
	sd_event_source_set_enabled(w->patrol, SD_EVENT_ONESHOT);
}

// ---- channels and tenants ----

int watch_admit(struct tenant *t, char *error)
{
	uint64_t left;

	if (t->mediator->watch.health.state == DEVICE_HEALTH_LOST) {
		snprintf(error, LINK_TEXT_BYTES, "the GPU is lost: it does not answer");
		return LINK_E_DEVICE_LOST;
	}
	if (!kept_out(t, clock_now_ns(), &left))
		return 0;
	say_quarantine(t, left, error, LINK_TEXT_BYTES);
	return LINK_E_QUARANTINED;
}

void watch_channel_began(struct channel *c)
{
	c->watch.refusals_ns = clock_now_ns();
	arm(&c->mediator->watch);
}

bool watch_tenant_kept(const struct tenant *t)
{
	uint64_t left;

	return strikes_keep_out(&t->watch.book, clock_now_ns(), &left);
}

static uint64_t said(uint64_t policy, uint64_t setting)
{
	return policy ? policy : setting;
}

void watch_apply_policy(struct tenant *t)
{
	const struct settings *s = t->mediator->settings;
	const uint64_t *v = t->policy.value;

	t->watch.rules = (struct watch_rules){
		.work_ns = said(v[POLICY_WORK], s->watch_work),
		.refusals_in_s = (uint32_t)s->strikes_refusals,
		.strikes = { .most = (uint32_t)said(v[POLICY_STRIKES], s->strikes_most),
			     .within_ns = s->strikes_within,
			     .quarantine_ns = said(v[POLICY_QUARANTINE], s->strikes_quarantine) },
	};
	objects_limit(s, (uint32_t)said(v[POLICY_OBJECTS], 10000), t->page);
	atomic_store(&t->page->pinned_quota, said(v[POLICY_PINNED], s->limits_pinned));
	arm(&t->mediator->watch);
}

int watch_init(struct watch *w, struct mediator *m)
{
	int r;

	memset(w, 0, sizeof(*w));
	w->mediator = m;
	r = sd_event_add_time(m->event, &w->patrol, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_patrol, w);
	return r < 0 ? r : sd_event_source_set_enabled(w->patrol, SD_EVENT_OFF);
}

void watch_done(struct watch *w)
{
	w->patrol = sd_event_source_disable_unref(w->patrol);
}
