// SPDX-License-Identifier: Apache-2.0
// An executor without a GPU for the mediator's integration tests: speaks the host link and the turn page, and
// misbehaves on request. How it starts is said by $VGPU_FAKE_START, how it waits for a tenant when it is
// started ahead by $VGPU_FAKE_WARM; what it does afterwards by the line of text that the test puts at the
// beginning of the channel's ring (then it rings the doorbell):
//
//   start:  ok | fail TEXT | exit N | silent | flood | garbage | abort | ready-twice | deaf | fds | share
//   warm:   ok | fail TEXT | exit N | silent | garbage | die (at ASSIGN) | ignore (ASSIGN) | crowded (no
//   memory free) ring:   work KERNEL_US GAP_US | overrun US | keep | exit N | abort | ended CODE TEXT |
//   memory BYTES |
//           features BITS | print TEXT | flood | hangup | deaf | garbage | meters LAUNCHES BYTES FAULTS |
//           delays LAUNCH_NS TIMES WAIT_NS | fds | kicks | lie | send FDS HEX | asks | hang | creep MS |
//           refuse N | signal N, and those of fake_room.h
//
// send sends a packet of the test's own bytes with so many fds (each of a file that holds the number of the
// channel) and puts the answer into the channel for the test to read: struct answer, ANSWER_OFFSET behind the
// beginning of the ring.
//
// "GPU work" is sleeping, so any number of them run beside each other on a small machine.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"
#include "protocol/host/link.h"
#include "protocol/host/turn_page.h"
#include "tests/integration/fake_room.h"

#define LINK_FD 3

static struct link_assign assign;
static int doorbell, kick_fd;
static char *ring;
static struct vgpu_turn_page *page;
static struct vgpu_tenant_page *tenant;
static uint64_t released, busy, launches;
static bool deaf; // does not end when its link is closed

static void kick(void)
{
	uint64_t one = 1;

	(void)!write(kick_fd, &one, sizeof(one));
}

static void send_header(uint16_t type, void *m, uint32_t length)
{
	struct link_header *h = m;

	*h = (struct link_header){ LINK_MAGIC, type, 0, length, 0 };
	seqpacket_send(LINK_FD, m, length, NULL, 0, 0);
}

static void send_ready(void)
{
	struct link_ready m = { .backend = "fake", .device = "Fake GPU", .device_memory = 1u << 30 };

	send_header(LINK_READY, &m, sizeof(m));
}

static void send_ended(uint16_t type, uint32_t code, const char *text)
{
	struct link_ended m = { .code = code };

	snprintf(m.text, sizeof(m.text), "%s", text);
	send_header(type, &m, sizeof(m));
}

static void flood(void)
{
	for (;;)
		printf("a line of output that nobody wants to read %d\n", getpid());
}

