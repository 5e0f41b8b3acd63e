// SPDX-License-Identifier: Apache-2.0
// The connection to the monitor; see the header. Whatever comes is decoded by vfio_user.c; what cannot be
// decoded gets an error, what cannot be followed any further ends the connection, and with it whatever the VM
// had.
#include "stub/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "stub/device.h"
#include "stub/host.h"
#include "stub/vfio_user.h"

#define MESSAGES_A_ROUND 64
#define HOLD_LIMIT_NS	 (4 * NSEC_PER_SEC) // QEMU waits 5 s

static const char capabilities[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536}}";

void server_init(struct server *v)
{
	memset(v, 0, sizeof(*v));
	v->listen_fd = v->fd = -1;
}

static void drop_fds(struct server *v)
{
	while (v->n_fds)
		close_fd(&v->fds[--v->n_fds]);
}

// ---- the end of a connection ----

static void detach(struct stub *s, const char *why)
{
	struct server *v = &s->server;

	log_info("the monitor is gone%s%s", why ? ": " : "", why ? why : "");
	drop_fds(v);
	v->source = sd_event_source_disable_unref(v->source);
	v->hold_timer = sd_event_source_disable_unref(v->hold_timer);
	close_fd(&v->fd);
	v->greeted = v->warned = v->reply_waits = false;
	v->held = 0;
	v->got = v->out_bytes = v->out_sent = 0;
	host_disconnect(s);
	device_detach(s);
	server_go_on(s); // the next one, or the end, when all executors are gone
}

// ---- replies ----

static void watch(struct server *v)
{
	uint32_t events = v->out_bytes && !v->reply_waits ? EPOLLOUT : v->reply_waits ? 0 : EPOLLIN;

	sd_event_source_set_io_events(v->source, events);
}

// False: the connection is gone.
static bool flush(struct stub *s)
{
	struct server *v = &s->server;

	while (v->out_sent < v->out_bytes) {
		ssize_t n = send(v->fd, v->out.bytes + v->out_sent, v->out_bytes - v->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			detach(s, strerror(errno));
			return false;
		}
		v->out_sent += (size_t)n;
	}
	v->out_bytes = v->out_sent = 0;
	return true;
}

// Room behind the header of the reply to what is in.
static void *begin_reply(struct server *v, size_t bytes)
{
	v->out.header = (struct vfio_user_header){
		.id = v->in.header.id,
		.command = v->in.header.command,
		.size = (uint32_t)(sizeof(v->out.header) + bytes),
		.flags = VFIO_USER_REPLY,
	};
	v->out_bytes = v->out.header.size;
	memset(v->out.bytes + sizeof(v->out.header), 0, bytes);
	return v->out.bytes + sizeof(v->out.header);
}

static void reply_error(struct server *v, int error)
{
	log_debug("message %u of the monitor refused: %s", v->in.header.command, strerror(error));
	begin_reply(v, 0);
	v->out.header.flags |= VFIO_USER_ERROR;
	v->out.header.error = (uint32_t)error;
}

// ---- holding ----

static int on_hold_limit(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	// A reply would say that nobody uses memory that somebody may still use: the guest loses the device
	// instead.
	log_error("executors do not end: the monitor will give the device up");
	return 0;
}

static void hold(struct stub *s, uint64_t channels)
{
	struct server *v = &s->server;

	v->held = device_busy(s, channels);
	v->reply_waits = v->held;
	if (v->held)
		sd_event_add_time(s->event, &v->hold_timer, CLOCK_MONOTONIC,
				  (clock_now_ns() + HOLD_LIMIT_NS) / NSEC_PER_USEC, 1000, on_hold_limit, s);
}

// ---- messages ----

static void do_version(struct stub *s, const struct vfio_user_request *r)
{
	struct server *v = &s->server;
	struct vfio_user_version *m;

	if (v->greeted || r->u.version.major != 0) {
		reply_error(v, EINVAL);
		return;
	}
	m = begin_reply(v, sizeof(*m) + sizeof(capabilities));
	memcpy(m->text, capabilities, sizeof(capabilities));
	v->greeted = true;
	// Not all monitors reset the device when they begin.
	device_reset(s);
}

