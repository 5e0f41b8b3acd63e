// SPDX-License-Identifier: Apache-2.0
//
// Two processes of one end-to-end program (see the header).
#include "tests/e2e/peer.h"

#include "tests/e2e/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct peer peer_start(const char *role)
{
	struct peer p;
	char number[16];
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		check_bail("socketpair: %s", strerror(errno));
	p.socket = pair[0];
	snprintf(number, sizeof(number), "%d", pair[1]);
	p.pid = fork();
	if (p.pid < 0)
		check_bail("fork: %s", strerror(errno));
	if (!p.pid) {
		close(pair[0]);
		execl("/proc/self/exe", "peer", role, number, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	return p;
}

struct peer peer_parent(int argc, char **argv, const char **role)
{
	*role = argc == 3 ? argv[1] : NULL;
	return (struct peer){ .socket = argc == 3 ? (int)strtol(argv[2], NULL, 10) : -1 };
}

void peer_send(const struct peer *p, const void *bytes, size_t n, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = control.space;
		m.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(p->socket, &m, MSG_NOSIGNAL) != (ssize_t)n)
		check_bail("the other process does not listen: %s", strerror(errno));
}

int peer_receive(const struct peer *p, void *bytes, size_t n)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = bytes, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = sizeof(control.space) };
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(p->socket, &m, MSG_CMSG_CLOEXEC) != (ssize_t)n)
		check_bail("the other process has gone");
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

void peer_meet(const struct peer *p)
{
	char here = 'x', there;

	peer_send(p, &here, 1, -1);
	peer_receive(p, &there, 1);
}

void peer_end(struct peer *p)
{
	int status = -1;

	waitpid(p->pid, &status, 0);
	close(p->socket);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other process ended well (status 0x%x)",
	      status);
}
