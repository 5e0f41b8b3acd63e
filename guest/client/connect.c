// SPDX-License-Identifier: Apache-2.0
// The client's life: hello, channel, mappings; and what the link says later. Runs in the program's process.
// Process mode: the mediator's unix socket.
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/seqpacket.h"
#include "guest/client/client_internal.h"
#include "protocol/cuda/cuda_abi.h"

#define OPEN_TIMEOUT_S 60 // an executor on a busy GPU host may take seconds to start

static _Thread_local char open_error[LINK_TEXT_BYTES + 128];

const char *vgpu_client_open_error(void)
{
	return open_error;
}

static int __attribute__((format(printf, 2, 3))) fail(int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(open_error, sizeof(open_error), format, ap);
	va_end(ap);
	return code;
}

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

// One request and its answer of the wanted type and size. Fds go to the caller. -errno with open_error set.
static int request(int link, const void *msg, size_t bytes, uint16_t want, size_t want_bytes,
		   union link_packet *ret, int *fds, unsigned *n_fds)
{
	int n, r = seqpacket_send(link, msg, bytes, NULL, 0, 0);

	*n_fds = 0;
	if (r < 0)
		return fail(r, "the mediator hung up: %s", strerror(-r));
	n = seqpacket_recv(link, ret, sizeof(*ret), fds, n_fds, 0);
	if (n == -EAGAIN)
		return fail(-ETIMEDOUT, "the mediator did not answer within %d s", OPEN_TIMEOUT_S);
	if (n <= 0)
		return fail(n ? n : -ECONNRESET, "the mediator hung up");
	if ((size_t)n < sizeof(ret->header) || ret->header.magic != LINK_MAGIC ||
	    ret->header.length != (uint32_t)n)
		r = fail(-EPROTO, "the mediator's answer is malformed");
	else if (ret->header.type == LINK_ERROR && (size_t)n == sizeof(ret->error))
		r = fail(-ECONNREFUSED, "%.*s", LINK_TEXT_BYTES - 1, ret->error.text);
	else if (ret->header.type != want || (size_t)n != want_bytes)
		r = fail(-EPROTO, "the mediator answered with message 0x%x", ret->header.type);
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
				    .version_max = LINK_VERSION };
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

static int geometry_is_sane(const struct link_geometry *g)
{
	return g->ring_bytes && !(g->ring_bytes & (g->ring_bytes - 1)) &&
	       g->reply_slots == VGPU_REPLY_SLOTS &&
	       g->ring_offset + (uint64_t)g->ring_bytes <= g->channel_bytes &&
	       g->reply_offset + (uint64_t)g->reply_slots * VGPU_REPLY_SLOT_BYTES <= g->channel_bytes &&
	       g->fence_offset + (uint64_t)g->fence_slots * sizeof(uint64_t) <= g->channel_bytes &&
	       g->arena_bytes && g->arena_bytes <= g->host_window_bytes;
}

static bool reserve(void *at, uint64_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	void *got = mmap(at, bytes, PROT_NONE, flags, -1, 0);

	if (got != MAP_FAILED && got != at) // a kernel that does not know the flag
		munmap(got, bytes);
	return got == at;
}

