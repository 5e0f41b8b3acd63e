// SPDX-License-Identifier: Apache-2.0
// Life of a session: accept, packets in (checked, limited in rate), and every way in which it ends: the
// client hangs up, its process dies (while a forked child still holds the socket), it breaks the protocol,
// its tenant goes, the mediator goes. Runs in the mediator's loop.
#include "mediator/session/session.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "mediator/about.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/complain.h"
#include "mediator/session/internal.h"
#include "mediator/tenant.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define PACKETS_A_ROUND 16

struct mediator *session_mediator(const struct session *s)
{
	return s->mediator;
}

struct tenant *session_tenant(const struct session *s)
{
	return s->tenant;
}

uint32_t session_library(const struct session *s)
{
	return s->library;
}

const struct peer *session_peer(struct session *s)
{
	if (!s->peer_read)
		peer_read(&s->peer, s->pidfd);
	s->peer_read = true;
	return &s->peer;
}

void session_add_channel(struct session *s, struct channel *c)
{
	LIST_INSERT_HEAD(&s->channels, c, session_link);
}

unsigned session_close_channels(struct session *s, bool at_once)
{
	struct channel *c;
	unsigned n = 0;

	LIST_FOREACH (c, &s->channels, session_link) {
		channel_close(c, at_once);
		n++;
	}
	return n;
}

void session_made_tenant(struct session *s, struct tenant *t)
{
	LIST_INSERT_HEAD(&s->made, t, made_link);
}

void session_doom(struct session *s, const char *reason)
{
	if (s->doomed)
		return;
	if (reason)
		complain("connection of pid %d uid %u (tenant %" PRIu32 ") closed: %s", (int)s->pid, s->uid,
			 s->tenant->id, reason);
	s->doomed = true;
	registers_give_up(s);
	sd_event_source_set_enabled(s->io, SD_EVENT_OFF);
	mediator_reap(s->mediator);
}

// ---- packets in ----

static void offend(struct session *s, uint32_t cookie, int code, const char *why)
{
	session_send_error(s, cookie, (uint32_t)code, why);
	session_doom(s, why);
}

union packet {
	struct link_header header;
	char bytes[LINK_MAX_PACKET];
};

// n: as seqpacket_recv gave it. fds are borrowed. Returns false when there is nothing more to read, ever.
static bool take_packet(struct session *s, const union packet *packet, int n, const int *fds, unsigned n_fds)
{
	const char *why;
	int code;

	s->mediator->metrics.messages[METRICS_FROM_CLIENT] += n > 0;
	if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
		session_doom(s, NULL);
		return false;
	}
	if (n < 0) {
		offend(s, 0, LINK_E_PROTOCOL,
		       n == -EMSGSIZE ? "packet longer than LINK_MAX_PACKET"
				      : "packet with too many file descriptors");
		return false;
	}
	if (!bucket_take(&s->packet_rate, VGPU_MAX_LINK_PACKETS_PER_S, clock_now_ns())) {
		offend(s, 0, LINK_E_LIMIT, "too many packets (VGPU_MAX_LINK_PACKETS_PER_S)");
		return false;
	}
	code = check_packet(s->phase, packet, (size_t)n, n_fds, &why);
	if (!code && !s->vm &&
	    (packet->header.type == LINK_CHANNEL_OPEN_VM || packet->header.type == LINK_CHANNEL_CLOSE)) {
		code = LINK_E_PROTOCOL;
		why = "LINK_FEATURE_VM was not agreed on";
	}
	if (!code && !s->personality &&
	    (packet->header.type == LINK_REGISTERS || packet->header.type == LINK_MONITOR)) {
		code = LINK_E_PROTOCOL;
		why = "LINK_FEATURE_PERSONALITY was not agreed on";
	}
	if (code) {
		offend(s, (size_t)n >= sizeof(packet->header) ? packet->header.cookie : 0, code, why);
		return false;
	}
	request_handle(s, packet, fds, n_fds);
	return !s->doomed;
}

// Returns false when there is nothing more to read now, or ever.
static bool read_packet(struct session *s)
{
	union packet packet;
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	int n = seqpacket_recv(s->fd, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT | MSG_PEEK);
	bool more;

	if (n == -EAGAIN)
		return false;
	more = n > 0 && session_did(s, &packet, (size_t)n) ? true : take_packet(s, &packet, n, fds, n_fds);
	if (more) {
		session_keep_waiting(s);
		session_consume(s);
	}
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	return more;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct session *s = userdata;

	ABOUT_SESSION(s);
	(void)source;
	(void)fd;
	if (events & EPOLLOUT)
		outbox_flush(s);
	if (!s->doomed && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
		for (int i = 0; i < PACKETS_A_ROUND; i++) {
			if (!read_packet(s))
				break;
		}
	}
	return 0;
}

static int on_death(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	session_doom(userdata, NULL);
	return 0;
}

static int on_no_hello(sd_event_source *source, uint64_t usec, void *userdata)
{
	ABOUT_SESSION(userdata);
	(void)source;
	(void)usec;
	offend(userdata, 0, LINK_E_PROTOCOL, "no HELLO in VGPU_MAX_HELLO_WAIT_NS");
	return 0;
}

