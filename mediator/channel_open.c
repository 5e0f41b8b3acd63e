// SPDX-License-Identifier: Apache-2.0
// How a channel begins: its memory, seat and executor, in process mode, for a virtual machine, or as another
// mediator left it. See channel.h; the rest of its life is channel.c's. Runs in the mediator's loop.
#include "mediator/channel_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/adopt/keep.h"
#include "mediator/complain.h"
#include "mediator/memory.h"
#include "mediator/session/check.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

static int send_assign(struct channel *c)
{
	struct link_assign m = {
		.header = { LINK_MAGIC, LINK_ASSIGN, 6, sizeof(m), 0 },
		.channel_id = c->id,
		.tenant_id = c->tenant->id,
		.device = (uint32_t)c->mediator->settings->gpu_device,
		.geometry = c->geometry,
		.spin_ns = c->mediator->settings->executor_spin,
	};
	int fds[6] = { c->channel_fd,	c->window_fd,	 c->doorbell_fd,
		       c->seat.page_fd, c->seat.kick_fd, c->tenant->page_fd };
	int r = c->vm.is ? channel_vm_assign(c)
			 : seqpacket_send(c->process.link_fd, &m, sizeof(m), fds, 6, MSG_DONTWAIT);

	// It may be dead already; its exit says why, and that is reported like any other.
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

static int watch(struct channel *c)
{
	sd_event *event = c->mediator->event;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "executor %d of channel %" PRIu64, (int)c->process.pid, c->id);
	// Not as a child: another mediator may have started it.
	r = sd_event_add_io(event, &c->exit_source, c->process.pidfd, EPOLLIN, channel_on_exit, c);
	if (r < 0)
		return r;
	r = output_init(&c->output, event, take_fd(&c->process.output_fd), name,
			(unsigned)c->mediator->settings->log_output_lines);
	if (r < 0)
		return r;
	c->output.channel = c;
	if (c->process.link_fd >= 0)
		r = sd_event_add_io(event, &c->link_source, c->process.link_fd, EPOLLIN, channel_on_link, c);
	if (r < 0)
		return r;
	return channel_set_timer(c, c->ahead ? c->mediator->settings->executor_warm_answer
					     : c->mediator->settings->executor_start);
}

static int start_executor(struct channel *c)
{
	c->ahead = warm_pool_take(&c->mediator->warm, &c->process);
	return c->ahead ? 0 : executor_spawn(c->mediator, false, &c->process);
}