// Whoever has memory in the range loses it; the reply to what is in waits for that. 0, or an errno: nothing
// changed.
static int lose_memory(struct stub *s, uint64_t address, uint64_t bytes, uint64_t *ret_users)
{
	*ret_users = device_lose_memory(s, address, bytes);
	return -dma_remove(&s->dma, address, bytes);
}

// Maps are not refused: a monitor can do nothing about that, and QEMU says one line of it to nobody. What
// comes over a map that is there replaces it. What there is no room for is memory that is not shared: guests
// that name it are told so.
static void do_map(struct stub *s, const struct vfio_user_request *r)
{
	struct server *v = &s->server;
	uint64_t address = r->u.map.address, bytes = r->u.map.bytes, users = 0;
	int error = dma_overlaps(&s->dma, address, bytes) ? lose_memory(s, address, bytes, &users) : 0;
	int fd = v->n_fds ? take_fd(&v->fds[--v->n_fds]) : -1;

	if (error) {
		close_fd(&fd);
		reply_error(v, error);
		return;
	}
	error = dma_add(&s->dma, address, bytes, fd, r->u.map.offset, r->u.map.writable);
	if (error < 0)
		log_error("memory at 0x%llx will not be shared with programs of the VM: %s",
			  (unsigned long long)address, strerror(-error));
	begin_reply(v, 0);
	hold(s, users);
}

static void do_unmap(struct stub *s, const struct vfio_user_request *r)
{
	struct server *v = &s->server;
	uint64_t address = r->u.unmap.all ? 0 : r->u.unmap.address;
	uint64_t bytes = r->u.unmap.all ? UINT64_MAX : r->u.unmap.bytes;
	uint64_t users;
	int error = lose_memory(s, address, bytes, &users);

	if (error) {
		reply_error(v, error);
		return;
	}
	memcpy(begin_reply(v, sizeof(struct vfio_user_dma_unmap)), v->in.bytes + sizeof(v->in.header),
	       sizeof(struct vfio_user_dma_unmap));
	hold(s, users);
}

static void do_region_info(struct stub *s, const struct vfio_user_request *r)
{
	struct vfio_user_region_info *m = begin_reply(&s->server, sizeof(*m));

	m->argsz = sizeof(*m);
	m->index = r->u.index;
	if (r->u.index == VFIO_USER_REGION_BAR0)
		m->bytes = s->personality->bar0_bytes;
	if (r->u.index == VFIO_USER_REGION_CONFIG)
		m->bytes = CONFIG_SPACE_BYTES;
	if (m->bytes) // not mappable: then writes are posted
		m->flags = VFIO_USER_REGION_READABLE | VFIO_USER_REGION_WRITABLE;
}

static void do_infos(struct stub *s, const struct vfio_user_request *r)
{
	if (r->command == VFIO_USER_DEVICE_GET_INFO) {
		uint32_t asked = s->server.in.header.size - (uint32_t)sizeof(s->server.in.header);
		bool longer = asked >= VFIO_USER_DEVICE_INFO_MAX_BYTES;
		struct vfio_user_device_info *m =
		    begin_reply(&s->server, longer ? VFIO_USER_DEVICE_INFO_MAX_BYTES : sizeof(*m));

		*m = (struct vfio_user_device_info){
			.argsz = longer ? VFIO_USER_DEVICE_INFO_MAX_BYTES : sizeof(*m),
			.flags = VFIO_USER_DEVICE_RESETS | VFIO_USER_DEVICE_PCI,
			.n_regions = VFIO_USER_REGIONS,
			.n_irqs = VFIO_USER_IRQS,
		};
	} else {
		struct vfio_user_irq_info *m = begin_reply(&s->server, sizeof(*m));

		*m = (struct vfio_user_irq_info){
			.argsz = sizeof(*m),
			.flags = VFIO_USER_IRQ_EVENTFD,
			.index = r->u.index,
			.count = irq_count(r->u.index),
		};
	}
}

