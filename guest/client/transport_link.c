// SPDX-License-Identifier: Apache-2.0
// Process mode: the mediator's unix socket. Hello, channel, mappings; and what the link says later. The
// program's memory is shared as transport_link_memory.c says. Runs in the program's process.
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"
#include "guest/client/client_internal.h"
#include "guest/client/transport_link.h"
#include "protocol/cuda/cuda_abi.h"

#define OPEN_TIMEOUT_S 60 // an executor on a busy GPU host may take seconds to start

// What a reader of the link may get; header first, so that the type can be looked at.
union link_packet {
	struct link_header header;
	struct link_hello_ok hello_ok;
	struct link_channel_ok channel_ok;
	struct link_channel_lost lost;
	struct link_error error;
	uint8_t bytes[LINK_MAX_PACKET];
};

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

// The next packet that is not an answer to something earlier: a mediator that took the place of another may
// answer once more.
static int receive(int link, uint32_t cookie, union link_packet *ret, int *fds, unsigned *n_fds)
{
	for (;;) {
		int n = seqpacket_recv(link, ret, sizeof(*ret), fds, n_fds, 0);

		if (n < (int)sizeof(ret->header) || !ret->header.cookie || ret->header.cookie >= cookie)
			return n;
		close_all(fds, *n_fds);
		*n_fds = 0;
	}
}

// One request and its answer of the wanted type and size. Fds go to the caller. -errno with open_error set.
static int request(int link, const void *msg, size_t bytes, uint16_t want, size_t want_bytes,
		   union link_packet *ret, int *fds, unsigned *n_fds)
{
	uint32_t cookie = ((const struct link_header *)msg)->cookie;
	int n, r = seqpacket_send(link, msg, bytes, NULL, 0, 0);

	*n_fds = 0;
	if (r < 0)
		return client_fail(r, "the mediator hung up: %s", strerror(-r));
	n = receive(link, cookie, ret, fds, n_fds);
	if (n == -EAGAIN)
		return client_fail(-ETIMEDOUT, "the mediator did not answer within %d s", OPEN_TIMEOUT_S);
	if (n <= 0)
		return client_fail(n ? n : -ECONNRESET, "the mediator hung up");
	if ((size_t)n < sizeof(ret->header) || ret->header.magic != LINK_MAGIC ||
	    ret->header.length != (uint32_t)n)
		r = client_fail(-EPROTO, "the mediator's answer is malformed");
	else if (ret->header.type == LINK_ERROR && (size_t)n == sizeof(ret->error)) {
		client_refused(ret->error.code);
		r = client_fail(-ECONNREFUSED, "%.*s", LINK_TEXT_BYTES - 1, ret->error.text);
	} else if (ret->header.type != want || (size_t)n != want_bytes)
		r = client_fail(-EPROTO, "the mediator answered with message 0x%x", ret->header.type);
	if (r < 0) {
		close_all(fds, *n_fds);
		*n_fds = 0;
	}
	return r;
}

static int say_hello(struct vgpu_client *c)
{
	struct link_hello hello = { .header = { LINK_MAGIC, LINK_HELLO, 0, sizeof(hello), 1 },
				    .version_min = LINK_VERSION,
				    .version_max = LINK_VERSION,
				    .features = link_library_features(client_library(c)) };
	int fds[SEQPACKET_MAX_FDS];
	union link_packet answer = { 0 };
	unsigned n_fds = 0;
	int r = request(c->link, &hello, sizeof(hello), LINK_HELLO_OK, sizeof(answer.hello_ok), &answer, fds,
			&n_fds);

	if (r < 0)
		return r;
	close_all(fds, n_fds);
	c->tenant = answer.hello_ok.tenant_id;
	return 0;
}

