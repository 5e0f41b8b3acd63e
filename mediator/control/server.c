// SPDX-License-Identifier: Apache-2.0
// The control socket: accepts operators, cuts what they send into lines, sends the answers. One answer at a
// time: nothing more is read from a connection whose answer was not taken, so no one can make the mediator
// hoard. Runs in the mediator's loop, after all that concerns turns.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/complain.h"
#include "mediator/control/control.h"
#include "mediator/control/peer.h"
#include "mediator/limit/bucket.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

#define BACKLOG		   64
#define ACCEPT_INTERVAL_US 100000
#define ACCEPTS_A_ROUND	   16
#define ACCEPT_ROUNDS	   50
#define LINES_A_ROUND	   16

struct control_link {
	struct control *control;
	LIST_ENTRY(control_link) link;
	int fd;
	struct control_peer peer;
	sd_event_source *source;
	struct control_later *later; // the answer that is awaited; NULL: none
	struct bucket rate;
	char in[VGPU_MAX_CONTROL_LINE + 1];
	size_t in_bytes;
	char *out; // an answer that was not taken completely; NULL: none
	size_t out_bytes, out_sent;
	bool last; // close when it is sent
};

static void link_free(struct control_link *l)
{
	LIST_REMOVE(l, link);
	l->control->n_links--;
	if (l->later)
		control_later_gone(l->later);
	sd_event_source_disable_unref(l->source);
	close_fd(&l->fd);
	free(l->out);
	free(l);
}

// ---- answers ----

// False: the connection is gone.
static bool send_out(struct control_link *l)
{
	while (l->out_sent < l->out_bytes) {
		ssize_t n = send(l->fd, l->out + l->out_sent, l->out_bytes - l->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0)
			return false;
		l->out_sent += (size_t)n;
	}
	free(l->out);
	l->out = NULL;
	return !l->last;
}

// Takes the answer over. False: the connection is gone.
static bool send_answer(struct control_link *l, json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;
	char *line = text ? realloc(text, n + 2) : NULL;

	json_decref(answer);
	if (!line) {
		free(text);
		complain("control: out of memory, a connection was closed");
		return false;
	}
	line[n] = '\n';
	line[n + 1] = 0;
	l->out = line;
	l->out_bytes = n + 1;
	l->out_sent = 0;
	return send_out(l);
}

// ---- requests ----

static bool answer_line(struct control_link *l, const char *line, size_t n)
{
	bool later = false;
	json_t *answer;

	if (!bucket_take(&l->rate, VGPU_MAX_CONTROL_REQUESTS_PER_S, clock_now_ns())) {
		l->last = true;
		metrics_refused_control(l->control->mediator, CONTROL_E_LIMIT);
		return send_answer(
		    l, control_error(CONTROL_E_LIMIT, "too many requests (VGPU_MAX_CONTROL_REQUESTS_PER_S)"));
	}
	answer = control_answer(l->control->mediator, &l->peer, line, n, &later);
	return later || send_answer(l, answer);
}

// Answers the whole lines that are there, as long as the answers are taken. False: the connection is gone.
static bool answer_lines(struct control_link *l)
{
	for (unsigned i = 0; i < LINES_A_ROUND && !l->out && !l->later; i++) {
		char *end = memchr(l->in, '\n', l->in_bytes);
		size_t n;
		bool open;

		if (!end) {
			if (l->in_bytes <= VGPU_MAX_CONTROL_LINE)
				return true;
			l->last = true;
			metrics_refused_control(l->control->mediator, CONTROL_E_LIMIT);
			return send_answer(l, control_error(CONTROL_E_LIMIT,
							    "the line is too long (VGPU_MAX_CONTROL_LINE)"));
		}
		n = (size_t)(end - l->in);
		open = answer_line(l, l->in, n);
		if (!open)
			return false;
		l->in_bytes -= n + 1;
		memmove(l->in, end + 1, l->in_bytes);
	}
	return true;
}

