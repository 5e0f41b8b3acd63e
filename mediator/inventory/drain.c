// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/inventory/drain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/adopt/keep.h"
#include "mediator/channel.h"
#include "mediator/event/event.h"

unsigned drain_left(struct mediator *m)
{
	struct channel *c;
	unsigned n = 0;

	LIST_FOREACH (c, &m->channels, link)
		n += c->state != CHANNEL_GONE;
	return n;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct mediator *m = userdata;
	struct channel *c;

	(void)source;
	(void)usec;
	log_info("drain: the time is over, %u channels end", drain_left(m));
	event_publish(m, EVENT_DRAIN_OVER, NULL, NULL, "%u channels end", drain_left(m));
	LIST_FOREACH (c, &m->channels, link)
		channel_stop(c, LINK_E_DRAINING, "the host is drained, and the time for that is over");
	mediator_reap(m);
	return 0;
}

static int set_deadline(struct mediator *m, uint64_t until_ns)
{
	struct drain *d = &m->drain;
	uint64_t usec = until_ns / NSEC_PER_USEC;

	if (!until_ns) {
		d->timer = sd_event_source_disable_unref(d->timer);
		return 0;
	}
	if (!d->timer)
		return sd_event_add_time(m->event, &d->timer, CLOCK_MONOTONIC, usec, 1000, on_deadline, m);
	sd_event_source_set_time(d->timer, usec);
	return sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

int drain_start(struct mediator *m, uint64_t for_ns)
{
	struct drain *d = &m->drain;
	uint64_t now = clock_now_ns();
	uint64_t until = for_ns && now <= UINT64_MAX - for_ns ? now + for_ns : 0;
	int r = set_deadline(m, until);

	if (r < 0)
		return r;
	if (!d->on)
		d->since_s = (uint64_t)time(NULL);
	d->on = true;
	d->until_ns = until;
	keep_daemon(m);
	return 0;
}

bool drain_stop(struct mediator *m)
{
	bool was = m->drain.on;

	drain_done(m);
	if (was)
		keep_daemon(m);
	return was;
}

void drain_adopt(struct mediator *m, uint64_t since_s, uint64_t until_ns)
{
	int r = set_deadline(m, until_ns);

	if (r < 0)
		log_error("drain: no timer for its deadline: %s", strerror(-r));
	m->drain.on = true;
	m->drain.since_s = since_s;
	m->drain.until_ns = until_ns;
}

void drain_done(struct mediator *m)
{
	sd_event_source_disable_unref(m->drain.timer);
	m->drain = (struct drain){ 0 };
}

int drain_admit(const struct mediator *m, char *error)
{
	if (!m->drain.on)
		return 0;
	snprintf(error, LINK_TEXT_BYTES,
		 "the host is being drained: no new program can use its GPU (what runs goes on)");
	return LINK_E_DRAINING;
}