static void get_assign(void)
{
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	int n = seqpacket_recv(LINK_FD, &assign, sizeof(assign), fds, &n_fds, 0);
	char *channel;

	if (n != (int)sizeof(assign) || n_fds != 6 || assign.header.type != LINK_ASSIGN) {
		fprintf(stderr, "bad ASSIGN: %d bytes, %u fds\n", n, n_fds);
		exit(9);
	}
	channel = mmap(NULL, assign.geometry.channel_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	page = mmap(NULL, VGPU_TURN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[3], 0);
	tenant = mmap(NULL, VGPU_TURN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[5], 0);
	if (channel == MAP_FAILED || page == MAP_FAILED || tenant == MAP_FAILED) {
		perror("mmap");
		exit(9);
	}
	ring = channel + assign.geometry.ring_offset;
	doorbell = fds[2];
	kick_fd = fds[4];
	fake_room_init(page, tenant, (struct fake_room *)(ring + ROOM_OFFSET), kick);
}

// Sleeps until the doorbell or at most until until_ns; ends when the link is closed.
static void wait_until(uint64_t until_ns, bool wake_by_bell)
{
	char line[LINK_MAX_PACKET];

	for (;;) {
		struct pollfd p[2] = { { .fd = deaf ? -1 : LINK_FD, .events = POLLIN },
				       { .fd = wake_by_bell ? doorbell : -1, .events = POLLIN } };
		uint64_t now = clock_now_ns();
		struct timespec ts;

		if (now >= until_ns)
			return;
		ts = (struct timespec){ .tv_sec = (time_t)((until_ns - now) / NSEC_PER_SEC),
					.tv_nsec = (long)((until_ns - now) % NSEC_PER_SEC) };
		if (until_ns == UINT64_MAX)
			ts.tv_sec = 3600;
		ppoll(p, 2, &ts, NULL);
		if (p[0].revents && recv(LINK_FD, line, sizeof(line), MSG_DONTWAIT) <= 0)
			exit(0);
		if (p[0].revents) // a WAKE
			return;
		if (p[1].revents) {
			uint64_t count;

			(void)!read(doorbell, &count, sizeof(count));
			return;
		}
	}
}

static bool holds(void)
{
	return atomic_load(&page->turn_id) != released;
}

static bool may_submit(void)
{
	return holds() && atomic_load(&page->gate) == VGPU_GATE_OPEN &&
	       clock_now_ns() < atomic_load(&page->deadline_ns);
}

static void release(void)
{
	released = atomic_load(&page->turn_id);
	atomic_store(&page->released_turn, released);
	kick();
}

static void show_demand(void)
{
	if (atomic_exchange(&page->demand, 1))
		return;
	if (!holds() || atomic_load(&page->gate) == VGPU_GATE_CLOSED ||
	    atomic_load(&page->deadline_ns) != VGPU_NO_DEADLINE)
		kick();
}

static void run_kernel(uint64_t ns)
{
	uint64_t begin = clock_now_ns();

	atomic_store(&page->in_flight, 1);
	wait_until(begin + ns, false);
	busy += clock_now_ns() - begin;
	atomic_store(&page->busy_ns, busy);
	atomic_store(&page->launches, ++launches);
	atomic_fetch_add(&page->progress, 1);
	atomic_store(&page->in_flight, 0);
}

// A pause without work; the turn goes back when it is longer than the grace, or at its end.
static void pause_ns(uint64_t ns)
{
	uint64_t begin = clock_now_ns(), end = begin + ns;

	atomic_store(&page->demand, 0);
	while (clock_now_ns() < end) {
		uint64_t wake = end, grace = begin + atomic_load(&page->idle_grace_ns);

		if (holds() &&
		    (atomic_load(&page->gate) == VGPU_GATE_CLOSED ||
		     (atomic_load(&page->deadline_ns) != VGPU_NO_DEADLINE && clock_now_ns() >= grace)))
			release();
		if (holds() && atomic_load(&page->deadline_ns) != VGPU_NO_DEADLINE && grace < wake)
			wake = grace;
		wait_until(wake, true);
	}
}

static void work(uint64_t kernel_ns, uint64_t gap_ns)
{
	for (;;) {
		show_demand();
		while (!may_submit()) {
			if (holds() && (atomic_load(&page->gate) == VGPU_GATE_CLOSED ||
					clock_now_ns() >= atomic_load(&page->deadline_ns)))
				release();
			wait_until(clock_now_ns() + 20 * NSEC_PER_MSEC, true);
		}
		run_kernel(kernel_ns);
		if (gap_ns)
			pause_ns(gap_ns);
	}
}

// Takes one turn and keeps it.
static void keep(uint64_t ns)
{
	show_demand();
	while (!may_submit())
		wait_until(clock_now_ns() + 20 * NSEC_PER_MSEC, true);
	wait_until(ns == UINT64_MAX ? ns : clock_now_ns() + ns, false);
	atomic_store(&page->demand, 0);
	release();
}

// GPU work that never ends; with a step, some of it ends each time.
static void hang(uint64_t step_ns)
{
	show_demand();
	while (!may_submit())
		wait_until(clock_now_ns() + 20 * NSEC_PER_MSEC, true);
	atomic_store(&page->in_flight, 1);
	while (step_ns) {
		wait_until(clock_now_ns() + step_ns, false);
		atomic_fetch_add(&page->progress, 1);
	}
	wait_until(UINT64_MAX, false);
}

// Rings the mediator without end, demand on and off.
static void kick_storm(void)
{
	for (uint64_t i = 0;; i++) {
		atomic_store(&page->demand, i & 1);
		kick();
		if (i % 1024 == 0)
			wait_until(clock_now_ns() + 1000, false);
	}
}

// All that an executor can write, at its worst; then it works on.
// Histograms that no executor of ours could have counted.
static void lie_of_delays(void)
{
	for (unsigned i = 0; i < VGPU_DELAYS; i++) {
		for (unsigned j = 0; j < VGPU_DELAY_BUCKETS; j++)
			atomic_store(&page->delays[i].buckets[j], UINT64_MAX >> (j % 40));
		atomic_store(&page->delays[i].sum_ns, UINT64_MAX);
	}
}

static void lie(void)
{
	lie_of_delays();
	atomic_store(&page->busy_ns, UINT64_MAX);
	atomic_store(&page->memory_bytes, UINT64_MAX);
	atomic_store(&page->progress, UINT64_MAX);
	atomic_store(&page->demand, 0xffffffff);
	atomic_store(&page->in_flight, 0xffffffff);
	atomic_store(&page->released_turn, atomic_load(&page->turn_id) + 1000);
	atomic_store(&tenant->memory_used, 12345);
	atomic_store(&page->gate, 77);
	kick();
}

static void send_fds(void)
{
	struct link_ended m = { .header = { LINK_MAGIC, LINK_ENDED, 1, sizeof(m), 0 },
				.code = LINK_E_BAD_RECORD };
	int fd = STDOUT_FILENO;

	seqpacket_send(LINK_FD, &m, sizeof(m), &fd, 1, 0);
}

struct answer {
	_Atomic uint32_t number; // of the answer; stored last
	uint32_t length, n_fds;	 // length 0: none came
	uint32_t reserved;
	uint64_t word; // what the file of the fd holds
	uint8_t bytes[256];
};
#define ANSWER_OFFSET 1024

static int numbered_file(void)
{
	int fd = memfd_create("vgpu-fake", MFD_CLOEXEC);

	(void)!write(fd, &assign.channel_id, sizeof(assign.channel_id));
	return fd;
}

static void take_answer(struct answer *a)
{
	struct pollfd p = { .fd = LINK_FD, .events = POLLIN };
	int fds[SEQPACKET_MAX_FDS], n;

	a->length = a->n_fds = 0;
	a->word = 0;
	if (poll(&p, 1, 300) <= 0)
		return;
	n = seqpacket_recv(LINK_FD, a->bytes, sizeof(a->bytes), fds, &a->n_fds, MSG_DONTWAIT);
	a->length = n > 0 ? (uint32_t)n : 0;
	for (unsigned i = 0; i < a->n_fds; i++) {
		(void)!pread(fds[i], &a->word, sizeof(a->word), 0);
		close_fd(&fds[i]);
	}
}

static void send_bytes(unsigned n_fds, const char *hex)
{
	struct answer *a = (void *)(ring + ANSWER_OFFSET);
	uint8_t packet[128];
	int fds[SEQPACKET_MAX_FDS];
	size_t n = 0;

	for (unsigned byte; n < sizeof(packet) && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
		packet[n] = (uint8_t)byte;
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = numbered_file();
	seqpacket_send(LINK_FD, packet, n, fds, n_fds, 0);
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	take_answer(a);
	atomic_fetch_add(&a->number, 1);
}

static void send_take(void)
{
	struct link_take m = { 0 };

	send_header(LINK_TAKE, &m, sizeof(m));
}

static void obey(const char *line)
{
	uint64_t a = 0, b = 0, c = 0;
	char word[32] = "", text[200] = "";

	sscanf(line, "%31s %" SCNu64 " %" SCNu64 " %" SCNu64, word, &a, &b, &c);
	if (fake_room_obey(word, a, b)) {
		return;
	} else if (strcmp(word, "work") == 0) {
		work(a * NSEC_PER_USEC, b * NSEC_PER_USEC);
	} else if (strcmp(word, "overrun") == 0) {
		keep(a * NSEC_PER_USEC);
	} else if (strcmp(word, "keep") == 0) {
		keep(UINT64_MAX);
	} else if (strcmp(word, "exit") == 0) {
		exit((int)a);
	} else if (strcmp(word, "abort") == 0) {
		abort();
	} else if (strcmp(word, "ended") == 0) {
		sscanf(line, "%*s %*u %199[^\n]", text);
		send_ended(LINK_ENDED, (uint32_t)a, text);
		exit(1);
	} else if (strcmp(word, "memory") == 0) {
		fake_room_hold(a);
	} else if (strcmp(word, "print") == 0) {
		puts(line + 6);
	} else if (strcmp(word, "flood") == 0) {
		flood();
	} else if (strcmp(word, "hangup") == 0) {
		shutdown(LINK_FD, SHUT_RDWR);
		deaf = true;
	} else if (strcmp(word, "deaf") == 0) {
		deaf = true;
	} else if (strcmp(word, "garbage") == 0) {
		seqpacket_send(LINK_FD, "garbage", 7, NULL, 0, 0);
	} else if (strcmp(word, "fds") == 0) {
		send_fds();
	} else if (strcmp(word, "kicks") == 0) {
		kick_storm();
	} else if (strcmp(word, "lie") == 0) {
		lie();
	} else if (strcmp(word, "send") == 0) {
		send_bytes((unsigned)a, strrchr(line, ' ') + 1);
	} else if (strcmp(word, "asks") == 0) {
		for (;;)
			send_take();
	} else if (strcmp(word, "hang") == 0) {
		hang(0);
	} else if (strcmp(word, "creep") == 0) {
		hang(a * NSEC_PER_MSEC);
	} else if (strcmp(word, "refuse") == 0) {
		atomic_fetch_add(&page->refused_memory, a);
	} else if (strcmp(word, "signal") == 0) {
		raise((int)a);
	} else if (strcmp(word, "features") == 0) {
		atomic_fetch_or(&page->features, a);
	} else if (strcmp(word, "meters") == 0) {
		atomic_store(&page->launches, a);
		atomic_store(&page->copy_bytes, b);
		atomic_store(&page->faults, c);
	} else if (strcmp(word, "delays") == 0) { // b launches of a ns, a wait of c ns
		vgpu_delay_note(&page->delays[VGPU_DELAY_LAUNCH], a, b);
		vgpu_delay_note(&page->delays[VGPU_DELAY_WAIT], c, 1);
	}
}

static void start(const char *how)
{
	if (strncmp(how, "fail ", 5) == 0) {
		send_ended(LINK_FAILED, LINK_E_BACKEND, how + 5);
		exit(1);
	} else if (strncmp(how, "exit ", 5) == 0) {
		fprintf(stderr, "cannot open the backend: no such device\n");
		exit((int)strtol(how + 5, NULL, 10));
	} else if (strcmp(how, "silent") == 0) {
		wait_until(UINT64_MAX, false);
	} else if (strcmp(how, "flood") == 0) {
		flood();
	} else if (strcmp(how, "garbage") == 0) {
		seqpacket_send(LINK_FD, "garbage", 7, NULL, 0, 0);
		wait_until(UINT64_MAX, false);
	} else if (strcmp(how, "abort") == 0) {
		abort();
	} else if (strcmp(how, "fds") == 0) {
		send_fds();
	} else if (strcmp(how, "share") == 0) {
		send_take();
	}
	if (strcmp(how, "deaf") == 0) {
		deaf = true;
		signal(SIGTERM, SIG_IGN);
	}
	send_ready();
	if (strcmp(how, "ready-twice") == 0)
		send_ready();
}

static void wait_ahead(const char *how)
{
	struct link_warm m = { .device_free = strcmp(how, "crowded") == 0 ? 1 : 1ull << 40,
			       .device_memory = 1ull << 40 };

	if (strncmp(how, "fail ", 5) == 0) {
		send_ended(LINK_FAILED, LINK_E_BACKEND, how + 5);
		exit(1);
	} else if (strncmp(how, "exit ", 5) == 0) {
		fprintf(stderr, "no device for anybody\n");
		exit((int)strtol(how + 5, NULL, 10));
	} else if (strcmp(how, "silent") == 0) {
		pause();
	} else if (strcmp(how, "garbage") == 0) {
		seqpacket_send(LINK_FD, "garbage", 7, NULL, 0, 0);
		pause();
	}
	send_header(LINK_WARM, &m, sizeof(m));
	if (strcmp(how, "ignore") == 0)
		pause();
	if (strcmp(how, "die") == 0) {
		struct pollfd p = { .fd = LINK_FD, .events = POLLIN };

		poll(&p, 1, -1);
		abort();
	}
}

int main(int argc, char **argv)
{
	const char *how = getenv("VGPU_FAKE_START"), *ahead = getenv("VGPU_FAKE_WARM");
	char line[400];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--warm") == 0)
			wait_ahead(ahead ? ahead : "ok");
	get_assign();
	start(how ? how : "ok");
	for (;;) {
		wait_until(UINT64_MAX, true);
		memcpy(line, ring, sizeof(line));
		line[sizeof(line) - 1] = 0;
		ring[0] = 0;
		if (line[0])
			obey(line);
		fake_room_look();
	}
}
