// SPDX-License-Identifier: Apache-2.0
// Unix SOCK_SEQPACKET helpers; see the header. Runs in the mediator, the executor, vgpu-run and the guest.
#include "common/seqpacket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"

static int fill_address(struct sockaddr_un *sun, const char *path)
{
	size_t n = strlen(path);

	if (!n || n >= sizeof(sun->sun_path))
		return -ENAMETOOLONG;
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, n);
	return 0;
}

static int connect_as(int type, const char *path, const struct timeval *limit)
{
	cleanup_fd int fd = -1;
	struct sockaddr_un sun;
	int r = fill_address(&sun, path);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (limit && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, limit, sizeof(*limit)) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return errno == EAGAIN && limit ? -ETIMEDOUT : -errno;
	return take_fd(&fd);
}

int seqpacket_connect_now(const char *path)
{
	return connect_as(SOCK_SEQPACKET | SOCK_NONBLOCK, path, NULL);
}

int seqpacket_connect_within(const char *path, uint64_t limit_ns)
{
	const struct timeval limit = { .tv_sec = (time_t)(limit_ns / 1000000000),
				       .tv_usec = (suseconds_t)(limit_ns % 1000000000 / 1000) };

	return connect_as(SOCK_SEQPACKET, path, &limit);
}

static int listen_as(int type, const char *path, unsigned mode, int backlog)
{
	cleanup_fd int fd = -1;
	struct sockaddr_un sun;
	struct stat st;
	int r = fill_address(&sun, path);

	if (r < 0)
		return r;
	if (lstat(path, &st) == 0) {
		int other;

		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		other = connect_as(type, path, NULL);
		if (other >= 0) {
			close(other);
			return -EADDRINUSE;
		}
		if (unlink(path) < 0)
			return -errno;
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	if (chmod(path, mode) < 0 || listen(fd, backlog) < 0)
		return -errno;
	return take_fd(&fd);
}

int seqpacket_listen(const char *path, unsigned mode, int backlog)
{
	return listen_as(SOCK_SEQPACKET, path, mode, backlog);
}

int stream_listen(const char *path, unsigned mode, int backlog)
{
	return listen_as(SOCK_STREAM, path, mode, backlog);
}

int seqpacket_send(int fd, const void *data, size_t len, const int *fds, unsigned n_fds, int flags)
{
	union {
		char space[CMSG_SPACE(SEQPACKET_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds > SEQPACKET_MAX_FDS)
		return -E2BIG;
	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

// Moves the fds out of msg; closes what does not fit. Returns false if any did not.
static int collect_fds(struct msghdr *msg, int *fds, unsigned *n_fds)
{
	int lost = msg->msg_flags & MSG_CTRUNC;

	*n_fds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
			if (*n_fds < SEQPACKET_MAX_FDS) {
				fds[(*n_fds)++] = one;
			} else {
				close(one);
				lost = 1;
			}
		}
	}
	return !lost;
}

int seqpacket_recv(int fd, void *data, size_t len, int *ret_fds, unsigned *ret_n_fds, int flags)
{
	union {
		// Room for one more than we take, so that a sender of too many is seen and not merely cut.
		char space[CMSG_SPACE((SEQPACKET_MAX_FDS + 1) * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	int whole, bad;
	ssize_t n;

	*ret_n_fds = 0;
	// ECONNRESET comes once, before what the peer sent, when it closed with packets of ours unread.
	do {
		n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	whole = collect_fds(&msg, ret_fds, ret_n_fds);
	bad = !whole ? -EPROTO : (msg.msg_flags & MSG_TRUNC) ? -EMSGSIZE : 0;
	if (bad) {
		for (unsigned i = 0; i < *ret_n_fds; i++)
			close(ret_fds[i]);
		*ret_n_fds = 0;
		return bad;
	}
	return (int)n;
}
