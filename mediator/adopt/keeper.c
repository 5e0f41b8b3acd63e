// SPDX-License-Identifier: Apache-2.0
// vgpu-keeper: holds the descriptors of a mediator, so that it can be restarted or die without anybody
// noticing (docs/decisions/0022). Started by the mediator, not its child for long; understands nothing of
// what it holds. It ends when a mediator says FINISH, or when none came for as long as the last one said:
// then all descriptors are closed, which everybody at their other ends takes for the mediator's end, and
// processes that do not end are killed.
//
// One thread: at most one mediator is served, the others are told BUSY.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <bsd/sys/tree.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "protocol/host/keeper.h"

#define LISTEN_FD 3 // the socket at which the next mediator finds us
#define LINK_FD	  4 // to the one that started us

// A mediator that does not read what it asked for is not waited for longer.
#define SEND_LIMIT_S 5

struct record {
	RB_ENTRY(record) link;
	uint64_t id;
	uint32_t kind, pidfd, bytes;
	int fds[KEEPER_MAX_FDS]; // -1: none in that place
	char blob[];
};

RB_HEAD(record_tree, record);

struct keeper {
	struct record_tree records;
	unsigned n;
	int link;	   // -1: no mediator
	uint64_t alone_ns; // since when
	uint64_t wait_ns, stop_ns;
	bool finished;
};

union packet {
	struct keeper_header header;
	struct keeper_hello hello;
	struct keeper_record record;
	char bytes[KEEPER_MAX_PACKET];
};

static volatile sig_atomic_t told_to_end;