static int open_channel(struct vgpu_client *c)
{
	struct link_channel_open open = { .header = { LINK_MAGIC, LINK_CHANNEL_OPEN, 0, sizeof(open), 2 } };
	int fds[SEQPACKET_MAX_FDS];
	union link_packet answer = { 0 };
	unsigned n_fds = 0;
	int r = request(c->link, &open, sizeof(open), LINK_CHANNEL_OK, sizeof(answer.channel_ok), &answer,
			fds, &n_fds);

	if (r < 0)
		return r;
	if (n_fds != 3 || !client_geometry_is_sane(&answer.channel_ok.geometry)) {
		close_all(fds, n_fds);
		return client_fail(-EPROTO, "the mediator's channel is malformed");
	}
	c->geometry = answer.channel_ok.geometry;
	c->window_fd = fds[1];
	c->doorbell = fds[2];
	r = client_take_channel(
	    c, mmap(NULL, c->geometry.channel_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0));
	close(fds[0]);
	return r;
}

// The window's memory at its address, inside the reservation of the whole window, so that nothing of the
// program lands where the host side's addresses mean something else.
static int map_window(struct vgpu_client *c)
{
	int r = client_reserve_windows(c);

	if (r < 0)
		return r;
	if (mmap(c->window, c->geometry.host_window_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 c->window_fd, 0) == MAP_FAILED)
		return client_fail(-errno, "cannot map the host window: %s", strerror(errno));
	return 0;
}

static int greet(struct vgpu_client *c, const char *path)
{
	struct timeval limit = { .tv_sec = OPEN_TIMEOUT_S };

	c->link = seqpacket_connect_within(path, OPEN_TIMEOUT_S * NSEC_PER_SEC);
	if (c->link < 0)
		return client_fail(c->link, "no mediator answers at %s: %s", path, strerror(-c->link));
	setsockopt(c->link, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return say_hello(c);
}

static int link_open(struct vgpu_client *c, const char *path)
{
	int r = greet(c, client_socket(path));

	// A mediator that is killed just then takes a connection with it that the next one knows nothing of.
	for (unsigned i = 1; i < LINK_GREETINGS && (r == -ECONNRESET || r == -EPIPE) && c->link >= 0; i++) {
		close_fd(&c->link);
		r = greet(c, client_socket(path));
	}
	if (!r)
		r = open_channel(c);
	return r ? r : map_window(c);
}

static void link_close(struct vgpu_client *c)
{
	close_fd(&c->link);
	close_fd(&c->window_fd);
	close_fd(&c->doorbell);
	link_memory_done(c);
}

static void link_check(struct vgpu_client *c)
{
	int fds[SEQPACKET_MAX_FDS];
	union link_packet packet;
	unsigned n_fds;
	int n;

	if (vgpu_client_lost(c))
		return;
	n = seqpacket_recv(c->link, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);
	if (n == -EAGAIN || n == -EWOULDBLOCK)
		return;
	close_all(fds, n_fds);
	if (n == (int)sizeof(packet.lost) && packet.header.type == LINK_CHANNEL_LOST)
		client_set_lost(c, client_result_of_loss(packet.lost.code));
	else if (n <= 0)
		client_set_lost(c, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void link_ring(struct vgpu_client *c)
{
	static const uint64_t one = 1;

	if (write(c->doorbell, &one, sizeof(one)) < 0 && errno != EAGAIN)
		link_check(c);
}

static void link_sleep(struct vgpu_client *c, uint32_t seen)
{
	struct timespec slice = { .tv_nsec = (long)CLIENT_SLICE_NS };

	if (syscall(SYS_futex, &c->header->wake_word, FUTEX_WAIT, seen, &slice, NULL, 0) < 0 &&
	    errno == ETIMEDOUT)
		link_check(c);
}

static void link_wake(struct vgpu_client *c)
{
	syscall(SYS_futex, &c->header->wake_word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

const struct transport transport_link = {
	.open = link_open,
	.close = link_close,
	.forget = link_memory_forget,
	.ring = link_ring,
	.sleep = link_sleep,
	.wake = link_wake,
	.check = link_check,
	.back = link_memory_back,
	.unback = link_memory_unback,
	.adopt = link_memory_adopt,
	.release = link_memory_release,
};
