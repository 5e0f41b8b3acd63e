// SPDX-License-Identifier: Apache-2.0
// See the header. The keeper is started as a grandchild: it must not be ours to reap, nor end with us.
#include "mediator/adopt/custody.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"

#define LISTEN_FD 3 // in the keeper
#define LINK_FD	  4
#define SPARE_FD  16 // copies on the way there lie above

#define BACKLOG 8
// A mediator that was killed may not be gone completely when the next one starts.
#define BUSY_LIMIT_NS (2 * NSEC_PER_SEC)
#define BUSY_PAUSE_NS (10 * NSEC_PER_MSEC)
#define LINK_LIMIT_S  2

static void socket_path(char *ret, size_t n, const char *directory)
{
	snprintf(ret, n, "%s/keeper.sock", directory);
}

// Never waits for a keeper that does not read or answer longer than this.
static void limit_waits(int fd)
{
	const struct timeval limit = { .tv_sec = LINK_LIMIT_S };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static struct keeper_header header_of(enum keeper_type type, unsigned n_fds, size_t bytes)
{
	return (struct keeper_header){ KEEPER_MAGIC, (uint16_t)type, (uint16_t)n_fds, (uint32_t)bytes,
				       KEEPER_VERSION };
}

union packet {
	struct keeper_header header;
	struct keeper_hello hello;
	struct keeper_welcome welcome;
	struct keeper_record record;
	char bytes[KEEPER_MAX_PACKET];
};

// False: the keeper is gone, and the link closed.
static bool send_packet(struct custody *s, const union packet *p, const int *fds)
{
	int r = seqpacket_send(s->link, p, p->header.length, fds, p->header.n_fds, 0);

	if (r < 0)
		close_fd(&s->link);
	return r == 0;
}

// ---- finding one ----

// A packet with a sane header: its length. -errno.
static int receive(int fd, union packet *p, int *fds, unsigned *n_fds)
{
	int n = seqpacket_recv(fd, p, sizeof(*p), fds, n_fds, 0);

	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return n == -EAGAIN ? -ETIMEDOUT : n;
	if ((size_t)n >= sizeof(p->header) && p->header.magic == KEEPER_MAGIC &&
	    p->header.length == (uint32_t)n && p->header.n_fds == *n_fds)
		return n;
	for (unsigned i = 0; i < *n_fds; i++)
		close_fd(&fds[i]);
	*n_fds = 0;
	return -EPROTO;
}

static int say_hello(int fd, uint64_t wait_ns, uint64_t stop_ns)
{
	struct keeper_hello m = { .header = header_of(KEEPER_HELLO, 0, sizeof(m)),
				  .wait_ns = wait_ns,
				  .stop_ns = stop_ns };
	int fds[SEQPACKET_MAX_FDS];
	union packet p;
	unsigned n_fds;
	int r = seqpacket_send(fd, &m, sizeof(m), NULL, 0, 0);

	// It may have hung up behind a BUSY.
	if (r < 0 && r != -EPIPE)
		return r;
	r = receive(fd, &p, fds, &n_fds);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	switch (p.header.type) {
	case KEEPER_WELCOME: return 0;
	case KEEPER_BUSY: return -EBUSY;
	default: return -EPROTO;
	}
}

static int try_once(struct custody *s, const char *path, uint64_t wait_ns, uint64_t stop_ns)
{
	cleanup_fd int fd = seqpacket_connect_within(path, LINK_LIMIT_S * NSEC_PER_SEC);
	int r;

	if (fd < 0)
		return fd == -ECONNREFUSED ? -ENOENT : fd;
	limit_waits(fd);
	r = say_hello(fd, wait_ns, stop_ns);
	if (r == 0)
		s->link = take_fd(&fd);
	return r;
}

int custody_find(struct custody *s, const char *directory, uint64_t wait_ns, uint64_t stop_ns)
{
	const struct timespec pause = { .tv_nsec = BUSY_PAUSE_NS };
	uint64_t end = clock_now_ns() + BUSY_LIMIT_NS;
	char path[128];
	int r;

	s->link = -1;
	socket_path(path, sizeof(path), directory);
	while ((r = try_once(s, path, wait_ns, stop_ns)) == -EBUSY && clock_now_ns() < end)
		nanosleep(&pause, NULL);
	// One that hung up at once is about to end.
	return r == -ECONNRESET ? -ENOENT : r;
}

static int take_record(const union packet *p, int n, int *fds, struct custody_item *ret)
{
	const struct keeper_record *m = &p->record;
	unsigned next = 0;

	if ((size_t)n < sizeof(*m) || m->bytes > KEEPER_BLOB_BYTES || (size_t)n != sizeof(*m) + m->bytes ||
	    m->places >> KEEPER_MAX_FDS || (unsigned)__builtin_popcount(m->places) != m->header.n_fds)
		return -EPROTO;
	ret->kind = m->kind;
	ret->id = m->id;
	ret->places = m->places;
	ret->bytes = m->bytes;
	memcpy(ret->blob, m + 1, m->bytes);
	for (unsigned i = 0; i < KEEPER_MAX_FDS; i++)
		ret->fds[i] = m->places >> i & 1 ? take_fd(&fds[next++]) : -1;
	return 1;
}

int custody_next(struct custody *s, struct custody_item *ret)
{
	int fds[SEQPACKET_MAX_FDS];
	union packet p;
	unsigned n_fds = 0;
	int n = receive(s->link, &p, fds, &n_fds), r;

	if (n < 0)
		r = n;
	else if (p.header.type == KEEPER_END)
		r = 0;
	else
		r = p.header.type == KEEPER_RECORD ? take_record(&p, n, fds, ret) : -EPROTO;
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	if (r < 0)
		close_fd(&s->link);
	return r;
}

int custody_find_again(struct custody *s, const char *directory, uint64_t wait_ns, uint64_t stop_ns)
{
	const union packet p = { .header = header_of(KEEPER_FORGET, 0, sizeof(p.header)) };
	struct custody_item k;
	char path[128];
	int r;

	s->link = -1;
	socket_path(path, sizeof(path), directory);
	r = try_once(s, path, wait_ns, stop_ns);
	if (r < 0)
		return r;
	while ((r = custody_next(s, &k)) > 0) {
		for (unsigned i = 0; i < KEEPER_MAX_FDS; i++)
			close_fd(&k.fds[i]);
	}
	return r == 0 && !send_packet(s, &p, NULL) ? -EPIPE : r;
}

// ---- starting one ----

// In the grandchild: only async-signal-safe calls.
static void become_keeper(const char *program, int listen_fd, int link_fd)
{
	const char *const argv[] = { program, NULL };
	int null_fd = open("/dev/null", O_RDWR);

	setsid();
	if (null_fd >= 0) {
		dup2(null_fd, STDIN_FILENO);
		dup2(null_fd, STDOUT_FILENO);
	}
	if (dup2(listen_fd, LISTEN_FD) < 0 || dup2(link_fd, LINK_FD) < 0 ||
	    syscall(SYS_close_range, LINK_FD + 1u, ~0u, 0u) < 0 || chdir("/") < 0)
		_exit(1);
	execv(program, (char *const *)argv);
	_exit(127);
}

static int fork_twice(const char *program, int listen_fd, int link_fd)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			become_keeper(program, listen_fd, link_fd);
		_exit(pid < 0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int high_copy(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, SPARE_FD);

	return copy < 0 ? -errno : copy;
}

int custody_start(struct custody *s, const char *program, const char *directory, uint64_t wait_ns,
		  uint64_t stop_ns)
{
	cleanup_fd int listening = -1, ours = -1, theirs = -1, listen_copy = -1, link_copy = -1;
	char path[128];
	int pair[2], r;
	struct custody_item none;

	s->link = -1;
	socket_path(path, sizeof(path), directory);
	listening = seqpacket_listen(path, 0600, BACKLOG);
	if (listening < 0)
		return listening;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	listen_copy = high_copy(listening);
	link_copy = high_copy(theirs);
	if (listen_copy < 0 || link_copy < 0)
		return listen_copy < 0 ? listen_copy : link_copy;
	r = fork_twice(program, listen_copy, link_copy);
	close_fd(&theirs);
	close_fd(&link_copy);
	limit_waits(ours);
	if (r == 0)
		r = say_hello(ours, wait_ns, stop_ns);
	if (r < 0) {
		unlink(path);
		return r;
	}
	s->link = take_fd(&ours);
	r = custody_next(s, &none);
	return r > 0 ? -EPROTO : r;
}

// ---- records ----

static bool send_record(struct custody *s, enum keeper_type type, const struct keeper_record *record,
			const void *blob, const int *fds, unsigned n_fds)
{
	union packet p = { .record = *record };

	if (s->link < 0)
		return false;
	p.header = header_of(type, n_fds, sizeof(p.record) + record->bytes);
	if (record->bytes)
		memcpy(p.bytes + sizeof(p.record), blob, record->bytes);
	return send_packet(s, &p, fds);
}

bool custody_put(struct custody *s, uint32_t kind, uint64_t id, const void *blob, uint32_t bytes,
		 const int *fds, unsigned n_fds, uint32_t pidfd)
{
	struct keeper_record m = { .id = id, .kind = kind, .pidfd = pidfd, .bytes = bytes };
	int sent[KEEPER_MAX_FDS];
	unsigned n = 0;

	for (unsigned i = 0; i < n_fds && i < KEEPER_MAX_FDS; i++) {
		if (fds[i] < 0)
			continue;
		m.places |= 1u << i;
		sent[n++] = fds[i];
	}
	return send_record(s, KEEPER_PUT, &m, blob, sent, n);
}

bool custody_update(struct custody *s, uint32_t kind, uint64_t id, const void *blob, uint32_t bytes)
{
	const struct keeper_record m = { .id = id, .kind = kind, .pidfd = KEEPER_NO_PIDFD, .bytes = bytes };

	return send_record(s, KEEPER_UPDATE, &m, blob, NULL, 0);
}

bool custody_drop(struct custody *s, uint32_t kind, uint64_t id)
{
	const struct keeper_record m = { .id = id, .kind = kind, .pidfd = KEEPER_NO_PIDFD };

	return send_record(s, KEEPER_DROP, &m, NULL, NULL, 0);
}

static void say_finish(struct custody *s, const char *directory)
{
	union packet p = { .header = header_of(KEEPER_FINISH, 0, sizeof(p.header)) };
	char path[128];

	// The directory may go in the next moment, and the keeper takes its time.
	socket_path(path, sizeof(path), directory);
	unlink(path);

	if (s->link >= 0)
		send_packet(s, &p, NULL);
}

void custody_finish(struct custody *s, const char *directory)
{
	say_finish(s, directory);
	close_fd(&s->link);
}

void custody_refuse(struct custody *s, const char *directory)
{
	uint64_t end = clock_now_ns() + LINK_LIMIT_S * NSEC_PER_SEC;
	int fds[SEQPACKET_MAX_FDS];
	union packet p;
	unsigned n_fds;
	int n = 1;

	say_finish(s, directory);
	while (s->link >= 0 && n != 0 && clock_now_ns() < end) {
		n = seqpacket_recv(s->link, &p, sizeof(p), fds, &n_fds, 0);
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
		if (n < 0 && n != -EPROTO && n != -EMSGSIZE)
			break;
	}
	close_fd(&s->link);
}
