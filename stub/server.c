// SPDX-License-Identifier: Apache-2.0
// The connection to a monitor; see the header. Whatever comes is decoded by vfio_user.c; what cannot be
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
#include "stub/irq.h"
#include "stub/vfio_user.h"

#define MESSAGES_A_ROUND 64
#define HOLD_LIMIT_NS	 (4 * NSEC_PER_SEC) // QEMU waits 5 s

static const char capabilities[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536}}";

void server_init(struct server *v, const struct server_device *device, void *opaque, struct irq *irq)
{
	memset(v, 0, sizeof(*v));
	v->device = device;
	v->opaque = opaque;
	v->irq = irq;
	v->listen_fd = v->fd = -1;
}

static void drop_fds(struct server *v)
{
	while (v->n_fds)
		close_fd(&v->fds[--v->n_fds]);
}

// ---- the end of a connection ----

static void detach(struct server *v, const char *why)
{
	log_info("%s: the monitor is gone%s%s", v->device->name, why ? ": " : "", why ? why : "");
	drop_fds(v);
	v->source = sd_event_source_disable_unref(v->source);
	v->hold_timer = sd_event_source_disable_unref(v->hold_timer);
	close_fd(&v->fd);
	v->greeted = v->reply_waits = false;
	v->held = 0;
	v->got = v->out_bytes = v->out_sent = 0;
	v->device->detach(v);
	server_go_on(v); // the next one, or the end, when nobody uses memory
}

// ---- replies ----

static void watch(struct server *v)
{
	uint32_t events = v->out_bytes && !v->reply_waits ? EPOLLOUT : v->reply_waits ? 0 : EPOLLIN;

	sd_event_source_set_io_events(v->source, events);
}

