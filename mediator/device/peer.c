// SPDX-License-Identifier: Apache-2.0
// See the header. A pidfd's fdinfo needs no rights over the process and cannot be about another one. Runs in
// the mediator's loop; the files are the kernel's own and never make a reader wait.
#include "mediator/device/peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

// NUL-terminated; the length, 0 if it cannot be read.
static size_t read_file(const char *path, char *ret, size_t n)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, ret, n - 1);

	ret[got > 0 ? got : 0] = 0;
	return got > 0 ? (size_t)got : 0;
}

void peer_parse_pids(struct peer *p, const char *fdinfo)
{
	const char *at = strstr(fdinfo, "\nNSpid:");
	char *end;

	p->depth = 0;
	if (!at)
		return;
	at += strlen("\nNSpid:");
	for (;;) {
		long pid = strtol(at, &end, 10);

		// 0 and -1: not visible from here, or dead. Deeper than we count: then its own number is not
		// known.
		if (end == at)
			return;
		if (pid <= 0 || p->depth == PEER_DEPTH) {
			p->depth = 0;
			return;
		}
		p->pids[p->depth++] = (pid_t)pid;
		at = end;
		if (*at == '\n' || !*at)
			return;
	}
}

void peer_set_name(struct peer *p, const char *bytes, size_t n)
{
	const char *newline = memchr(bytes, '\n', n);

	log_sanitize(p->name, sizeof(p->name), bytes, newline ? (size_t)(newline - bytes) : n);
}

void peer_read(struct peer *p, int pidfd)
{
	char path[64], text[1024];
	struct stat st;
	size_t n;

	memset(p, 0, sizeof(*p));
	if (pidfd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	read_file(path, text, sizeof(text));
	peer_parse_pids(p, text);
	if (!p->depth)
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)p->pids[0]);
	if (stat(path, &st) == 0)
		p->ns = st.st_ino;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)p->pids[0]);
	n = read_file(path, text, sizeof(text));
	peer_set_name(p, text, n);
	// By then the process may have ended and its number be another's: only one that still lives was read.
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	read_file(path, text, sizeof(text));
	peer_parse_pids(p, text);
	if (!p->depth)
		memset(p, 0, sizeof(*p));
}

bool peer_sees(const struct peer *p, const struct peer *other, pid_t *ret)
{
	if (!p->depth || other->depth < p->depth)
		return false;
	// Below the mediator's own namespace two processes of one depth may live in different ones.
	if (p->depth > 1 && !(p->ns && p->ns == other->ns))
		return false;
	*ret = other->pids[p->depth - 1];
	return true;
}