// Without a watch nobody would notice its end: it is ended and collected here.
static void collect(struct channel *c)
{
	syscall(SYS_pidfd_send_signal, c->process.pidfd, SIGKILL, NULL, 0);
	c->exit_source = sd_event_source_disable_unref(c->exit_source);
	while (waitpid(c->process.pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int watch_and_assign(struct channel *c)
{
	int r = watch(c);

	if (r >= 0)
		r = send_assign(c);
	if (r < 0)
		collect(c);
	return r;
}

void channel_start_again(struct channel *c)
{
	int r;

	channel_release_process(c);
	warm_pool_bad(&c->mediator->warm);
	c->ahead = false;
	c->state = CHANNEL_STARTING;
	r = executor_spawn(c->mediator, false, &c->process);
	if (r == 0)
		r = watch_and_assign(c);
	if (r >= 0) {
		keep_channel_again(c);
		return;
	}
	channel_set_reason(c, LINK_E_INTERNAL, strerror(-r));
	c->state = CHANNEL_GONE;
	channel_tell_end(c);
	mediator_reap(c->mediator);
}

static int prepare(struct channel *c)
{
	int r;

	memory_geometry(c->mediator->settings->gpu_window_offset, &c->geometry);
	if (c->vm.is)
		c->geometry.arena_bytes = c->vm.arena_bytes;
	r = c->vm.is ? 0 : memory_make_channel(&c->geometry, &c->channel_fd, &c->window_fd);
	if (r < 0)
		return r;
	c->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->doorbell_fd < 0)
		return -errno;
	r = turn_seat_init(&c->seat, &c->tenant->account, c->doorbell_fd, &channel_seat_ops);
	if (r == 0)
		r = turn_books_take_place(&c->seat, c->id);
	if (r < 0)
		return r;
	park_channel_began(c);
	return start_executor(c);
}

static int refuse(struct channel *c, int r, char *error)
{
	bool limit = r == -EMFILE || r == -ENFILE || r == -ENOSPC || r == -ENOMEM || r == -EAGAIN;

	snprintf(error, LINK_TEXT_BYTES, "the mediator could not start a channel: %s%s", strerror(-r),
		 r == -EMFILE ? " (RLIMIT_NOFILE)" : "");
	complain("tenant %" PRIu32 ": %s", c->tenant->id, error);
	channel_free(c);
	return limit ? LINK_E_LIMIT : LINK_E_INTERNAL;
}

struct channel *channel_adopt(struct mediator *m, struct tenant *t, struct session *s, uint64_t id)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->mediator = m;
	c->tenant = t;
	c->session = s;
	c->id = id;
	c->channel_fd = c->window_fd = c->doorbell_fd = -1;
	c->process.link_fd = c->process.pidfd = c->process.output_fd = -1;
	LIST_INSERT_HEAD(&m->channels, c, link);
	if (s)
		session_add_channel(s, c);
	t->n_channels++;
	inventory_tenant_changed(t);
	history_wake(m);
	return c;
}

// 0 with *ret, or as channel_open.
static int make(struct session *s, uint32_t cookie, struct channel_vm *vm, char *error, struct channel **ret)
{
	struct mediator *m = session_mediator(s);
	struct tenant *t = session_tenant(s);
	struct channel *c;
	int code = drain_admit(m, error);

	if (!code)
		code = watch_admit(t, error);
	if (!code)
		code = use_admit(t, session_library(s), error);
	if (code)
		return code;
	if (t->n_channels >= tenant_most_channels(t)) {
		snprintf(error, LINK_TEXT_BYTES, "tenant '%s' has %u channels already (limits.channels)",
			 t->name, t->n_channels);
		return LINK_E_LIMIT;
	}
	c = channel_adopt(m, t, s, ++m->next_channel_id);
	if (!c) {
		snprintf(error, LINK_TEXT_BYTES, "the mediator is out of memory");
		return LINK_E_INTERNAL;
	}
	if (vm) {
		c->vm = *vm;
		vm->n_fds = 0;
	}
	c->cookie = cookie;
	c->library = session_library(s);
	c->fresh = true;
	c->opened_us = clock_wall_us();
	if (!t->used) {
		t->used = true;
		keep_tenant(t);
	}
	keep_daemon(m);
	*ret = c;
	return 0;
}

int channel_open(struct session *s, uint32_t cookie, struct channel_vm *vm, char *error)
{
	struct channel *c;
	int r = make(s, cookie, vm, error, &c);

	if (r) {
		if (vm)
			channel_vm_done(vm);
		return r;
	}
	r = prepare(c);
	if (r < 0)
		return refuse(c, r, error);
	r = watch_and_assign(c);
	if (r < 0)
		return refuse(c, r, error);
	watch_channel_began(c);
	use_channel_began(c);
	keep_channel(c);
	log_debug("channel %" PRIu64 " of tenant %" PRIu32 ": executor %d", c->id, c->tenant->id,
		  (int)c->process.pid);
	return 0;
}

int channel_resume(struct channel *c)
{
	int r;

	c->redo = true;
	r = watch(c);
	if (r < 0)
		return r;
	watch_channel_began(c);
	if (c->seat.page)
		park_channel_resumed(c);
	if (c->state == CHANNEL_SERVING)
		return sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	if (c->state == CHANNEL_STARTING)
		return 0;
	turn_seat_stop(&c->seat);
	channel_close_link(c);
	if (c->state == CHANNEL_KILLED) { // again: the last one may not have come to it
		c->state = CHANNEL_STOPPING;
		channel_kill(c);
	}
	return channel_set_timer(c, c->mediator->settings->executor_stop);
}