// False: the connection is gone.
static bool read_in(struct control_link *l)
{
	ssize_t n = recv(l->fd, l->in + l->in_bytes, sizeof(l->in) - l->in_bytes, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	l->in_bytes += (size_t)n;
	return n > 0;
}

static bool has_line(const struct control_link *l)
{
	return memchr(l->in, '\n', l->in_bytes);
}

static uint32_t events_for(const struct control_link *l)
{
	if (l->later)
		return 0;
	// EPOLLOUT is ready at once where lines are left that a round was too short for.
	return l->out || has_line(l) ? EPOLLOUT : EPOLLIN;
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct control_link *l = userdata;
	bool open = true;

	(void)fd;
	if (l->out)
		open = send_out(l);
	if (open && !l->out && !l->later && (events & EPOLLIN) && !has_line(l))
		open = read_in(l);
	if (open)
		open = answer_lines(l);
	if (!open || (events & EPOLLERR)) {
		link_free(l);
		return 0;
	}
	return sd_event_source_set_io_events(source, events_for(l));
}

static void await(void *link, struct control_later *later)
{
	struct control_link *l = link;

	l->later = later;
}

static void take_answer(void *link, json_t *answer)
{
	struct control_link *l = link;

	l->later = NULL;
	if (send_answer(l, answer))
		sd_event_source_set_io_events(l->source, events_for(l));
	else
		link_free(l);
}

static const struct control_door door = { await, take_answer };

// ---- who may ----

static void refuse(int fd, const char *error, const char *text)
{
	char line[256];
	int n =
	    snprintf(line, sizeof(line), "{\"ok\":false,\"error\":\"%s\",\"text\":\"%s\"}\n", error, text);

	(void)!send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int link_new(struct control *c, int fd, const struct control_peer *peer)
{
	struct control_link *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->control = c;
	l->fd = fd;
	l->peer = *peer;
	l->peer.door = &door;
	l->peer.link = l;
	bucket_init(&l->rate, clock_now_ns());
	r = sd_event_add_io(c->mediator->event, &l->source, fd, EPOLLIN, on_link, l);
	if (r < 0) {
		free(l);
		return r;
	}
	LIST_INSERT_HEAD(&c->links, l, link);
	c->n_links++;
	return sd_event_source_set_priority(l->source, SD_EVENT_PRIORITY_NORMAL + 1);
}

// Takes the fd over.
static void take_connection(struct control *c, int connection)
{
	cleanup_fd int fd = connection;
	const struct peer_groups groups = { .admins = c->group, .viewers = PEER_NO_GROUP };
	struct control_peer peer;

	peer_read_socket(fd, &groups, "control", &peer);
	if (peer.role != CONTROL_ADMIN) {
		complain("%s may not use the control socket", peer.who);
		metrics_refused_control(c->mediator, CONTROL_E_PERMISSION);
		refuse(fd, CONTROL_E_PERMISSION,
		       "only root, the mediator's own user and members of control.group");
	} else if (c->n_links >= VGPU_MAX_CONTROL_LINKS) {
		metrics_refused_control(c->mediator, CONTROL_E_LIMIT);
		refuse(fd, CONTROL_E_LIMIT, "too many connections (VGPU_MAX_CONTROL_LINKS)");
	} else if (link_new(c, fd, &peer) == 0) {
		(void)take_fd(&fd);
	}
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)events;
	for (unsigned i = 0; i < ACCEPTS_A_ROUND; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				complain("control: accept: %s", strerror(errno));
			break;
		}
		take_connection(userdata, fd);
	}
	return 0;
}

// ---- life ----

static int listen_on(struct control *c, const char *path)
{
	bool for_group = c->group != PEER_NO_GROUP;
	int r = stream_listen(path, for_group ? 0660 : 0600, BACKLOG);

	if (r < 0)
		return r;
	c->fd = r;
	snprintf(c->path, sizeof(c->path), "%s", path);
	if (for_group && chown(path, (uid_t)-1, c->group) < 0)
		return -errno;
	r = sd_event_add_io(c->mediator->event, &c->source, c->fd, EPOLLIN, on_connection, c);
	if (r < 0)
		return r;
	r = sd_event_source_set_priority(c->source, SD_EVENT_PRIORITY_NORMAL + 1);
	return r < 0 ? r : sd_event_source_set_ratelimit(c->source, ACCEPT_INTERVAL_US, ACCEPT_ROUNDS);
}

int control_init(struct control *c, struct mediator *m)
{
	const struct settings *s = m->settings;
	char path[sizeof(c->path)];
	int r;

	*c = (struct control){ .mediator = m, .fd = -1 };
	LIST_INIT(&c->links);
	LIST_INIT(&c->retries);
	if (strcmp(s->control_socket, "none") == 0)
		return 0;
	if (s->control_socket[0])
		snprintf(path, sizeof(path), "%.107s", s->control_socket);
	else
		snprintf(path, sizeof(path), "%.80s/" CONTROL_SOCKET_NAME, s->paths_run_directory);
	r = peer_find_group("control.group", s->control_group, &c->group);
	if (r < 0)
		return r;
	r = listen_on(c, path);
	if (r == -EADDRINUSE)
		log_error("control socket %s: another mediator answers on it", path);
	else if (r == -EPERM)
		log_error(
		    "control socket %s: only root and members of control.group ('%s') can give it to that "
		    "group; a unit's SupplementaryGroups= names it",
		    path, s->control_group);
	else if (r < 0)
		log_error("control socket %s: %s", path, strerror(-r));
	if (r < 0)
		control_done(c);
	return r;
}

void control_done(struct control *c)
{
	struct control_link *l;

	if (!c->mediator)
		return;
	control_retries_done(c);
	while ((l = LIST_FIRST(&c->links)))
		link_free(l);
	c->source = sd_event_source_disable_unref(c->source);
	close_fd(&c->fd);
	if (c->path[0])
		unlink(c->path);
	*c = (struct control){ .fd = -1 };
}
