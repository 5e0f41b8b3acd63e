// SPDX-License-Identifier: Apache-2.0
// Life and death of channels and their executors; see the header for the states. Runs in the mediator's loop;
// what an executor sends is checked like a client's packet, since a tenant may have taken it over.
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
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/about.h"
#include "mediator/adopt/keep.h"
#include "mediator/complain.h"
#include "mediator/memory.h"
#include "mediator/session/check.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

// Of one executor in one round of the loop, so that one that talks without end keeps nobody waiting.
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

void channel_tell_end(struct channel *c)
{
	if (!c->session || c->lost_said)
		return;
	// In a VM an ERROR says as well that the memory is free again.
	if (c->vm.is && !c->answered && c->state != CHANNEL_GONE)
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

void channel_set_reason(struct channel *c, uint32_t code, const char *text)
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
	if (c->vm.is && c->session)
		channel_vm_answer(c);
	else if (c->session)
		session_send(c->session, &m, sizeof(m), fds, 3);
	close_fd(&c->channel_fd);
	close_fd(&c->window_fd);
	keep_channel_again(c);
}

// ---- executors that were started ahead ----

// Such an executor failed before it served: true if another one will take its place, when this one is reaped.
static bool replace(struct channel *c, const char *why)
{
	if (!c->ahead || c->state != CHANNEL_STARTING || c->mediator->stopping)
		return false;
	complain("channel %" PRIu64 ": executor %d, started ahead, does not serve: %s", c->id,
		 (int)c->process.pid, why);
	c->state = CHANNEL_REPLACING;
	c->link_source = sd_event_source_disable_unref(c->link_source);
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	syscall(SYS_pidfd_send_signal, c->process.pidfd, SIGKILL, NULL, 0);
	return true;
}

// ---- timers ----

static int on_time_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct channel *c = userdata;

	ABOUT_CHANNEL(c);
	(void)source;
	(void)usec;
	if (c->state == CHANNEL_STARTING) {
		if (replace(c, "it did not answer in executor.warm_answer"))
			return 0;
		output_drain(&c->output);
		channel_stop(c, LINK_E_BACKEND, "the executor was not ready in executor.start");
	} else if (c->state == CHANNEL_STOPPING) {
		log_debug("channel %" PRIu64 ": executor did not end by itself, killing it", c->id);
		channel_kill(c);
	}
	return 0;
}