// Maps the window of host memory at its address, inside a reservation of the whole window, so that nothing of
// the program lands where the host side's addresses mean something else.
static int map_windows(struct vgpu_client *c)
{
	const struct link_geometry *g = &c->geometry;
	void *at = (void *)(uintptr_t)g->host_window_base;

	if (!reserve(at, VGPU_WINDOW_BYTES))
		return fail(-EEXIST, "address window %p is taken in this process", at);
	c->host_reserved = true;
	c->window =
	    mmap(at, g->host_window_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, c->window_fd, 0);
	if (c->window == MAP_FAILED)
		return fail(-errno, "cannot map the host window: %s", strerror(errno));
	at = (void *)(uintptr_t)g->device_window_base;
	if (!reserve(at, g->device_window_bytes))
		return fail(-EEXIST, "address window %p is taken in this process", at);
	c->device_reserved = true;
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
	if (n_fds != 3 || !geometry_is_sane(&answer.channel_ok.geometry)) {
		close_all(fds, n_fds);
		return fail(-EPROTO, "the mediator's channel is malformed");
	}
	c->geometry = answer.channel_ok.geometry;
	c->window_fd = fds[1];
	c->doorbell = fds[2];
	c->channel = mmap(NULL, c->geometry.channel_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	close(fds[0]);
	if (c->channel == MAP_FAILED) {
		c->channel = NULL;
		return fail(-errno, "cannot map the channel: %s", strerror(errno));
	}
	c->header = (struct channel_header *)c->channel;
	c->ring = c->channel + c->geometry.ring_offset;
	c->fences = (_Atomic uint64_t *)(c->channel + c->geometry.fence_offset);
	if (c->header->magic != CHANNEL_MAGIC || c->header->version != CHANNEL_VERSION)
		return fail(-EPROTO, "the channel has version %u, this library %u", c->header->version,
			    CHANNEL_VERSION);
	return map_windows(c);
}

static int init_tables(struct vgpu_client *c)
{
	uint32_t n = c->geometry.fence_slots;

	pthread_mutex_init(&c->ring_lock, NULL);
	pthread_mutex_init(&c->fence_lock, NULL);
	for (unsigned i = 0; i < VGPU_REPLY_SLOTS / 64; i++)
		c->reply_free[i] = UINT64_MAX;
	c->fence_free = malloc(n * sizeof(*c->fence_free));
	if (!c->fence_free)
		return -ENOMEM;
	while (n)
		c->fence_free[c->fence_free_count++] = --n;
	arena_init(c);
	return window_init(c);
}

// A waiter that spins takes the processor from whoever would answer it when there are few.
static uint64_t choose_spin(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 3 ? 50 * NSEC_PER_USEC : 5 * NSEC_PER_USEC;
}

int vgpu_client_open(const char *path, struct vgpu_client **ret)
{
	struct timeval limit = { .tv_sec = OPEN_TIMEOUT_S };
	struct vgpu_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(-ENOMEM, "out of memory");
	c->link = c->window_fd = c->doorbell = -1;
	c->spin_ns = choose_spin();
	if (!path)
		path = secure_getenv(LINK_SOCKET_ENV);
	if (!path || !*path)
		path = LINK_SOCKET_DEFAULT;
	c->link = seqpacket_connect(path);
	if (c->link < 0) {
		r = fail(c->link, "no mediator answers at %s: %s", path, strerror(-c->link));
		vgpu_client_close(c);
		return r;
	}
	setsockopt(c->link, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	r = say_hello(c);
	if (!r)
		r = open_channel(c);
	if (!r)
		r = init_tables(c);
	if (r < 0) {
		vgpu_client_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

static void client_free(struct vgpu_client *c)
{
	close_fd(&c->link);
	close_fd(&c->window_fd);
	close_fd(&c->doorbell);
	free(c->fence_free);
	window_done(c);
	free(c);
}

void vgpu_client_close(struct vgpu_client *c)
{
	if (!c)
		return;
	if (c->channel)
		munmap(c->channel, c->geometry.channel_bytes);
	if (c->host_reserved)
		munmap((void *)(uintptr_t)c->geometry.host_window_base, VGPU_WINDOW_BYTES);
	if (c->device_reserved)
		munmap((void *)(uintptr_t)c->geometry.device_window_base, c->geometry.device_window_bytes);
	client_free(c);
}

void vgpu_client_forget(struct vgpu_client *c)
{
	window_forget(c);
	client_free(c);
}

// The CUresult that programs see for a lost channel; the reasons are the host link's.
static int result_of_loss(uint32_t code)
{
	switch (code) {
	case LINK_E_WATCHDOG: return CUDA_ERROR_LAUNCH_TIMEOUT;
	case LINK_E_BAD_RECORD: return CUDA_ERROR_LAUNCH_FAILED;
	default: return CUDA_ERROR_DEVICE_UNAVAILABLE;
	}
}

void client_check_link(struct vgpu_client *c)
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
		client_set_lost(c, result_of_loss(packet.lost.code));
	else if (n <= 0)
		client_set_lost(c, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

uint32_t vgpu_fence_get(struct vgpu_client *c)
{
	uint32_t slot = UINT32_MAX;

	pthread_mutex_lock(&c->fence_lock);
	if (c->fence_free_count)
		slot = c->fence_free[--c->fence_free_count];
	pthread_mutex_unlock(&c->fence_lock);
	if (slot != UINT32_MAX)
		atomic_store_explicit(&c->fences[slot], 0, memory_order_release);
	return slot;
}

void vgpu_fence_put(struct vgpu_client *c, uint32_t slot)
{
	pthread_mutex_lock(&c->fence_lock);
	c->fence_free[c->fence_free_count++] = slot;
	pthread_mutex_unlock(&c->fence_lock);
}

uint64_t vgpu_client_window_base(const struct vgpu_client *c)
{
	return c->geometry.host_window_base;
}

bool vgpu_client_in_window(const struct vgpu_client *c, uint64_t address)
{
	return address - c->geometry.host_window_base < VGPU_WINDOW_BYTES ||
	       address - c->geometry.device_window_base < c->geometry.device_window_bytes;
}

uint32_t vgpu_client_tenant(const struct vgpu_client *c)
{
	return c->tenant;
}
