// SPDX-License-Identifier: Apache-2.0
// Sessions that outlive a mediator: what is kept of one, and how the next mediator goes on with it. A packet
// is taken off its socket only when all that it caused is kept; so a mediator that dies between leaves a
// packet that was handled, and the next one has to see that. Runs in the mediator's loop and start.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/session/internal.h"

uint64_t session_id(const struct session *s)
{
	return s->id;
}

struct session *session_from_id(struct mediator *m, uint64_t id)
{
	struct session *s;

	LIST_FOREACH (s, &m->sessions, link)
		if (s->id == id)
			break;
	return s;
}

void session_keep(struct session *s)
{
	struct deposit_session r = {
		.id = s->id,
		.tenant = s->tenant->id,
		.uid = s->uid,
		.pid = s->pid,
		.came_us = s->came_us,
		.flags =
		    (s->operator_ ? DEPOSIT_SESSION_OPERATOR : 0) |
		    (s->phase == PHASE_READY ? DEPOSIT_SESSION_READY : 0) | (s->vm ? DEPOSIT_SESSION_VM : 0) |
		    (s->personality ? DEPOSIT_SESSION_PERSONALITY : 0) |
		    (s->monitor ? DEPOSIT_SESSION_MONITOR : 0) | (s->status ? DEPOSIT_SESSION_STATUS : 0) |
		    (s->device_waits ? DEPOSIT_SESSION_DEVICE : 0) |
		    (s->device_waits && s->device_card ? DEPOSIT_SESSION_CARD : 0),
		.library = s->library,
		.cookie = s->status	    ? s->status_cookie
			  : s->device_waits ? s->device_cookie
					    : 0,
	};
	const int fds[SESSION_FDS] = { [SESSION_SOCKET] = s->fd, [SESSION_PIDFD] = s->pidfd };

	if (s->doomed)
		return;
	s->waiting_kept = s->status || s->device_waits;
	keep_record(s->mediator, DEPOSIT_SESSION, s->id, &r, fds, SESSION_FDS, &s->kept);
}

void session_keep_waiting(struct session *s)
{
	if ((s->status || s->device_waits) != s->waiting_kept)
		session_keep(s);
}

void session_keep_all(struct mediator *m, bool anew)
{
	struct session *s;

	LIST_FOREACH (s, &m->sessions, link) {
		s->kept &= !anew;
		session_keep(s);
	}
}

void session_consume(struct session *s)
{
	struct channel *c;
	struct tenant *t;

	recv(s->fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC);
	LIST_FOREACH (c, &s->channels, session_link) {
		if (c->fresh) {
			c->fresh = false;
			keep_channel(c);
		}
	}
	LIST_FOREACH (t, &s->made, made_link) {
		if (t->fresh) {
			t->fresh = false;
			keep_tenant(t);
		}
	}
}

// ---- adopted ones ----

int session_adopt(struct mediator *m, struct tenant *t, const struct deposit_session *r, int fd, int pidfd)
{
	struct session *s;
	int result;

	if (session_from_id(m, r->id))
		return -EEXIST;
	s = session_make(m, fd);
	if (!s)
		return -ENOMEM;
	s->id = r->id;
	s->tenant = t;
	s->uid = r->uid;
	s->pid = r->pid;
	s->came_us = r->came_us;
	s->pidfd = pidfd;
	s->operator_ = r->flags & DEPOSIT_SESSION_OPERATOR;
	s->vm = r->flags & DEPOSIT_SESSION_VM;
	s->library = r->library;
	s->personality = r->flags & DEPOSIT_SESSION_PERSONALITY;
	s->monitor = r->flags & DEPOSIT_SESSION_MONITOR;
	s->phase = r->flags & DEPOSIT_SESSION_READY ? PHASE_READY : PHASE_NEW;
	s->kept = s->redo = true;
	t->n_sessions++;
	LIST_INSERT_HEAD(&m->sessions, s, link);
	result = session_watch(s);
	if (result < 0) {
		session_doom(s, strerror(-result));
		return 0; // it is the reaper's, with its fds
	}
	if (s->phase == PHASE_READY)
		s->hello_timer = sd_event_source_disable_unref(s->hello_timer);
	return 0;
}

void session_resume(struct session *s, const struct deposit_session *r)
{
	const struct link_status status = { { LINK_MAGIC, LINK_STATUS, 0, sizeof(status), r->cookie } };
	const struct link_device device = {
		.header = { LINK_MAGIC, LINK_DEVICE, 0, sizeof(device), r->cookie },
		.flags = r->flags & DEPOSIT_SESSION_CARD ? LINK_DEVICE_CARD : 0,
	};

	if (r->flags & DEPOSIT_SESSION_STATUS)
		request_handle(s, &status, NULL, 0);
	else if (r->flags & DEPOSIT_SESSION_DEVICE)
		request_handle(s, &device, NULL, 0);
}

static bool opened(const struct session *s, uint32_t cookie)
{
	const struct channel *c;

	LIST_FOREACH (c, &s->channels, session_link)
		if (c->fresh && c->cookie == cookie)
			return true;
	return false;
}

static bool made(struct session *s, uint32_t cookie)
{
	struct tenant *t;

	LIST_FOREACH (t, &s->made, made_link) {
		if (!t->fresh || t->cookie != cookie)
			continue;
		request_tenant_ok(s, t); // perhaps once more; who asked takes the first
		return true;
	}
	return false;
}

bool session_did(struct session *s, const void *packet, size_t bytes)
{
	const struct link_header *h = packet;

	if (!s->redo)
		return false;
	s->redo = false;
	if (bytes < sizeof(*h) || h->magic != LINK_MAGIC)
		return false;
	switch (h->type) {
	case LINK_HELLO: return bytes == sizeof(struct link_hello) && s->phase == PHASE_READY;
	case LINK_CHANNEL_OPEN:
	case LINK_CHANNEL_OPEN_VM: return opened(s, h->cookie);
	case LINK_TENANT_CREATE:
	case LINK_TENANT_CREATE_AS: return made(s, h->cookie);
	case LINK_STATUS: return s->status && s->status_cookie == h->cookie;
	case LINK_DEVICE: return s->device_waits && s->device_cookie == h->cookie;
	default: return false;
	}
}