int channel_set_timer(struct channel *c, uint64_t ns)
{
	uint64_t at = (clock_now_ns() + ns) / NSEC_PER_USEC;

	if (!c->timer)
		return sd_event_add_time(c->mediator->event, &c->timer, CLOCK_MONOTONIC, at,
					 NSEC_PER_MSEC / NSEC_PER_USEC, on_time_over, c);
	sd_event_source_set_time(c->timer, at);
	return sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

// ---- the end ----

void channel_close_link(struct channel *c)
{
	c->link_source = sd_event_source_disable_unref(c->link_source);
	if (c->process.link_fd >= 0)
		shutdown(c->process.link_fd, SHUT_RDWR);
	close_fd(&c->process.link_fd);
}

void channel_kill(struct channel *c)
{
	if (c->state == CHANNEL_KILLED || c->state == CHANNEL_GONE)
		return;
	c->state = CHANNEL_KILLED;
	keep_channel(c);
	syscall(SYS_pidfd_send_signal, c->process.pidfd, SIGKILL, NULL, 0);
}

void channel_stop(struct channel *c, uint32_t code, const char *text)
{
	if (c->state != CHANNEL_STARTING && c->state != CHANNEL_SERVING && c->state != CHANNEL_REPLACING)
		return;
	channel_set_reason(c, code, text);
	channel_tell_end(c);
	c->state = CHANNEL_STOPPING;
	turn_seat_stop(&c->seat);
	channel_close_link(c);
	keep_channel(c);
	if (channel_set_timer(c, c->mediator->settings->executor_stop) < 0)
		channel_kill(c);
}

void channel_close(struct channel *c, bool at_once)
{
	channel_stop(c, LINK_E_SHUTDOWN, "closed");
	if (at_once)
		channel_kill(c);
}

void channel_abandon(struct channel *c)
{
	LIST_REMOVE(c, session_link);
	c->session = NULL;
	keep_channel(c);
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

static json_t *channel_fields(const struct channel *c)
{
	return json_pack("{s:I}", "channel", (json_int_t)c->id);
}

void channel_hang(struct channel *c, const char *why)
{
	bool first = !c->reason;

	ABOUT_CHANNEL(c);
	complain("channel %" PRIu64 " of tenant %" PRIu32 ": %s, killing its executor", c->id, c->tenant->id,
		 why);
	channel_set_reason(c, LINK_E_WATCHDOG, why);
	channel_kill(c);
	event_publish(c->mediator, EVENT_WATCHDOG_KILL, c->tenant, channel_fields(c), "%s", why);
	if (first)
		watch_strike(c, STRIKE_HANG);
}

static void hung(struct turn_seat *seat)
{
	channel_hang(channel_of(seat), "GPU work took longer than turn.watchdog beyond its turn");
}

const struct turn_seat_ops channel_seat_ops = { .hung = hung, .wake = wake, .kicked = park_seat_kicked };

static void explain_exit(struct channel *c, const siginfo_t *si)
{
	char words[LINK_TEXT_BYTES - 60], text[LINK_TEXT_BYTES + 80];
	const char *name;

	output_last_words(&c->output, words, sizeof(words));
	if (!si->si_code) { // not our child: another mediator started it
		snprintf(text, sizeof(text), "executor ended%s%s", words[0] ? ": " : "", words);
	} else if (si->si_code == CLD_EXITED) {
		snprintf(text, sizeof(text), "executor exited with status %d%s%s", si->si_status,
			 words[0] ? ": " : "", words);
	} else {
		name = sigabbrev_np(si->si_status);
		snprintf(text, sizeof(text), "executor was killed by SIG%s%s%s", name ? name : "?",
			 words[0] ? ": " : "", words);
	}
	if (!c->reason)
		complain("channel %" PRIu64 " of tenant %" PRIu32 ": %s", c->id, c->tenant->id, text);
	channel_set_reason(c, LINK_E_EXECUTOR_DIED, text);
}

static void read_link(struct channel *c);

int channel_on_exit(sd_event_source *source, int pidfd, uint32_t events, void *userdata)
{
	struct channel *c = userdata;
	bool was_open, unordered;
	siginfo_t si = { 0 };

	ABOUT_CHANNEL(c);
	(void)events;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG) < 0)
		si.si_code = 0;
	output_drain(&c->output);
	if (c->process.link_fd >= 0)
		read_link(c); // its own last message explains more than its exit status
	if (c->state == CHANNEL_REPLACING || replace(c, "it ended")) {
		channel_start_again(c);
		return 0;
	}
	unordered = c->answered && !c->reason;
	explain_exit(c, &si);
	c->state = CHANNEL_GONE;
	was_open = c->answered;
	channel_tell_end(c);
	if (unordered)
		watch_executor_exit(c, &si);
	log_debug("channel %" PRIu64 ": executor %d is gone: %s", c->id, (int)c->process.pid, c->text);
	if (c->vm.is && c->session && was_open)
		channel_vm_tell_gone(c);
	mediator_reap(c->mediator);
	return 0;
}

void channel_release_process(struct channel *c)
{
	output_done(&c->output);
	c->link_source = sd_event_source_disable_unref(c->link_source);
	c->exit_source = sd_event_source_disable_unref(c->exit_source);
	close_fd(&c->process.link_fd);
	close_fd(&c->process.pidfd);
	close_fd(&c->process.output_fd);
}

void channel_free(struct channel *c)
{
	struct mediator *m = c->mediator;
	uint64_t memory = turn_seat_memory(&c->seat), kept = share_channel_gone(c),
		 pinned = turn_seat_pinned(&c->seat);

	event_publish(m, EVENT_CHANNEL_WENT, c->tenant, channel_fields(c), "%s", c->text);
	park_channel_gone(c);
	metrics_channel_ended(c);
	use_look(c);
	turn_seat_done(&c->seat);
	use_channel_ended(c);
	c->tenant->n_channels--;
	tenant_uncharge(c->tenant, memory > kept ? memory - kept : 0, pinned);
	if (c->session)
		LIST_REMOVE(c, session_link);
	LIST_REMOVE(c, link);
	keep_channel_gone(c);
	channel_release_process(c);
	sd_event_source_disable_unref(c->timer);
	close_fd(&c->channel_fd);
	close_fd(&c->window_fd);
	close_fd(&c->doorbell_fd);
	channel_vm_done(&c->vm);
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
	c->ahead = false;
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	// Nobody else will need what came with ASSIGN.
	channel_vm_done(&c->vm);
	log_debug("channel %" PRIu64 ": ready, backend %s, device %s", c->id, m->backend_name,
		  m->device_name);
	answer_ok(c);
	event_publish(m, EVENT_CHANNEL_CAME, c->tenant, channel_fields(c), "an executor serves");
}

