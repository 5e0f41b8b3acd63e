// SPDX-License-Identifier: Apache-2.0
// See the header. The keeper's life, and what is put with it. Runs in the mediator's loop.
#include "mediator/adopt/keep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "mediator/adopt/deposit.h"
#include "mediator/channel.h"
#include "mediator/session/session.h"
#include "mediator/share.h"
#include "mediator/tenant.h"

// A keeper that ended is replaced at once, unless it was started only this long ago.
#define RESTART_NS (2 * NSEC_PER_SEC)

bool keep_is_on(const struct mediator *m)
{
	return m->keeping.program[0];
}

// ---- records ----

static void lost(struct mediator *m);

void keep_record(struct mediator *m, uint32_t kind, uint64_t id, const void *record, const int *fds,
		 unsigned n_fds, bool *kept)
{
	struct custody *s = &m->keeping.custody;
	uint32_t bytes, pidfd = KEEPER_NO_PIDFD;
	bool good;

	if (s->link < 0 || m->keeping.adopting)
		return;
	bytes = record_bytes(kind, record);
	if (kind == DEPOSIT_CHANNEL)
		pidfd = CHANNEL_PIDFD;
	else if (kind == DEPOSIT_WARM)
		pidfd = WARM_PIDFD;
	good = *kept ? custody_update(s, kind, id, record, bytes)
		     : custody_put(s, kind, id, record, bytes, fds, n_fds, pidfd);
	*kept = good;
	if (!good)
		lost(m);
}

void keep_gone(struct mediator *m, uint32_t kind, uint64_t id, bool *kept)
{
	if (!*kept)
		return;
	*kept = false;
	if (m->keeping.custody.link >= 0 && !custody_drop(&m->keeping.custody, kind, id))
		lost(m);
}

void keep_daemon(struct mediator *m)
{
	struct deposit_daemon d = {
		.version = DEPOSIT_VERSION,
		.link_version = LINK_VERSION,
		.next_channel_id = m->next_channel_id,
		.next_session_id = m->keeping.next_session_id,
		.next_share_id = m->keeping.next_share_id,
		.next_tenant_id = m->next_tenant_id,
		.drain_since_s = m->drain.since_s,
		.drain_until_ns = m->drain.until_ns,
		.draining = m->drain.on,
	};

	if (!m->listener.source)
		return;
	snprintf(d.path, sizeof(d.path), "%s", m->listener.path);
	snprintf(d.backend_name, sizeof(d.backend_name), "%s", m->backend_name);
	snprintf(d.device_name, sizeof(d.device_name), "%s", m->device_name);
	keep_record(m, DEPOSIT_DAEMON, 0, &d, &m->listener.fd, DAEMON_FDS, &m->listener.kept);
}

void keep_tenant(struct tenant *t)
{
	struct deposit_tenant r = {
		.id = t->id,
		.maker = t->maker ? session_id(t->maker) : 0,
		.uid = t->uid,
		.flags = (t->for_uid ? DEPOSIT_TENANT_FOR_UID : 0) |
			 (t->removed ? DEPOSIT_TENANT_REMOVED : 0) | (t->used ? DEPOSIT_TENANT_USED : 0) |
			 (t->fresh ? DEPOSIT_TENANT_FRESH : 0),
		.cookie = t->cookie,
		.policy = t->policy,
		.by_hand = t->by_hand,
	};
	const int fds[TENANT_FDS] = {
		[TENANT_PAGE] = t->page_fd,
		[TENANT_BOOKS] = t->books_fd,
		[TENANT_LISTENER] = t->listener.source ? t->listener.fd : -1,
	};

	memcpy(r.name, t->name, sizeof(r.name));
	memcpy(r.vm, t->vm, sizeof(t->vm));
	snprintf(r.path, sizeof(r.path), "%s", t->listener.path);
	snprintf(r.pool, sizeof(r.pool), "%s", t->pool->name);
	keep_record(t->mediator, DEPOSIT_TENANT, t->id, &r, fds, TENANT_FDS, &t->kept);
}

void keep_pool(struct pool *p)
{
	struct deposit_pool r = { .policy = p->policy };

	if (!p->id)
		p->id = ++p->mediator->keeping.next_pool_id;
	snprintf(r.name, sizeof(r.name), "%s", p->name);
	snprintf(r.gpu, sizeof(r.gpu), "%s", p->gpu);
	keep_record(p->mediator, DEPOSIT_POOL, p->id, &r, NULL, 0, &p->kept);
}

void keep_pool_gone(struct pool *p)
{
	keep_gone(p->mediator, DEPOSIT_POOL, p->id, &p->kept);
}

// The books are the next mediator's, strikes included.
static void strikes_changed(void *opaque, struct tenant *t)
{
	(void)opaque;
	tenant_note_strikes(t);
}

void keep_tenant_gone(struct tenant *t)
{
	keep_gone(t->mediator, DEPOSIT_TENANT, t->id, &t->kept);
}

