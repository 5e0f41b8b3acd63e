// SPDX-License-Identifier: Apache-2.0
// Life and death of channels and their executors; see the header for the states. Runs in the mediator's loop;
// what an executor sends is checked like a client's packet, since a tenant may have taken it over.
#include "mediator/channel.h"

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
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/complain.h"
#include "mediator/memory.h"
#include "mediator/session/check.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

// An executor says at most three things in its life; one that talks more is killed.
#define MAX_EXECUTOR_PACKETS 8

// ---- telling the client ----

static void tell_lost(struct channel *c)
{
	struct link_channel_lost m = {
		.header = { .magic = LINK_MAGIC, .type = LINK_CHANNEL_LOST, .length = sizeof(m) },
		.code = c->reason,
		.channel_id = c->id,
	};

	memcpy(m.text, c->text, sizeof(m.text));
	session_send(c->session, &m, sizeof(m), NULL, 0);
}

static void tell_end(struct channel *c)
{
	if (!c->session || c->lost_said)
		return;
	c->lost_said = true;
	if (c->answered) {
		tell_lost(c);
		return;
	}
	c->answered = true;
	session_send_error(c->session, c->cookie,
			   c->reason == LINK_E_SHUTDOWN ? LINK_E_SHUTDOWN : LINK_E_BACKEND, c->text);
}

static void set_reason(struct channel *c, uint32_t code, const char *text)
{
	if (c->reason)
		return;
	c->reason = code;
	log_sanitize(c->text, sizeof(c->text), text, strlen(text));
}

static void answer_ok(struct channel *c)
{
	struct link_channel_ok m = {
		.header = { LINK_MAGIC, LINK_CHANNEL_OK, 3, sizeof(m), c->cookie },
		.channel_id = c->id,
		.geometry = c->geometry,
	};
	int fds[3] = { c->channel_fd, c->window_fd, c->doorbell_fd };

	c->answered = true;
	if (c->session)
		session_send(c->session, &m, sizeof(m), fds, 3);
	close_fd(&c->channel_fd);
	close_fd(&c->window_fd);
}

// ---- timers ----

static int on_time_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct channel *c = userdata;

	(void)source;
	(void)usec;
	if (c->state == CHANNEL_STARTING) {
		output_drain(&c->output);
		channel_stop(c, LINK_E_BACKEND, "the executor was not ready in executor.start");
	} else if (c->state == CHANNEL_STOPPING) {
		log_debug("channel %" PRIu64 ": executor did not end by itself, killing it", c->id);
		channel_kill(c);
	}
	return 0;
}