// ---- beginning and end ----

static int peer_pidfd(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	// Before Linux 6.5: the number may be another process's by now; then its life is watched for nothing
	// and the hang-up alone tells.
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

int session_watch(struct session *s)
{
	sd_event *event = s->mediator->event;
	int r = sd_event_add_io(event, &s->io, s->fd, EPOLLIN, on_io, s);

	if (r < 0)
		return r;
	r = sd_event_add_time(event, &s->hello_timer, CLOCK_MONOTONIC,
			      (clock_now_ns() + VGPU_MAX_HELLO_WAIT_NS) / NSEC_PER_USEC, 100000, on_no_hello,
			      s);
	if (r < 0)
		return r;
	if (s->pidfd < 0)
		s->pidfd = peer_pidfd(s->fd, s->pid);
	if (s->pidfd < 0)
		return 0;
	return sd_event_add_io(event, &s->death, s->pidfd, EPOLLIN, on_death, s);
}

static const char *adopt(struct session *s, struct tenant *tenant)
{
	struct mediator *m = s->mediator;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int r = 0;

	if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return "the peer's credentials cannot be read";
	s->uid = cred.uid;
	s->pid = cred.pid;
	s->operator_ = !tenant && (cred.uid == 0 || cred.uid == geteuid());
	if (m->stopping)
		return "the mediator is going away";
	if (!tenant)
		r = tenant_for_uid(m, cred.uid, &tenant);
	if (r < 0)
		return r == -ENOSPC ? "too many tenants (limits.tenants)" : "no memory for a tenant";
	if (tenant->n_sessions >= m->settings->limits_connections)
		return "too many connections of this tenant (limits.connections)";
	s->tenant = tenant;
	tenant->n_sessions++;
	return NULL;
}

static void close_session(struct session *s)
{
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->death);
	sd_event_source_disable_unref(s->hello_timer);
	outbox_free(s);
	outbox_hang_up(&s->fd);
	close_fd(&s->pidfd);
}

struct session *session_make(struct mediator *m, int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->mediator = m;
	s->fd = fd;
	s->pidfd = -1;
	s->phase = PHASE_NEW;
	bucket_init(&s->packet_rate, clock_now_ns());
	bucket_init(&s->device_rate, clock_now_ns());
	STAILQ_INIT(&s->outbox);
	return s;
}

static void publish(const struct session *s, enum event_kind kind, const char *text)
{
	event_publish(s->mediator, kind, s->tenant,
		      json_pack("{s:I, s:I, s:i}", "session", (json_int_t)s->id, "uid", (json_int_t)s->uid,
				"pid", (int)s->pid),
		      "%s", text);
}

void session_new(struct mediator *m, struct tenant *tenant, int fd)
{
	struct session *s = session_make(m, fd);
	const char *refused;
	int r;

	if (!s) {
		close_fd(&fd);
		return;
	}
	s->id = ++m->keeping.next_session_id;
	s->came_us = clock_wall_us();
	refused = adopt(s, tenant);
	if (refused) {
		complain("connection of pid %d uid %u refused: %s", (int)s->pid, s->uid, refused);
		metrics_refused_link(m, m->stopping ? LINK_E_SHUTDOWN : LINK_E_LIMIT);
		session_refuse(fd, m->stopping ? LINK_E_SHUTDOWN : LINK_E_LIMIT, refused);
		free(s);
		return;
	}
	LIST_INSERT_HEAD(&m->sessions, s, link);
	publish(s, EVENT_SESSION_CAME, "a program connected");
	r = session_watch(s);
	if (r < 0) {
		session_send_error(s, 0, r == -EMFILE ? LINK_E_LIMIT : LINK_E_INTERNAL, strerror(-r));
		session_doom(s, strerror(-r));
	}
	session_keep(s);
}

static void session_free(struct session *s)
{
	struct mediator *m = s->mediator;
	struct channel *c;
	struct tenant *t;

	while ((c = LIST_FIRST(&s->channels)))
		channel_abandon(c);
	while ((t = LIST_FIRST(&s->made))) {
		LIST_REMOVE(t, made_link);
		tenant_remove(t);
	}
	publish(s, EVENT_SESSION_WENT, "a program's connection ended");
	close_session(s);
	keep_gone(m, DEPOSIT_SESSION, s->id, &s->kept);
	s->tenant->n_sessions--;
	LIST_REMOVE(s, link);
	inventory_tenant_changed(s->tenant);
	free(s);
	mediator_reap(m);
}

void session_doom_all(struct mediator *m)
{
	struct session *s;

	LIST_FOREACH (s, &m->sessions, link)
		session_doom(s, NULL);
}

void session_doom_tenant(struct tenant *t)
{
	struct session *s;

	LIST_FOREACH (s, &t->mediator->sessions, link) {
		if (s->tenant == t)
			session_doom(s, NULL);
	}
}

bool session_reap(struct mediator *m)
{
	struct session *s, *next;
	bool some = false;

	LIST_FOREACH_SAFE (s, &m->sessions, link, next) {
		if (s->doomed) {
			session_free(s);
			some = true;
		}
	}
	return some;
}
