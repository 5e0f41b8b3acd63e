// SPDX-License-Identifier: Apache-2.0
// Listening sockets; see the header. Runs in the mediator's loop. When the process is out of fds a connection
// can neither be accepted nor left (the loop would be woken for it forever): one fd is kept in reserve, given
// up to accept it, say why, and close it.
#include "mediator/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/seqpacket.h"
#include "mediator/complain.h"
#include "mediator/mediator.h"
#include "mediator/session/session.h"

#define BACKLOG		256
#define ACCEPTS_A_ROUND 16
// A flood of connections is looked at in intervals; others of the loop go on.
#define ACCEPT_INTERVAL_US 100000
#define ACCEPT_ROUNDS	   100

static void refuse_one(struct listener *l)
{
	struct mediator *m = l->mediator;
	int fd;

	close_fd(&m->spare_fd);
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	metrics_refused_link(m, LINK_E_LIMIT);
	if (fd >= 0)
		session_refuse(fd, LINK_E_LIMIT, "the mediator is out of file descriptors (RLIMIT_NOFILE)");
	m->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	complain("out of file descriptors: a connection was refused");
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
	struct listener *l = userdata;

	(void)source;
	(void)events;
	for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			session_new(l->mediator, l->tenant, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			refuse_one(l);
		else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			complain("accept: %s", strerror(errno));
		break;
	}
	return 0;
}

static int start(struct listener *l)
{
	int r = sd_event_add_io(l->mediator->event, &l->source, l->fd, EPOLLIN, on_connection, l);

	return r < 0 ? r : sd_event_source_set_ratelimit(l->source, ACCEPT_INTERVAL_US, ACCEPT_ROUNDS);
}

// Only root may give a file away; anybody may let somebody into a file of theirs.
static int let_in(const char *path, uid_t user)
{
	char rules[64];
	acl_t acl;
	int r = 0;

	if (user == geteuid() || chown(path, user, (gid_t)-1) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	snprintf(rules, sizeof(rules), "u::rw-,u:%u:rw-,g::---,m::rw-,o::---", user);
	acl = acl_from_text(rules);
	if (!acl || acl_set_file(path, ACL_TYPE_ACCESS, acl) < 0)
		r = -errno;
	if (acl)
		acl_free(acl);
	return r;
}

int listener_open(struct listener *l, struct mediator *m, struct tenant *t, const char *path, unsigned mode,
		  uid_t owner)
{
	int r;

	*l = (struct listener){ .mediator = m, .tenant = t, .fd = -1 };
	if (strlen(path) >= sizeof(l->path))
		return -ENAMETOOLONG;
	r = seqpacket_listen(path, mode, BACKLOG);
	if (r < 0)
		return r;
	l->fd = r;
	snprintf(l->path, sizeof(l->path), "%s", path);
	r = owner == (uid_t)-1 ? 0 : let_in(path, owner);
	if (r == 0)
		r = start(l);
	if (r < 0)
		listener_done(l);
	return r;
}

// The file of a socket that was handed over is its maker's, who may have asked us to remove it.
static void note_path(struct listener *l)
{
	struct sockaddr_un sun = { 0 };
	socklen_t len = sizeof(sun) - 1;

	if (strcmp(l->mediator->settings->paths_at_end, "remove") == 0 &&
	    getsockname(l->fd, (struct sockaddr *)&sun, &len) == 0)
		snprintf(l->path, sizeof(l->path), "%.107s", sun.sun_path);
}

int listener_take(struct listener *l, struct mediator *m, int fd)
{
	int flags = fcntl(fd, F_GETFL), r;

	*l = (struct listener){ .mediator = m, .fd = fd };
	note_path(l);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	r = start(l);
	if (r < 0)
		listener_done(l);
	return r;
}

int listener_adopt(struct listener *l, struct mediator *m, struct tenant *t, int fd, const char *path)
{
	*l = (struct listener){ .mediator = m, .tenant = t, .fd = fd };
	snprintf(l->path, sizeof(l->path), "%s", path);
	return start(l);
}

int listener_give(const struct listener *l, uid_t user, gid_t group)
{
	if (user == (uid_t)-1 && group == (gid_t)-1)
		return 0;
	// The mode after the owner: nobody but them gets the rights meanwhile.
	if (chown(l->path, user, group) < 0 || chmod(l->path, group == (gid_t)-1 ? 0600 : 0660) < 0)
		return -errno;
	return 0;
}

void listener_done(struct listener *l)
{
	if (!l->mediator)
		return;
	l->source = sd_event_source_disable_unref(l->source);
	close_fd(&l->fd);
	if (l->path[0])
		unlink(l->path);
	*l = (struct listener){ .fd = -1 };
}