void keep_channel(struct channel *c)
{
	struct deposit_channel r = {
		.id = c->id,
		.session = c->session ? session_id(c->session) : 0,
		.opened_us = c->opened_us,
		.tenant = c->tenant->id,
		.cookie = c->cookie,
		.pid = c->process.pid,
		.state = c->state,
		.flags = (c->answered ? DEPOSIT_CHANNEL_ANSWERED : 0) |
			 (c->lost_said ? DEPOSIT_CHANNEL_LOST_SAID : 0) |
			 (c->vm.is ? DEPOSIT_CHANNEL_VM : 0) | (c->fresh ? DEPOSIT_CHANNEL_FRESH : 0),
		.place = turn_seat_place(&c->seat),
		.vm_pid = c->vm.pid,
		.library = c->library,
		.reason = c->reason,
		.geometry = c->geometry,
	};
	const int fds[CHANNEL_FDS] = {
		[CHANNEL_LINK] = c->process.link_fd, [CHANNEL_PIDFD] = c->process.pidfd,
		[CHANNEL_OUTPUT] = c->output.fd,     [CHANNEL_DOORBELL] = c->doorbell_fd,
		[CHANNEL_KICK] = c->seat.kick_fd,    [CHANNEL_TURN_PAGE] = c->seat.page_fd,
		[CHANNEL_MEMORY] = c->channel_fd,    [CHANNEL_WINDOW] = c->window_fd,
	};

	// What began before it was watched is not kept: it ends with its link.
	if (!c->exit_source || c->state == CHANNEL_REPLACING || c->state == CHANNEL_GONE)
		return;
	memcpy(r.vm_name, c->vm.name, sizeof(r.vm_name));
	memcpy(r.text, c->text, sizeof(r.text));
	keep_record(c->mediator, DEPOSIT_CHANNEL, c->id, &r, fds, CHANNEL_FDS, &c->kept);
}

void keep_channel_again(struct channel *c)
{
	c->kept = false;
	keep_channel(c);
}

void keep_channel_gone(struct channel *c)
{
	keep_gone(c->mediator, DEPOSIT_CHANNEL, c->id, &c->kept);
}

// ---- the keeper ----

// anew: the keeper has nothing yet; else it has what was adopted, as that was then.
static void put_all(struct mediator *m, bool anew)
{
	struct tenant *t;
	struct channel *c;
	struct pool *p;

	m->listener.kept &= !anew;
	keep_daemon(m);
	TAILQ_FOREACH (p, &m->pools, link) {
		p->kept &= !anew;
		if (p->id)
			keep_pool(p);
	}
	inventory_keep_all(m, anew);
	for (t = tenant_from_id(m, 0); t; t = t->id < UINT32_MAX ? tenant_from_id(m, t->id + 1) : NULL) {
		t->kept &= !anew;
		keep_tenant(t);
		share_keep_all(t, anew);
	}
	session_keep_all(m, anew);
	if (anew)
		warm_pool_keep_all(&m->warm);
	LIST_FOREACH (c, &m->channels, link) {
		c->kept &= !anew;
		keep_channel(c);
	}
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	lost(userdata); // it never says anything
	return 0;
}

static int watch_link(struct mediator *m)
{
	struct keeping *k = &m->keeping;

	return sd_event_add_io(m->event, &k->link_source, k->custody.link, EPOLLIN, on_link, m);
}

static void start(struct mediator *m, bool again)
{
	struct keeping *k = &m->keeping;
	const struct settings *s = m->settings;
	const char *directory = s->paths_run_directory;
	// One that was too slow is found again, or two would keep the same.
	int r = again ? custody_find_again(&k->custody, directory, s->adopt_wait, s->executor_stop) : -ENOENT;

	k->started_ns = clock_now_ns();
	if (r < 0)
		r = custody_start(&k->custody, k->program, directory, s->adopt_wait, s->executor_stop);
	if (r == 0)
		r = watch_link(m);
	if (r < 0) {
		log_warning("no keeper (%s): %s; programs end if this process does", k->program,
			    strerror(-r));
		lost(m);
		return;
	}
	put_all(m, true);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct mediator *m = userdata;

	(void)source;
	(void)usec;
	if (!m->stopping && m->keeping.custody.link < 0)
		start(m, true);
	return 0;
}

static void lost(struct mediator *m)
{
	struct keeping *k = &m->keeping;
	uint64_t now = clock_now_ns();
	uint64_t at = (now - k->started_ns < RESTART_NS ? now + RESTART_NS : now) / NSEC_PER_USEC;

	if (k->link_source)
		log_warning("the keeper is gone, starting another one");
	k->link_source = sd_event_source_disable_unref(k->link_source);
	close_fd(&k->custody.link);
	if (!k->timer)
		sd_event_add_time(m->event, &k->timer, CLOCK_MONOTONIC, at, 1000, on_time, m);
	sd_event_source_set_time(k->timer, at);
	sd_event_source_set_enabled(k->timer, SD_EVENT_ONESHOT);
}

void keep_start(struct mediator *m)
{
	if (!keep_is_on(m))
		return;
	watch_unlisten(&m->watch, strikes_changed);
	watch_listen(&m->watch, strikes_changed, NULL);
	if (m->keeping.custody.link < 0)
		start(m, false);
	else if (watch_link(m) < 0)
		lost(m);
	else
		put_all(m, false);
}

void keep_finish(struct mediator *m)
{
	struct keeping *k = &m->keeping;

	k->link_source = sd_event_source_disable_unref(k->link_source);
	k->timer = sd_event_source_disable_unref(k->timer);
	if (k->custody.link >= 0)
		custody_finish(&k->custody, m->settings->paths_run_directory);
	k->program[0] = 0;
}