// False: the connection is gone.
static bool flush(struct server *v)
{
	while (v->out_sent < v->out_bytes) {
		ssize_t n = send(v->fd, v->out.bytes + v->out_sent, v->out_bytes - v->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			detach(v, strerror(errno));
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

static void hold(struct server *v, uint64_t channels)
{
	v->held = v->device->busy(v, channels);
	v->reply_waits = v->held;
	if (v->held)
		sd_event_add_time(v->event, &v->hold_timer, CLOCK_MONOTONIC,
				  (clock_now_ns() + HOLD_LIMIT_NS) / NSEC_PER_USEC, 1000, on_hold_limit, v);
}

// ---- messages ----

static void do_version(struct server *v, const struct vfio_user_request *r)
{
	struct vfio_user_version *m;

	if (v->greeted || r->u.version.major != 0) {
		reply_error(v, EINVAL);
		return;
	}
	m = begin_reply(v, sizeof(*m) + sizeof(capabilities));
	memcpy(m->text, capabilities, sizeof(capabilities));
	v->greeted = true;
	// Not all monitors reset the device when they begin.
	v->device->reset(v);
}

static void do_map(struct server *v, const struct vfio_user_request *r)
{
	int fd = v->n_fds ? take_fd(&v->fds[--v->n_fds]) : -1;
	uint64_t users = 0;
	int error = v->device->map(v, r, fd, &users);

	if (error) {
		reply_error(v, error);
		return;
	}
	begin_reply(v, 0);
	hold(v, users);
}

static void do_unmap(struct server *v, const struct vfio_user_request *r)
{
	uint64_t address = r->u.unmap.all ? 0 : r->u.unmap.address;
	uint64_t bytes = r->u.unmap.all ? UINT64_MAX : r->u.unmap.bytes;
	uint64_t users = 0;
	int error = v->device->unmap(v, address, bytes, &users);

	if (error) {
		reply_error(v, error);
		return;
	}
	memcpy(begin_reply(v, sizeof(struct vfio_user_dma_unmap)), v->in.bytes + sizeof(v->in.header),
	       sizeof(struct vfio_user_dma_unmap));
	hold(v, users);
}

static void do_region_info(struct server *v, const struct vfio_user_request *r)
{
	struct vfio_user_region_info *m = begin_reply(v, sizeof(*m));

	m->argsz = sizeof(*m);
	m->index = r->u.index;
	m->bytes = v->device->region_bytes(v, r->u.index);
	if (m->bytes) // not mappable: then writes are posted
		m->flags = VFIO_USER_REGION_READABLE | VFIO_USER_REGION_WRITABLE;
}

static void do_infos(struct server *v, const struct vfio_user_request *r)
{
	if (r->command == VFIO_USER_DEVICE_GET_INFO) {
		uint32_t asked = v->in.header.size - (uint32_t)sizeof(v->in.header);
		bool longer = asked >= VFIO_USER_DEVICE_INFO_MAX_BYTES;
		struct vfio_user_device_info *m =
		    begin_reply(v, longer ? VFIO_USER_DEVICE_INFO_MAX_BYTES : sizeof(*m));

		*m = (struct vfio_user_device_info){
			.argsz = longer ? VFIO_USER_DEVICE_INFO_MAX_BYTES : sizeof(*m),
			.flags = VFIO_USER_DEVICE_RESETS | VFIO_USER_DEVICE_PCI,
			.n_regions = VFIO_USER_REGIONS,
			.n_irqs = VFIO_USER_IRQS,
		};
	} else {
		struct vfio_user_irq_info *m = begin_reply(v, sizeof(*m));

		*m = (struct vfio_user_irq_info){
			.argsz = sizeof(*m),
			.flags = VFIO_USER_IRQ_EVENTFD,
			.index = r->u.index,
			.count = irq_count(r->u.index),
		};
	}
}

static void do_set_irqs(struct server *v, const struct vfio_user_request *r)
{
	int error = irq_set(v->irq, &r->u.irqs, v->fds, v->n_fds);

	if (error)
		reply_error(v, error);
	else
		begin_reply(v, 0);
}

static void do_access(struct server *v, const struct vfio_user_request *r)
{
	struct vfio_user_access *m;
	uint64_t end = r->u.access.offset + r->u.access.count;

	if (end > v->device->region_bytes(v, r->u.access.region)) {
		reply_error(v, EINVAL);
		return;
	}
	m = begin_reply(v, sizeof(*m) + (r->u.access.data ? 0 : r->u.access.count));
	m->offset = r->u.access.offset;
	m->region = r->u.access.region;
	m->count = r->u.access.count;
	if (r->u.access.data)
		v->device->write(v, m->region, m->offset, r->u.access.data, m->count);
	else
		v->device->read(v, m->region, m->offset, m->data, m->count);
}

static void do_request(struct server *v, const struct vfio_user_request *r)
{
	if (!v->greeted && r->command != VFIO_USER_VERSION) {
		reply_error(v, EINVAL);
		return;
	}
	switch (r->command) {
	case VFIO_USER_VERSION: do_version(v, r); break;
	case VFIO_USER_DMA_MAP: do_map(v, r); break;
	case VFIO_USER_DMA_UNMAP: do_unmap(v, r); break;
	case VFIO_USER_DEVICE_GET_REGION_INFO: do_region_info(v, r); break;
	case VFIO_USER_DEVICE_SET_IRQS: do_set_irqs(v, r); break;
	case VFIO_USER_REGION_READ:
	case VFIO_USER_REGION_WRITE: do_access(v, r); break;
	case VFIO_USER_DEVICE_RESET:
		v->device->reset(v);
		begin_reply(v, 0);
		hold(v, SERVER_ALL_USERS);
		break;
	default: do_infos(v, r); break;
	}
}

// The whole message is there. False: the connection is gone.
static bool handle(struct server *v)
{
	struct vfio_user_request r;
	int error = vfio_user_decode(&v->in.header, v->in.bytes + sizeof(v->in.header), v->n_fds, &r);

	if (error)
		reply_error(v, error);
	else
		do_request(v, &r);
	drop_fds(v);
	v->got = 0;
	if (v->fd < 0)
		return false;
	if (r.no_reply)
		v->out_bytes = 0;
	return v->reply_waits || flush(v);
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
	struct server *v = userdata;

	(void)source;
	(void)fd;
	if (v->reply_waits) { // only a hang-up comes through
		if (events & (EPOLLHUP | EPOLLERR))
			detach(v, NULL);
		return 0;
	}
	if (v->out_bytes && !flush(v))
		return 0;
	for (int i = 0; i < MESSAGES_A_ROUND && !v->out_bytes && !v->reply_waits; i++) {
		int r = receive(v);

		if (r < 0) {
			detach(v, r == -ECONNRESET ? NULL
				  : r == -EPROTO   ? "malformed message"
						   : strerror(-r));
			return 0;
		}
		if (!r)
			break;
		if (!handle(v))
			return 0;
	}
	watch(v);
	return 0;
}

// ---- monitors come ----

static int on_listen(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
	struct server *v = userdata;
	cleanup_fd int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	(void)source;
	(void)events;
	if (fd < 0)
		return 0;
	if (v->fd >= 0) {
		log_warning("%s: a second monitor came; the device is in use", v->device->name);
		return 0;
	}
	if (!v->device->accepts(v))
		return 0;
	r = sd_event_add_io(v->event, &v->source, fd, EPOLLIN, on_monitor, v);
	if (r < 0) {
		log_error("accepting a monitor: %s", strerror(-r));
		return 0;
	}
	// Before a newcomer is looked at, the end of the one that was there.
	sd_event_source_set_priority(v->source, SD_EVENT_PRIORITY_IMPORTANT);
	v->fd = take_fd(&fd);
	log_info("%s: a monitor came", v->device->name);
	if (v->device->attach)
		v->device->attach(v);
	return 0;
}

void server_go_on(struct server *v)
{
	if (v->fd < 0) {
		// Executors of the last VM may still be ending.
		bool busy = v->device->busy(v, SERVER_ALL_USERS);

		if (v->listen_source)
			sd_event_source_set_enabled(v->listen_source,
						    busy || v->deaf ? SD_EVENT_OFF : SD_EVENT_ON);
		if (!busy)
			v->device->idle(v);
		return;
	}
	if (!v->reply_waits || v->device->busy(v, v->held))
		return;
	v->reply_waits = false;
	v->held = 0;
	v->hold_timer = sd_event_source_disable_unref(v->hold_timer);
	if (flush(v))
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

int server_start(struct server *v, sd_event *event, const char *path)
{
	v->event = event;
	v->path = path;
	v->listen_fd = open_socket(path);
	return v->listen_fd < 0
		   ? v->listen_fd
		   : sd_event_add_io(event, &v->listen_source, v->listen_fd, EPOLLIN, on_listen, v);
}

void server_listen(struct server *v, bool on)
{
	v->deaf = !on;
	server_go_on(v);
}

void server_done(struct server *v)
{
	if (v->fd >= 0)
		detach(v, "this process ends");
	v->listen_source = sd_event_source_disable_unref(v->listen_source);
	if (v->listen_fd >= 0)
		unlink(v->path);
	close_fd(&v->listen_fd);
}
