// SPDX-License-Identifier: Apache-2.0
// What goes to clients: sent at once when the socket takes it, kept within bounds when it does not. Runs in
// the mediator's loop.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "mediator/session/internal.h"

static void free_outgoing(struct outgoing *o)
{
	for (unsigned i = 0; i < o->n_fds; i++)
		close_fd(&o->fds[i]);
	free(o);
}

static struct outgoing *copy_outgoing(const void *packet, size_t len, const int *fds, unsigned n_fds)
{
	struct outgoing *o = calloc(1, sizeof(*o) + len);

	if (!o)
		return NULL;
	o->len = len;
	memcpy(o->packet, packet, len);
	for (; o->n_fds < n_fds; o->n_fds++) {
		int copy = fcntl(fds[o->n_fds], F_DUPFD_CLOEXEC, 0);

		if (copy < 0) {
			free_outgoing(o);
			return NULL;
		}
		o->fds[o->n_fds] = copy;
	}
	return o;
}

static void wait_for_room(struct session *s, bool wait)
{
	sd_event_source_set_io_events(s->io, EPOLLIN | (wait ? EPOLLOUT : 0));
}

void session_send(struct session *s, const void *packet, size_t len, const int *fds, unsigned n_fds)
{
	struct outgoing *o;
	int r = -EAGAIN;

	if (s->doomed)
		return;
	if (STAILQ_EMPTY(&s->outbox))
		r = seqpacket_send(s->fd, packet, len, fds, n_fds, MSG_DONTWAIT);
	if (r == 0)
		return;
	if (r != -EAGAIN) {
		session_doom(s, r == -EPIPE || r == -ECONNRESET ? NULL : strerror(-r));
		return;
	}
	if (s->n_outgoing >= VGPU_MAX_LINK_BACKLOG) {
		session_doom(s, "it does not read its answers (VGPU_MAX_LINK_BACKLOG)");
		return;
	}
	o = copy_outgoing(packet, len, fds, n_fds);
	if (!o) {
		session_doom(s, "out of memory or file descriptors");
		return;
	}
	STAILQ_INSERT_TAIL(&s->outbox, o, link);
	s->n_outgoing++;
	wait_for_room(s, true);
}

void session_send_error(struct session *s, uint32_t cookie, uint32_t code, const char *text)
{
	struct link_error m = {
		.header = { LINK_MAGIC, LINK_ERROR, 0, sizeof(m), cookie },
		.code = code,
	};

	metrics_refused_link(s->mediator, code);
	snprintf(m.text, sizeof(m.text), "%s", text);
	session_send(s, &m, sizeof(m), NULL, 0);
}

void session_refuse(int fd, uint32_t code, const char *text)
{
	struct link_error m = {
		.header = { LINK_MAGIC, LINK_ERROR, 0, sizeof(m), 0 },
		.code = code,
	};

	snprintf(m.text, sizeof(m.text), "%s", text);
	seqpacket_send(fd, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
	outbox_hang_up(&fd);
}

void outbox_hang_up(int *fd)
{
	char rest[LINK_MAX_PACKET];
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	int n;

	// A socket that is closed with packets unread makes the client's next read fail, before it gets to
	// our last words. No more packets can come after the shutdown, and at most a socket buffer's worth is
	// there.
	shutdown(*fd, SHUT_RD);
	do {
		n = seqpacket_recv(*fd, rest, sizeof(rest), fds, &n_fds, MSG_DONTWAIT);
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
	} while (n > 0 || n == -EMSGSIZE || n == -EPROTO);
	// The keeper may have it too.
	shutdown(*fd, SHUT_RDWR);
	close_fd(fd);
}

void outbox_flush(struct session *s)
{
	struct outgoing *o;

	while (!s->doomed && (o = STAILQ_FIRST(&s->outbox))) {
		int r = seqpacket_send(s->fd, o->packet, o->len, o->fds, o->n_fds, MSG_DONTWAIT);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			session_doom(s, NULL);
			return;
		}
		STAILQ_REMOVE_HEAD(&s->outbox, link);
		s->n_outgoing--;
		free_outgoing(o);
	}
	while (!s->doomed && s->status && STAILQ_EMPTY(&s->outbox))
		request_status_step(s);
	if (!s->doomed)
		wait_for_room(s, !STAILQ_EMPTY(&s->outbox));
}

void outbox_free(struct session *s)
{
	struct outgoing *o;

	while ((o = STAILQ_FIRST(&s->outbox))) {
		STAILQ_REMOVE_HEAD(&s->outbox, link);
		free_outgoing(o);
	}
}
