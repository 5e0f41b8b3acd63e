// SPDX-License-Identifier: Apache-2.0
// Life and death of the sensor; see the header for the states. Runs in the mediator's loop. The sensor parses
// nothing of a tenant's, its packets are checked like any others all the same: it has a vendor's library
// inside.
#include "mediator/device/sensor.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/beside.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/complain.h"
#include "mediator/mediator.h"
#include "mediator/session/check.h"
#include "mediator/session/session.h"

#define LONGEST_PAUSE_NS (60 * NSEC_PER_SEC)
// A reading that is a little older than the interval is on its way to be replaced, and good enough not to
// wait.
#define SETTLED_NS(interval) ((interval) + (interval) / 2)

// ---- the end ----

static void sensor_kill(struct sensor *x, const char *why)
{
	if (x->state != SENSOR_STARTING && x->state != SENSOR_SERVING)
		return;
	complain("sensor %d: %s, killing it", (int)x->process.pid, why);
	x->state = SENSOR_KILLED;
	syscall(SYS_pidfd_send_signal, x->process.pidfd, SIGKILL, NULL, 0);
}

static void release(struct sensor *x)
{
	output_done(&x->output);
	x->link_source = sd_event_source_disable_unref(x->link_source);
	x->exit_source = sd_event_source_disable_unref(x->exit_source);
	x->timer = sd_event_source_disable_unref(x->timer);
	close_fd(&x->process.link_fd);
	close_fd(&x->process.pidfd);
	close_fd(&x->process.output_fd);
	x->asked = false;
}

static void pause_starts(struct sensor *x)
{
	uint64_t pause = x->mediator->settings->sensor_pause;

	for (unsigned i = 0; i < x->failures && pause < LONGEST_PAUSE_NS; i++)
		pause *= 2;
	x->failures++;
	x->not_before_ns = clock_now_ns() + (pause < LONGEST_PAUSE_NS ? pause : LONGEST_PAUSE_NS);
	x->state = SENSOR_OFF;
}

static void explain_exit(struct sensor *x, const siginfo_t *si)
{
	char words[LINK_TEXT_BYTES];
	const char *name;

	output_last_words(&x->output, words, sizeof(words));
	if (si->si_code == CLD_EXITED) {
		complain("sensor %d exited with status %d%s%s", (int)x->process.pid, si->si_status,
			 words[0] ? ": " : "", words);
		return;
	}
	name = sigabbrev_np(si->si_status);
	complain("sensor %d was killed by SIG%s%s%s", (int)x->process.pid, name ? name : "?",
		 words[0] ? ": " : "", words);
}

static void read_link(struct sensor *x);

// A card that was lost may be missing for a while: then nothing to read is not the last word.
static bool card_awaited(const struct sensor *x)
{
	return x->mediator->watch.health.state == DEVICE_HEALTH_LOST;
}

static int on_exit_of_sensor(sd_event_source *source, const siginfo_t *si, void *userdata)
{
	struct sensor *x = userdata;
	bool well = si->si_code == CLD_EXITED && si->si_status == 0;

	(void)source;
	output_drain(&x->output);
	read_link(x);
	if (well && x->state == SENSOR_SERVING && !x->board.readable && !card_awaited(x)) {
		x->state = SENSOR_DONE;
		watch_no_card(&x->mediator->watch);
	} else {
		explain_exit(x, si);
		pause_starts(x);
	}
	release(x);
	session_device_news(x->mediator);
	control_device_news(x->mediator);
	return 0;
}

// ---- timer: one thing at a time is awaited ----

static int on_time_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sensor *x = userdata;

	(void)source;
	(void)usec;
	sensor_kill(x, x->state == SENSOR_STARTING ? "it was not ready in sensor.start"
						   : "it did not answer in sensor.answer");
	return 0;
}

static int set_timer(struct sensor *x, uint64_t ns)
{
	uint64_t at = (clock_now_ns() + ns) / NSEC_PER_USEC;

	if (!x->timer)
		return sd_event_add_time(x->mediator->event, &x->timer, CLOCK_MONOTONIC, at,
					 NSEC_PER_MSEC / NSEC_PER_USEC, on_time_over, x);
	sd_event_source_set_time(x->timer, at);
	return sd_event_source_set_enabled(x->timer, SD_EVENT_ONESHOT);
}

// ---- what it says ----

static void handle_packet(struct sensor *x, const void *packet, size_t len, unsigned n_fds)
{
	enum phase phase = x->state == SENSOR_STARTING ? PHASE_SENSOR_STARTING
			   : x->asked		       ? PHASE_SENSOR_SERVING
						       : PHASE_NONE;
	const char *why;

	if (check_packet(phase, packet, len, n_fds, &why) != 0) {
		complain("sensor: %s", why);
		sensor_kill(x, "it broke the protocol");
		return;
	}
	sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
	if (x->state == SENSOR_STARTING) {
		board_identity(&x->board, packet);
		log_debug("sensor: %s device %s%s", x->board.backend, x->board.identity.name,
			  x->board.readable ? "" : ", nothing to read");
		x->state = SENSOR_SERVING;
		if (x->board.readable)
			sensor_want(x, clock_now_ns());
		else if (set_timer(x, x->mediator->settings->sensor_answer) < 0) // it is to end by itself
			sensor_kill(x, "no timer");
	} else {
		x->asked = false;
		x->failures = 0;
		board_readings(&x->board, packet, clock_now_ns());
		watch_sensed(&x->mediator->watch, packet);
	}
	session_device_news(x->mediator);
	control_device_news(x->mediator);
}