static int compare_records(const struct record *a, const struct record *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_GENERATE_INTERNAL(record_tree, record, link, compare_records, __attribute__((unused)) static)

static struct record *find(struct keeper *k, uint32_t kind, uint64_t id)
{
	struct record key = { .kind = kind, .id = id };

	return RB_FIND(record_tree, &k->records, &key);
}

static void record_free(struct keeper *k, struct record *r)
{
	RB_REMOVE(record_tree, &k->records, r);
	for (unsigned i = 0; i < KEEPER_MAX_FDS; i++)
		close_fd(&r->fds[i]);
	k->n--;
	free(r);
}

static void hang_up(struct keeper *k, const char *why)
{
	if (why)
		log_error("the mediator's connection is given up: %s", why);
	close_fd(&k->link);
	k->alone_ns = clock_now_ns();
}

static int send_header(int fd, enum keeper_type type)
{
	struct keeper_header m = { KEEPER_MAGIC, (uint16_t)type, 0, sizeof(m), KEEPER_VERSION };

	return seqpacket_send(fd, &m, sizeof(m), NULL, 0, 0);
}

// ---- records ----

static int put(struct keeper *k, const struct keeper_record *m, int *fds)
{
	struct record *old = find(k, m->kind, m->id);
	struct record *r = malloc(sizeof(*r) + m->bytes);
	unsigned n = 0;

	if (!r)
		return -ENOMEM;
	*r = (struct record){ .id = m->id, .kind = m->kind, .pidfd = m->pidfd, .bytes = m->bytes };
	for (unsigned i = 0; i < KEEPER_MAX_FDS; i++)
		r->fds[i] = m->places >> i & 1 ? take_fd(&fds[n++]) : -1;
	memcpy(r->blob, m + 1, m->bytes);
	if (old)
		record_free(k, old);
	RB_INSERT(record_tree, &k->records, r);
	k->n++;
	return 0;
}

static int update(struct keeper *k, const struct keeper_record *m)
{
	struct record *old = find(k, m->kind, m->id);
	struct record *r;

	if (!old)
		return -ENOENT;
	if (m->bytes > old->bytes) {
		r = malloc(sizeof(*r) + m->bytes);
		if (!r)
			return -ENOMEM;
		*r = *old;
		RB_REMOVE(record_tree, &k->records, old);
		free(old);
		RB_INSERT(record_tree, &k->records, r);
		old = r;
	}
	old->bytes = m->bytes;
	memcpy(old->blob, m + 1, m->bytes);
	return 0;
}

static void drop(struct keeper *k, const struct keeper_record *m)
{
	struct record *r = find(k, m->kind, m->id);

	if (r)
		record_free(k, r);
}

static void forget(struct keeper *k)
{
	struct record *r, *next;

	RB_FOREACH_SAFE (r, record_tree, &k->records, next)
		record_free(k, r);
}

static int send_record(const struct keeper *k, const struct record *r)
{
	union packet p = { .record = {
			       .header = { KEEPER_MAGIC, KEEPER_RECORD, 0,
					   (uint32_t)sizeof(p.record) + r->bytes, KEEPER_VERSION },
			       .id = r->id,
			       .kind = r->kind,
			       .pidfd = r->pidfd,
			       .bytes = r->bytes,
			   } };
	int fds[KEEPER_MAX_FDS];
	unsigned n = 0;

	for (unsigned i = 0; i < KEEPER_MAX_FDS; i++) {
		if (r->fds[i] < 0)
			continue;
		p.record.places |= 1u << i;
		fds[n++] = r->fds[i];
	}
	p.header.n_fds = (uint16_t)n;
	memcpy(p.bytes + sizeof(p.record), r->blob, r->bytes);
	return seqpacket_send(k->link, &p, p.header.length, fds, n, 0);
}

static int welcome(struct keeper *k, const struct keeper_hello *hello)
{
	struct keeper_welcome m = { .header = { KEEPER_MAGIC, KEEPER_WELCOME, 0, sizeof(m), KEEPER_VERSION },
				    .records = k->n };
	struct record *r;
	int result = seqpacket_send(k->link, &m, sizeof(m), NULL, 0, 0);

	k->wait_ns = hello->wait_ns;
	k->stop_ns = hello->stop_ns;
	RB_FOREACH (r, record_tree, &k->records) {
		if (result < 0)
			break;
		result = send_record(k, r);
	}
	return result < 0 ? result : send_header(k->link, KEEPER_END);
}

// ---- what the mediator says ----

static bool is_record(const union packet *p, size_t n, unsigned n_fds)
{
	const struct keeper_record *m = &p->record;

	return n >= sizeof(*m) && m->bytes <= KEEPER_BLOB_BYTES && n == sizeof(*m) + m->bytes &&
	       !(m->places >> KEEPER_MAX_FDS) && (unsigned)__builtin_popcount(m->places) == n_fds &&
	       (m->pidfd == KEEPER_NO_PIDFD || m->pidfd < KEEPER_MAX_FDS);
}

static int handle(struct keeper *k, const union packet *p, size_t n, int *fds, unsigned n_fds)
{
	if (n < sizeof(p->header) || p->header.magic != KEEPER_MAGIC || p->header.length != n ||
	    p->header.n_fds != n_fds)
		return -EPROTO;
	switch (p->header.type) {
	case KEEPER_HELLO: return n == sizeof(p->hello) && !n_fds ? welcome(k, &p->hello) : -EPROTO;
	case KEEPER_PUT: return is_record(p, n, n_fds) ? put(k, &p->record, fds) : -EPROTO;
	case KEEPER_UPDATE: return is_record(p, n, n_fds) && !n_fds ? update(k, &p->record) : -EPROTO;
	case KEEPER_DROP:
		if (!is_record(p, n, n_fds) || n_fds)
			return -EPROTO;
		drop(k, &p->record);
		return 0;
	case KEEPER_FINISH: k->finished = true; return 0;
	case KEEPER_FORGET: forget(k); return 0;
	default: return 0; // of a later version, and not about what we hold
	}
}

static void read_link(struct keeper *k)
{
	int fds[SEQPACKET_MAX_FDS];
	union packet p;
	unsigned n_fds;
	int n = seqpacket_recv(k->link, &p, sizeof(p), fds, &n_fds, MSG_DONTWAIT), r;

	if (n == -EAGAIN)
		return;
	if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
		hang_up(k, NULL);
		return;
	}
	r = n < 0 ? n : handle(k, &p, (size_t)n, fds, n_fds);
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	// It must not believe that something is kept that is not: it starts another keeper.
	if (r < 0)
		hang_up(k, r == -EPIPE || r == -ECONNRESET ? NULL : strerror(-r));
}

static bool is_ours(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == geteuid() || cred.uid == 0);
}

// What it said already is read, or it would not get to read this.
static void say_busy(int fd)
{
	int fds[SEQPACKET_MAX_FDS], n;
	union packet p;
	unsigned n_fds;

	send_header(fd, KEEPER_BUSY);
	shutdown(fd, SHUT_RD);
	do {
		n = seqpacket_recv(fd, &p, sizeof(p), fds, &n_fds, MSG_DONTWAIT);
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
	} while (n > 0 || n == -EMSGSIZE || n == -EPROTO);
}