static int set_timer(struct channel *c, uint64_t ns)
{
	uint64_t at = (clock_now_ns() + ns) / NSEC_PER_USEC;

	if (!c->timer)
		return sd_event_add_time(c->mediator->event, &c->timer, CLOCK_MONOTONIC, at,
					 NSEC_PER_MSEC / NSEC_PER_USEC, on_time_over, c);
	sd_event_source_set_time(c->timer, at);
	return sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

// ---- the end ----

void channel_kill(struct channel *c)
{
	if (c->state == CHANNEL_KILLED || c->state == CHANNEL_GONE)
		return;
	c->state = CHANNEL_KILLED;
	syscall(SYS_pidfd_send_signal, c->process.pidfd, SIGKILL, NULL, 0);
}

void channel_stop(struct channel *c, uint32_t code, const char *text)
{
	if (c->state != CHANNEL_STARTING && c->state != CHANNEL_SERVING)
		return;
	set_reason(c, code, text);
	tell_end(c);
	c->state = CHANNEL_STOPPING;
	turn_seat_stop(&c->seat);
	c->link_source = sd_event_source_disable_unref(c->link_source);
	close_fd(&c->process.link_fd);
	if (set_timer(c, c->mediator->settings->executor_stop) < 0)
		channel_kill(c);
}

void channel_abandon(struct channel *c)
{
	LIST_REMOVE(c, session_link);
	c->session = NULL;
	channel_stop(c, LINK_E_SHUTDOWN, "the client is gone");
}

static struct channel *channel_of(struct turn_seat *seat)
{
	return (struct channel *)((char *)seat - offsetof(struct channel, seat));
}

static void wake(struct turn_seat *seat)
{
	struct link_header m = { LINK_MAGIC, LINK_WAKE, 0, sizeof(m), 0 };
	int fd = channel_of(seat)->process.link_fd;

	if (fd >= 0)
		seqpacket_send(fd, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
}

static void hung(struct turn_seat *seat)
{
	struct channel *c = channel_of(seat);

	complain("channel %" PRIu64 " of tenant %" PRIu32
		 ": executor does not give its turn back, killing it",
		 c->id, c->tenant->id);
	set_reason(c, LINK_E_WATCHDOG, "GPU work took longer than turn.watchdog beyond its turn");
	channel_kill(c);
}

static const struct turn_seat_ops seat_ops = { .hung = hung, .wake = wake };

static void explain_exit(struct channel *c, const siginfo_t *si)
{
	char words[LINK_TEXT_BYTES - 60], text[LINK_TEXT_BYTES + 80];
	const char *name;

	output_last_words(&c->output, words, sizeof(words));
	if (si->si_code == CLD_EXITED) {
		snprintf(text, sizeof(text), "executor exited with status %d%s%s", si->si_status,
			 words[0] ? ": " : "", words);
	} else {
		name = sigabbrev_np(si->si_status);
		snprintf(text, sizeof(text), "executor was killed by SIG%s%s%s", name ? name : "?",
			 words[0] ? ": " : "", words);
	}
	if (!c->reason)
		complain("channel %" PRIu64 " of tenant %" PRIu32 ": %s", c->id, c->tenant->id, text);
	set_reason(c, LINK_E_EXECUTOR_DIED, text);
}

static void read_link(struct channel *c);

static int on_exit_of_executor(sd_event_source *source, const siginfo_t *si, void *userdata)
{
	struct channel *c = userdata;

	(void)source;
	output_drain(&c->output);
	if (c->process.link_fd >= 0)
		read_link(c); // its own last message explains more than its exit status
	explain_exit(c, si);
	tell_end(c);
	log_debug("channel %" PRIu64 ": executor %d is gone: %s", c->id, (int)c->process.pid, c->text);
	c->state = CHANNEL_GONE;
	mediator_reap(c->mediator);
	return 0;
}

void channel_free(struct channel *c)
{
	struct mediator *m = c->mediator;
	uint64_t memory = turn_seat_memory(&c->seat);

	turn_seat_done(&c->seat);
	c->tenant->n_channels--;
	tenant_uncharge(c->tenant, memory);
	if (c->session)
		LIST_REMOVE(c, session_link);
	LIST_REMOVE(c, link);
	output_done(&c->output);
	sd_event_source_disable_unref(c->link_source);
	sd_event_source_disable_unref(c->exit_source);
	sd_event_source_disable_unref(c->timer);
	close_fd(&c->process.link_fd);
	close_fd(&c->process.pidfd);
	close_fd(&c->process.output_fd);
	close_fd(&c->channel_fd);
	close_fd(&c->window_fd);
	close_fd(&c->doorbell_fd);
	free(c);
	mediator_reap(m);
}

// ---- what the executor says ----

static void executor_ready(struct channel *c, const struct link_ready *ready)
{
	struct mediator *m = c->mediator;

	log_sanitize(m->backend_name, sizeof(m->backend_name), ready->backend, sizeof(ready->backend));
	log_sanitize(m->device_name, sizeof(m->device_name), ready->device, sizeof(ready->device));
	c->state = CHANNEL_SERVING;
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	log_debug("channel %" PRIu64 ": ready, backend %s, device %s", c->id, m->backend_name,
		  m->device_name);
	answer_ok(c);
}

static void executor_ended(struct channel *c, const struct link_ended *ended)
{
	char text[LINK_TEXT_BYTES];

	log_sanitize(text, sizeof(text), ended->text, sizeof(ended->text));
	if (!text[0]) {
		output_drain(&c->output);
		output_last_words(&c->output, text, sizeof(text));
	}
	complain("channel %" PRIu64 " of tenant %" PRIu32 ": executor %s: %s", c->id, c->tenant->id,
		 ended->header.type == LINK_FAILED ? "could not start" : "ended it", text);
	channel_stop(c, ended->code, text);
}

static void handle_packet(struct channel *c, const void *packet, size_t len, unsigned n_fds)
{
	enum phase phase = c->state == CHANNEL_STARTING ? PHASE_STARTING : PHASE_SERVING;
	const struct link_header *h = packet;
	const char *why;

	if (check_packet(phase, packet, len, n_fds, &why) != 0) {
		complain("channel %" PRIu64 ": executor broke the protocol: %s", c->id, why);
		set_reason(c, LINK_E_EXECUTOR_DIED, "the executor broke the protocol");
		channel_kill(c);
		return;
	}
	if (h->type == LINK_READY)
		executor_ready(c, packet);
	else
		executor_ended(c, packet);
}

// It is about to exit, and its exit says why. If it does not, it is ended.
static void executor_hung_up(struct channel *c)
{
	c->link_source = sd_event_source_disable_unref(c->link_source);
	close_fd(&c->process.link_fd);
	c->state = CHANNEL_STOPPING;
	turn_seat_stop(&c->seat);
	if (set_timer(c, c->mediator->settings->executor_stop) < 0)
		channel_kill(c);
}

static void read_link(struct channel *c)
{
	union {
		struct link_header header;
		char bytes[LINK_MAX_PACKET];
	} packet;
	int fds[SEQPACKET_MAX_FDS];

	for (int i = 0; i < MAX_EXECUTOR_PACKETS; i++) {
		unsigned n_fds;
		int n;

		if (c->process.link_fd < 0 || (c->state != CHANNEL_STARTING && c->state != CHANNEL_SERVING))
			return;
		n = seqpacket_recv(c->process.link_fd, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);
		if (n == -EAGAIN)
			return;
		if (n <= 0) { // closed, or a packet that cannot be one of ours
			if (n < 0)
				channel_kill(c);
			else
				executor_hung_up(c);
			return;
		}
		for (unsigned k = 0; k < n_fds; k++)
			close(fds[k]);
		handle_packet(c, &packet, (size_t)n, n_fds);
	}
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	read_link(userdata);
	return 0;
}

// ---- the beginning ----

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
	int r = seqpacket_send(c->process.link_fd, &m, sizeof(m), fds, 6, MSG_DONTWAIT);

	close_fd(&c->seat.page_fd);
	// It may be dead already; its exit says why, and that is reported like any other.
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

static int watch(struct channel *c)
{
	sd_event *event = c->mediator->event;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "executor %d of channel %" PRIu64, (int)c->process.pid, c->id);
	r = sd_event_add_child_pidfd(event, &c->exit_source, c->process.pidfd, WEXITED, on_exit_of_executor,
				     c);
	if (r < 0)
		return r;
	r = output_init(&c->output, event, take_fd(&c->process.output_fd), name,
			(unsigned)c->mediator->settings->log_output_lines);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &c->link_source, c->process.link_fd, EPOLLIN, on_link, c);
	if (r < 0)
		return r;
	return set_timer(c, c->mediator->settings->executor_start);
}