static void read_link(struct sensor *x)
{
	union {
		struct link_header header;
		char bytes[LINK_MAX_PACKET];
	} packet;
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;

	while (x->state == SENSOR_STARTING || x->state == SENSOR_SERVING) {
		int n =
		    seqpacket_recv(x->process.link_fd, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			return;
		if (n <= 0) { // it is about to exit, which says more; if not, the timer or SENSE finds it
			sd_event_source_set_enabled(x->link_source, SD_EVENT_OFF);
			if (n < 0)
				sensor_kill(x, "its link is broken");
			return;
		}
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
		handle_packet(x, &packet, (size_t)n, n_fds);
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

static int watch(struct sensor *x)
{
	sd_event *event = x->mediator->event;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "sensor %d", (int)x->process.pid);
	r = sd_event_add_child_pidfd(event, &x->exit_source, x->process.pidfd, WEXITED, on_exit_of_sensor, x);
	if (r < 0)
		return r;
	r = output_init(&x->output, event, take_fd(&x->process.output_fd), name,
			(unsigned)x->mediator->settings->log_output_lines);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &x->link_source, x->process.link_fd, EPOLLIN, on_link, x);
	return r < 0 ? r : set_timer(x, x->mediator->settings->sensor_start);
}

static void collect(struct sensor *x)
{
	x->exit_source = sd_event_source_disable_unref(x->exit_source);
	syscall(SYS_pidfd_send_signal, x->process.pidfd, SIGKILL, NULL, 0);
	while (waitpid(x->process.pid, NULL, 0) < 0 && errno == EINTR)
		;
	release(x);
}

static void start(struct sensor *x)
{
	const struct mediator *m = x->mediator;
	const struct settings *s = m->settings;
	char device[24], offset[24];
	const char *argv[16] = { x->path,      "--backend", m->backend, "--link-fd",	   "3",	  "--log",
				 s->log_level, "--device",  device,	"--window-offset", offset };
	unsigned n = 11;
	int r;

	snprintf(device, sizeof(device), "%" PRIu64, s->gpu_device);
	snprintf(offset, sizeof(offset), "%" PRIu64, s->gpu_window_offset);
	if (s->paths_module_directory[0]) {
		argv[n++] = "--modules";
		argv[n++] = s->paths_module_directory;
	}
	if (strcmp(s->executor_sandbox, "log") == 0)
		argv[n++] = "--sandbox-log";
	else if (strcmp(s->executor_sandbox, "off") == 0)
		argv[n++] = "--no-sandbox";
	r = spawn_program(argv, spawn_layout_for(m->backend), &x->process);
	if (r < 0) {
		complain("cannot start the sensor: %s", strerror(-r));
		pause_starts(x);
		return;
	}
	x->state = SENSOR_STARTING;
	r = watch(x);
	if (r < 0) {
		complain("cannot watch the sensor: %s", strerror(-r));
		collect(x);
		pause_starts(x);
	}
}

static void sense(struct sensor *x)
{
	struct link_header m = { LINK_MAGIC, LINK_SENSE, 0, sizeof(m), 0 };

	x->asked = true;
	if (seqpacket_send(x->process.link_fd, &m, sizeof(m), NULL, 0, MSG_DONTWAIT) < 0 ||
	    set_timer(x, x->mediator->settings->sensor_answer) < 0)
		sensor_kill(x, "it cannot be asked");
}

void sensor_want(struct sensor *x, uint64_t now_ns)
{
	if (x->state == SENSOR_OFF && x->path[0] && now_ns >= x->not_before_ns && !x->mediator->stopping)
		start(x);
	else if (x->state == SENSOR_SERVING && x->board.readable && !x->asked &&
		 !board_fresh(&x->board, x->mediator->settings->sensor_interval, now_ns))
		sense(x);
}

bool sensor_settled(const struct sensor *x, uint64_t now_ns)
{
	switch (x->state) {
	case SENSOR_STARTING: return false;
	case SENSOR_SERVING:
		return !x->board.readable ||
		       board_fresh(&x->board, SETTLED_NS(x->mediator->settings->sensor_interval), now_ns);
	default: return true;
	}
}

void sensor_init(struct sensor *x, struct mediator *m)
{
	static const char *const places[] = { "vgpu-sensor", "../sensor/vgpu-sensor",
					      "../libexec/vgpu/vgpu-sensor", NULL };
	const char *wanted = m->settings->paths_sensor;

	*x = (struct sensor){ .mediator = m };
	x->process.link_fd = x->process.pidfd = x->process.output_fd = -1;
	if (wanted[0])
		snprintf(x->path, sizeof(x->path), "%s", wanted);
	else if (beside_find(places, x->path, sizeof(x->path)) < 0)
		log_warning("no vgpu-sensor beside this program: nothing can be told about the device");
}

void sensor_done(struct sensor *x)
{
	if (!x->mediator)
		return;
	if (x->exit_source)
		collect(x);
	x->mediator = NULL;
}