static void accept_mediator(struct keeper *k)
{
	const struct timeval limit = { .tv_sec = SEND_LIMIT_S };
	cleanup_fd int fd = accept4(LISTEN_FD, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return;
	if (!is_ours(fd)) {
		log_warning("somebody else than the mediator's user asked for what is kept, and got nothing");
		return;
	}
	if (k->link >= 0)
		say_busy(fd);
	else
		k->link = take_fd(&fd);
}

// ---- the end ----

static void kill_all(const struct keeper *k, const int *pidfds, unsigned n)
{
	uint64_t end = clock_now_ns() + (k->finished ? 0 : k->stop_ns);

	for (unsigned i = 0; i < n; i++) {
		struct pollfd p = { .fd = pidfds[i], .events = POLLIN };
		uint64_t now = clock_now_ns();

		if (poll(&p, 1, now < end ? (int)((end - now) / NSEC_PER_MSEC) + 1 : 0) == 0)
			syscall(SYS_pidfd_send_signal, pidfds[i], SIGKILL, NULL, 0);
	}
}

static void give_up(struct keeper *k)
{
	struct record *r, *next;
	int *pidfds = calloc(k->n ? k->n : 1, sizeof(*pidfds));
	unsigned n = 0;

	if (!k->finished && k->n)
		log_warning("no mediator came for %" PRIu64 " ms: what was kept for it ends",
			    (uint64_t)(k->wait_ns / NSEC_PER_MSEC));
	RB_FOREACH_SAFE (r, record_tree, &k->records, next) {
		if (r->pidfd != KEEPER_NO_PIDFD && r->fds[r->pidfd] >= 0) {
			if (pidfds)
				pidfds[n++] = take_fd(&r->fds[r->pidfd]);
			else
				syscall(SYS_pidfd_send_signal, r->fds[r->pidfd], SIGKILL, NULL, 0);
		}
		record_free(k, r);
	}
	if (pidfds)
		kill_all(k, pidfds, n);
	free(pidfds);
}

// Only if it is still ours: a mediator that found us dead has put another one there.
static void remove_socket(void)
{
	struct sockaddr_un sun = { 0 };
	socklen_t len = sizeof(sun) - 1;
	int probe;

	if (getsockname(LISTEN_FD, (struct sockaddr *)&sun, &len) < 0 || !sun.sun_path[0])
		return;
	close(LISTEN_FD);
	probe = seqpacket_connect_now(sun.sun_path);
	if (probe >= 0)
		close(probe);
	else if (probe == -ECONNREFUSED)
		unlink(sun.sun_path);
}

// Milliseconds until somebody must have come; -1: no limit.
static int patience(const struct keeper *k)
{
	uint64_t now = clock_now_ns(), end = k->alone_ns + k->wait_ns;

	if (k->link >= 0)
		return -1;
	return now >= end ? 0 : (int)((end - now) / NSEC_PER_MSEC) + 1;
}

static void on_signal(int sig)
{
	(void)sig;
	told_to_end = 1;
}

static void take_signals(sigset_t *ret_unblocked)
{
	const struct sigaction end = { .sa_handler = on_signal };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigemptyset(ret_unblocked);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigaction(SIGTERM, &end, NULL);
}

static void serve(struct keeper *k, const sigset_t *unblocked)
{
	while (!k->finished && !told_to_end) {
		struct pollfd p[2] = { { .fd = k->link, .events = POLLIN },
				       { .fd = LISTEN_FD, .events = POLLIN } };
		int ms = patience(k);
		struct timespec ts = { ms / 1000, ms % 1000 * (long)NSEC_PER_MSEC };
		int n = ppoll(p, 2, ms < 0 ? NULL : &ts, unblocked);

		if (n < 0 && errno != EINTR)
			break;
		if (n == 0 && k->link < 0 && patience(k) == 0)
			break;
		// The link first: who comes now may come because the other has just gone.
		if (n > 0 && p[0].revents)
			read_link(k);
		else if (n > 0 && p[1].revents)
			accept_mediator(k);
	}
}

int main(int argc, char **argv)
{
	static struct keeper k = { .link = LINK_FD };
	const struct timeval limit = { .tv_sec = SEND_LIMIT_S };
	sigset_t unblocked;

	(void)argv;
	log_init("vgpu-keeper", LOG_INFO);
	if (argc != 1) {
		log_error("this program is started by vgpu-mediator");
		return EXIT_FAILURE;
	}
	take_signals(&unblocked);
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    setsockopt(LINK_FD, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0) {
		log_error("start: %m");
		return EXIT_FAILURE;
	}
	RB_INIT(&k.records);
	k.alone_ns = clock_now_ns();
	serve(&k, &unblocked);
	remove_socket();
	give_up(&k);
	return EXIT_SUCCESS;
}