static void do_set_irqs(struct stub *s, const struct vfio_user_request *r)
{
	struct server *v = &s->server;
	int error = irq_set(&s->irq, &r->u.irqs, v->fds, v->n_fds);

	if (error)
		reply_error(v, error);
	else
		begin_reply(v, 0);
}

static uint64_t region_bytes(const struct stub *s, uint32_t region)
{
	return region == VFIO_USER_REGION_BAR0	   ? s->personality->bar0_bytes
	       : region == VFIO_USER_REGION_CONFIG ? CONFIG_SPACE_BYTES
						   : 0;
}

static void warn_not_shared(struct stub *s)
{
	struct server *v = &s->server;

	if (v->warned || s->dma.n_shared)
		return;
	v->warned = true;
	log_error(
	    "the VM's memory is not shared with this process (share=on of its memory backend, or ordinary "
	    "pages, are missing): its programs cannot use the GPU");
}

static void do_access(struct stub *s, const struct vfio_user_request *r)
{
	struct vfio_user_access *m;
	uint64_t end = r->u.access.offset + r->u.access.count;

	if (end > region_bytes(s, r->u.access.region)) {
		reply_error(&s->server, EINVAL);
		return;
	}
	m = begin_reply(&s->server, sizeof(*m) + (r->u.access.data ? 0 : r->u.access.count));
	m->offset = r->u.access.offset;
	m->region = r->u.access.region;
	m->count = r->u.access.count;
	if (r->u.access.region == VFIO_USER_REGION_BAR0)
		warn_not_shared(s);
	if (r->u.access.data)
		device_write(s, m->region, m->offset, r->u.access.data, m->count);
	else
		device_read(s, m->region, m->offset, m->data, m->count);
}

static void do_request(struct stub *s, const struct vfio_user_request *r)
{
	if (!s->server.greeted && r->command != VFIO_USER_VERSION) {
		reply_error(&s->server, EINVAL);
		return;
	}
	switch (r->command) {
	case VFIO_USER_VERSION: do_version(s, r); break;
	case VFIO_USER_DMA_MAP: do_map(s, r); break;
	case VFIO_USER_DMA_UNMAP: do_unmap(s, r); break;
	case VFIO_USER_DEVICE_GET_REGION_INFO: do_region_info(s, r); break;
	case VFIO_USER_DEVICE_SET_IRQS: do_set_irqs(s, r); break;
	case VFIO_USER_REGION_READ:
	case VFIO_USER_REGION_WRITE: do_access(s, r); break;
	case VFIO_USER_DEVICE_RESET:
		device_reset(s);
		begin_reply(&s->server, 0);
		hold(s, ALL_CHANNELS);
		break;
	default: do_infos(s, r); break;
	}
}

// The whole message is there. False: the connection is gone.
static bool handle(struct stub *s)
{
	struct server *v = &s->server;
	struct vfio_user_request r;
	int error = vfio_user_decode(&v->in.header, v->in.bytes + sizeof(v->in.header), v->n_fds, &r);

	if (error)
		reply_error(v, error);
	else
		do_request(s, &r);
	drop_fds(v);
	v->got = 0;
	if (v->fd < 0)
		return false;
	if (r.no_reply)
		v->out_bytes = 0;
	return v->reply_waits || flush(s);
}

// ---- bytes in ----

static void take_fds(struct server *v, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (v->n_fds < VFIO_USER_MAX_FDS)
				v->fds[v->n_fds++] = fd;
			else
				close_fd(&fd);
		}
	}
}