static void executor_ended(struct channel *c, const struct link_ended *ended)
{
	char text[LINK_TEXT_BYTES];

	log_sanitize(text, sizeof(text), ended->text, sizeof(ended->text));
	if (!text[0]) {
		output_drain(&c->output);
		output_last_words(&c->output, text, sizeof(text));
	}
	if (replace(c, text))
		return;
	complain("channel %" PRIu64 " of tenant %" PRIu32 ": executor %s: %s", c->id, c->tenant->id,
		 ended->header.type == LINK_FAILED ? "could not start" : "ended it", text);
	channel_stop(c, ended->code, text);
	if (ended->header.type == LINK_ENDED && ended->code == LINK_E_BAD_RECORD)
		watch_strike(c, STRIKE_STREAM);
}

static void broke_protocol(struct channel *c, const char *why)
{
	if (replace(c, why))
		return;
	complain("channel %" PRIu64 ": executor broke the protocol: %s", c->id, why);
	channel_set_reason(c, LINK_E_EXECUTOR_DIED, "the executor broke the protocol");
	channel_kill(c);
	watch_strike(c, STRIKE_SANDBOX);
}

// It waits for each answer before it asks again, so there is room for this one, or it is no executor of ours.
static void executor_shares(struct channel *c, const void *packet, int fd)
{
	struct link_shared answer;
	int back;
	int r;

	share_handle(c, packet, fd, &answer, &back);
	r = seqpacket_send(c->process.link_fd, &answer, sizeof(answer), &back, back >= 0, MSG_DONTWAIT);
	share_keep(c);
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		broke_protocol(c, "it does not read its answers");
}

// fds: n_fds of them, taken over.
static void handle_packet(struct channel *c, const void *packet, size_t len, int *fds, unsigned n_fds)
{
	enum phase phase = c->state == CHANNEL_STARTING ? PHASE_STARTING : PHASE_SERVING;
	const struct link_header *h = packet;
	const char *why;

	c->mediator->metrics.messages[METRICS_FROM_EXECUTOR]++;
	if (check_packet(phase, packet, len, n_fds, &why) != 0) {
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
		broke_protocol(c, why);
		return;
	}
	switch (h->type) {
	case LINK_READY: executor_ready(c, packet); break;
	case LINK_SHARE:
	case LINK_TAKE:
	case LINK_DROP: executor_shares(c, packet, n_fds ? fds[0] : -1); break;
	default: executor_ended(c, packet); break;
	}
}

// The last mediator had this packet and did what it says, but was not there any more to take it off the link.
static bool is_done_already(const struct channel *c, const struct link_header *h, int n)
{
	return c->redo && n == (int)sizeof(struct link_ready) && h->type == LINK_READY &&
	       c->state == CHANNEL_SERVING;
}

// It is about to exit, and its exit says why. If it does not, it is ended.
static void executor_hung_up(struct channel *c)
{
	if (replace(c, "it closed its link"))
		return;
	channel_close_link(c);
	c->state = CHANNEL_STOPPING;
	turn_seat_stop(&c->seat);
	keep_channel(c);
	if (channel_set_timer(c, c->mediator->settings->executor_stop) < 0)
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
		n = seqpacket_recv(c->process.link_fd, &packet, sizeof(packet), fds, &n_fds,
				   MSG_DONTWAIT | MSG_PEEK);
		if (n == -EAGAIN)
			return;
		if (n <= 0) { // closed, or a packet that cannot be one of ours
			if (n == 0)
				executor_hung_up(c);
			else if (!replace(c, "its link is broken"))
				channel_kill(c);
			return;
		}
		if (is_done_already(c, &packet.header, n))
			n_fds = 0;
		else
			handle_packet(c, &packet, (size_t)n, fds, n_fds);
		c->redo = false;
		// Only now: if we die before, the next mediator finds it.
		if (c->process.link_fd >= 0)
			recv(c->process.link_fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC);
	}
}

int channel_on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	ABOUT_CHANNEL(userdata);
	read_link(userdata);
	return 0;
}