static int start_executor(struct channel *c)
{
	const struct mediator *m = c->mediator;
	const struct settings *s = m->settings;
	const char *argv[12] = {
		m->executor, "--backend", m->backend, "--link-fd", "3", "--log", s->log_level
	};
	unsigned n = 7;

	if (s->paths_module_directory[0]) {
		argv[n++] = "--modules";
		argv[n++] = s->paths_module_directory;
	}
	if (strcmp(s->executor_sandbox, "log") == 0)
		argv[n++] = "--sandbox-log";
	else if (strcmp(s->executor_sandbox, "off") == 0)
		argv[n++] = "--no-sandbox";
	return spawn_executor(argv, strcmp(m->backend, "cpu") == 0 ? SPAWN_USUAL : SPAWN_COMPACT,
			      &c->process);
}

static int prepare(struct channel *c)
{
	int r;

	memory_geometry(c->mediator->settings->gpu_window_offset, &c->geometry);
	r = memory_make_channel(&c->geometry, &c->channel_fd, &c->window_fd);
	if (r < 0)
		return r;
	c->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->doorbell_fd < 0)
		return -errno;
	r = turn_seat_init(&c->seat, &c->tenant->account, c->doorbell_fd, &seat_ops);
	if (r < 0)
		return r;
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

int channel_open(struct session *s, uint32_t cookie, char *error)
{
	struct mediator *m = session_mediator(s);
	struct tenant *t = session_tenant(s);
	struct channel *c;
	int r;

	if (t->n_channels >= m->settings->limits_channels) {
		snprintf(error, LINK_TEXT_BYTES, "tenant '%s' has %u channels already (limits.channels)",
			 t->name, t->n_channels);
		return LINK_E_LIMIT;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		snprintf(error, LINK_TEXT_BYTES, "the mediator is out of memory");
		return LINK_E_INTERNAL;
	}
	c->mediator = m;
	c->tenant = t;
	c->session = s;
	c->cookie = cookie;
	c->id = ++m->next_channel_id;
	c->channel_fd = c->window_fd = c->doorbell_fd = -1;
	c->process.link_fd = c->process.pidfd = c->process.output_fd = -1;
	LIST_INSERT_HEAD(&m->channels, c, link);
	session_add_channel(s, c);
	t->n_channels++;
	t->used = true;
	r = prepare(c);
	if (r < 0)
		return refuse(c, r, error);
	r = watch(c);
	if (r >= 0)
		r = send_assign(c);
	if (r < 0) {
		// Without a watch nobody would notice its end: it is ended and collected here.
		syscall(SYS_pidfd_send_signal, c->process.pidfd, SIGKILL, NULL, 0);
		c->exit_source = sd_event_source_disable_unref(c->exit_source);
		while (waitpid(c->process.pid, NULL, 0) < 0 && errno == EINTR)
			;
		return refuse(c, r, error);
	}
	log_debug("channel %" PRIu64 " of tenant %" PRIu32 ": executor %d", c->id, t->id,
		  (int)c->process.pid);
	return 0;
}