// As much of the message as there is: the header alone first, since fds come with it, then exactly the rest.
// 1: it is complete, 0: not yet, -errno: the connection is over (-ECONNRESET: closed).
static int receive(struct server *v)
{
	for (;;) {
		size_t want = v->got < sizeof(v->in.header) ? sizeof(v->in.header) : v->in.header.size;
		union {
			char space[CMSG_SPACE(VFIO_USER_MAX_FDS * sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = { .iov_base = v->in.bytes + v->got, .iov_len = want - v->got };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control.space,
				      .msg_controllen = sizeof(control.space) };
		ssize_t n;

		if (v->got >= sizeof(v->in.header) && v->got == want)
			return 1;
		n = recvmsg(v->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		take_fds(v, &msg);
		if (!n)
			return -ECONNRESET;
		v->got += (size_t)n;
		if (v->got == sizeof(v->in.header) && vfio_user_check_header(&v->in.header) < 0)
			return -EPROTO;
	}
}

static int on_monitor(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct stub *s = userdata;
	struct server *v = &s->server;

	(void)source;
	(void)fd;
	if (v->reply_waits) { // only a hang-up comes through
		if (events & (EPOLLHUP | EPOLLERR))
			detach(s, NULL);
		return 0;
	}
	if (v->out_bytes && !flush(s))
		return 0;
	for (int i = 0; i < MESSAGES_A_ROUND && !v->out_bytes && !v->reply_waits; i++) {
		int r = receive(v);

		if (r < 0) {
			detach(s, r == -ECONNRESET ? NULL
				  : r == -EPROTO   ? "malformed message"
						   : strerror(-r));
			return 0;
		}
		if (!r)
			break;
		if (!handle(s))
			return 0;
	}
	watch(v);
	return 0;
}

// ---- monitors come ----

static int on_listen(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
	struct stub *s = userdata;
	struct server *v = &s->server;
	cleanup_fd int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	(void)source;
	(void)events;
	if (fd < 0)
		return 0;
	if (v->fd >= 0) {
		log_warning("a second monitor came; the device is in use");
		return 0;
	}
	r = sd_event_add_io(s->event, &v->source, fd, EPOLLIN, on_monitor, s);
	if (r < 0) {
		log_error("accepting a monitor: %s", strerror(-r));
		return 0;
	}
	// Before a newcomer is looked at, the end of the one that was there.
	sd_event_source_set_priority(v->source, SD_EVENT_PRIORITY_IMPORTANT);
	v->fd = take_fd(&fd);
	log_info("a monitor came");
	host_connect(s);
	return 0;
}

void server_go_on(struct stub *s)
{
	struct server *v = &s->server;

	if (v->fd < 0) {
		// Executors of the last VM may still be ending.
		bool busy = device_busy(s, ALL_CHANNELS);

		if (v->listen_source)
			sd_event_source_set_enabled(v->listen_source, busy ? SD_EVENT_OFF : SD_EVENT_ON);
		if (!busy && (s->stopping || s->once))
			sd_event_exit(s->event, 0);
		return;
	}
	if (!v->reply_waits || device_busy(s, v->held))
		return;
	v->reply_waits = false;
	v->held = 0;
	v->hold_timer = sd_event_source_disable_unref(v->hold_timer);
	if (flush(s))
		watch(v);
}

static int open_socket(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t n = strlen(path);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!n || n >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, n);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 || errno == EAGAIN)
			return -EADDRINUSE;
		if (unlink(path) < 0)
			return -errno;
		close_fd(&fd);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return -errno;
	}
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 16) < 0)
		return -errno;
	return take_fd(&fd);
}

int server_start(struct stub *s)
{
	s->server.listen_fd = open_socket(s->socket_path);
	if (s->server.listen_fd < 0)
		return s->server.listen_fd;
	return sd_event_add_io(s->event, &s->server.listen_source, s->server.listen_fd, EPOLLIN, on_listen,
			       s);
}

void server_done(struct stub *s)
{
	struct server *v = &s->server;

	if (v->fd >= 0)
		detach(s, "this process ends");
	v->listen_source = sd_event_source_disable_unref(v->listen_source);
	if (v->listen_fd >= 0)
		unlink(s->socket_path);
	close_fd(&v->listen_fd);
}
