// SPDX-License-Identifier: Apache-2.0
// The pool of executors that wait for a tenant; see the header. Runs in the mediator's loop. They have seen
// no tenant's byte; what they send is checked like any executor's all the same.
#include "mediator/warm/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/complain.h"
#include "mediator/memory.h"
#include "mediator/mediator.h"
#include "mediator/output.h"
#include "mediator/session/check.h"

enum warm_state { STARTING, READY, KILLED };

struct warm_executor {
	bool kept; // with the keeper
	LIST_ENTRY(warm_executor) link;
	struct warm_pool *pool;
	enum warm_state state;
	bool retired; // ended on purpose
	struct spawned process;
	struct output output;
	sd_event_source *link_source, *exit_source, *timer;
	uint64_t ready_ns;
};

static void refill(struct warm_pool *p);

int executor_spawn(const struct mediator *m, bool warm, struct spawned *ret)
{
	const struct settings *s = m->settings;
	char device[24], offset[24];
	const char *argv[20] = { m->executor,  "--backend", m->backend, "--link-fd",	   "3",	  "--log",
				 s->log_level, "--device",  device,	"--window-offset", offset };
	unsigned n = 11;

	snprintf(device, sizeof(device), "%" PRIu64, s->gpu_device);
	snprintf(offset, sizeof(offset), "%" PRIu64, s->gpu_window_offset);
	if (s->paths_module_directory[0]) {
		argv[n++] = "--modules";
		argv[n++] = s->paths_module_directory;
	}
	if (warm)
		argv[n++] = "--warm";
	if (strcmp(s->executor_sandbox, "log") == 0)
		argv[n++] = "--sandbox-log";
	else if (strcmp(s->executor_sandbox, "off") == 0)
		argv[n++] = "--no-sandbox";
	return spawn_program(argv, spawn_layout_for(m->backend) | (keep_is_on(m) ? SPAWN_OUTLIVES_US : 0),
			     ret);
}

// ---- the end ----

static void keep(struct warm_executor *x)
{
	const struct deposit_warm r = { (uint64_t)x->process.pid };

	keep_record(x->pool->mediator, DEPOSIT_WARM, r.pid, &r, &x->process.pidfd, WARM_FDS, &x->kept);
}

void warm_pool_keep_all(struct warm_pool *p)
{
	struct warm_executor *x;

	LIST_FOREACH (x, &p->executors, link) {
		x->kept = false;
		keep(x);
	}
}

static void release(struct warm_executor *x)
{
	keep_gone(x->pool->mediator, DEPOSIT_WARM, (uint64_t)x->process.pid, &x->kept);
	LIST_REMOVE(x, link);
	output_done(&x->output);
	sd_event_source_disable_unref(x->link_source);
	sd_event_source_disable_unref(x->exit_source);
	sd_event_source_disable_unref(x->timer);
	close_fd(&x->process.link_fd);
	close_fd(&x->process.pidfd);
	close_fd(&x->process.output_fd);
	free(x);
}

static void end(struct warm_executor *x, bool on_purpose)
{
	if (x->state == KILLED)
		return;
	x->state = KILLED;
	x->retired = on_purpose;
	syscall(SYS_pidfd_send_signal, x->process.pidfd, SIGKILL, NULL, 0);
}

// One that nobody watches any more, or never could.
static void collect(struct warm_executor *x)
{
	x->exit_source = sd_event_source_disable_unref(x->exit_source);
	syscall(SYS_pidfd_send_signal, x->process.pidfd, SIGKILL, NULL, 0);
	while (waitpid(x->process.pid, NULL, 0) < 0 && errno == EINTR)
		;
	release(x);
}

static void failed(struct warm_pool *p)
{
	warm_rule_failed(&p->rule, clock_now_ns());
}

static int on_exit_of_warm(sd_event_source *source, const siginfo_t *si, void *userdata)
{
	struct warm_executor *x = userdata;
	struct warm_pool *p = x->pool;
	char words[LINK_TEXT_BYTES];

	(void)source;
	if (!x->retired) {
		output_drain(&x->output);
		output_last_words(&x->output, words, sizeof(words));
		complain("executor %d, started ahead, ended (%s %d)%s%s", (int)x->process.pid,
			 si->si_code == CLD_EXITED ? "status" : "signal", si->si_status, words[0] ? ": " : "",
			 words);
		failed(p);
	}
	release(x);
	refill(p);
	return 0;
}

// ---- what it says ----

static void handle_packet(struct warm_executor *x, const void *packet, size_t len, unsigned n_fds)
{
	enum phase phase = x->state == STARTING ? PHASE_WARMING : PHASE_NONE;
	const struct link_warm *m = packet;
	struct warm_pool *p = x->pool;
	const char *why;

	if (check_packet(phase, packet, len, n_fds, &why) != 0) {
		complain("executor %d, started ahead, broke the protocol: %s", (int)x->process.pid, why);
		end(x, false);
		return;
	}
	if (m->header.type != LINK_WARM) // FAILED: its exit says why
		return;
	x->timer = sd_event_source_disable_unref(x->timer);
	if (m->device_free < p->mediator->settings->executor_warm_spare_device) {
		log_info("the device has little free memory: no executor is kept ahead for a while");
		warm_rule_hold(&p->rule, clock_now_ns() + WARM_LONGEST_PAUSE_NS);
		end(x, true);
		return;
	}
	warm_rule_ready(&p->rule);
	x->state = READY;
	x->ready_ns = clock_now_ns();
	log_debug("executor %d waits for a tenant", (int)x->process.pid);
	refill(p);
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	union {
		struct link_header header;
		char bytes[LINK_MAX_PACKET];
	} packet;
	struct warm_executor *x = userdata;
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	int n = seqpacket_recv(fd, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);

	(void)events;
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) { // its exit follows, or is brought about
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		end(x, false);
		return 0;
	}
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	handle_packet(x, &packet, (size_t)n, n_fds);
	return 0;
}

static int on_too_slow(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct warm_executor *x = userdata;

	(void)source;
	(void)usec;
	complain("executor %d, started ahead, was not ready in executor.start", (int)x->process.pid);
	end(x, false);
	return 0;
}

// ---- the beginning ----

static int watch(struct warm_executor *x)
{
	const struct mediator *m = x->pool->mediator;
	uint64_t late = clock_now_ns() + m->settings->executor_start;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "executor %d, started ahead,", (int)x->process.pid);
	r = sd_event_add_child_pidfd(m->event, &x->exit_source, x->process.pidfd, WEXITED, on_exit_of_warm,
				     x);
	if (r >= 0)
		r = output_init(&x->output, m->event, take_fd(&x->process.output_fd), name,
				(unsigned)m->settings->log_output_lines);
	if (r >= 0)
		r = sd_event_add_io(m->event, &x->link_source, x->process.link_fd, EPOLLIN, on_link, x);
	if (r >= 0)
		r = sd_event_add_time(m->event, &x->timer, CLOCK_MONOTONIC, late / NSEC_PER_USEC,
				      NSEC_PER_MSEC / NSEC_PER_USEC, on_too_slow, x);
	return r < 0 ? r : 0;
}

static void start_one(struct warm_pool *p)
{
	struct warm_executor *x = calloc(1, sizeof(*x));
	int r = x ? executor_spawn(p->mediator, true, &x->process) : -ENOMEM;

	warm_rule_started(&p->rule, clock_now_ns());
	if (r < 0) {
		complain("cannot start an executor ahead: %s", strerror(-r));
		free(x);
		failed(p);
		return;
	}
	x->pool = p;
	LIST_INSERT_HEAD(&p->executors, x, link);
	keep(x);
	r = watch(x);
	if (r < 0) {
		complain("cannot watch an executor started ahead: %s", strerror(-r));
		collect(x);
		failed(p);
	}
}

static struct warm_executor *oldest_ready(struct warm_pool *p)
{
	struct warm_executor *x, *oldest = NULL;

	LIST_FOREACH (x, &p->executors, link)
		if (x->state == READY)
			oldest = x;
	return oldest;
}

static struct warm_facts facts_of(struct warm_pool *p)
{
	const struct warm_executor *oldest = oldest_ready(p);
	struct warm_executor *x;
	struct warm_facts f = {
		.oldest_ns = oldest ? oldest->ready_ns : 0,
		.short_of_memory = memory_available() < p->mediator->settings->executor_warm_spare,
	};

	LIST_FOREACH (x, &p->executors, link) {
		f.starting += x->state == STARTING;
		f.ready += x->state == READY;
	}
	return f;
}

static void arm(struct warm_pool *p, uint64_t wake_ns)
{
	if (wake_ns == WARM_NEVER) {
		sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(p->timer, wake_ns / NSEC_PER_USEC + 1);
	sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

static void refill(struct warm_pool *p)
{
	uint64_t now = clock_now_ns(), wake = WARM_NEVER;
	struct warm_facts f = facts_of(p);
	enum warm_step step;

	if (p->mediator->stopping)
		return;
	while ((step = warm_rule_step(&p->rule, &f, now, &wake)) != WARM_WAIT) {
		if (step == WARM_START)
			start_one(p);
		else
			end(oldest_ready(p), true);
		f = facts_of(p);
	}
	arm(p, wake);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	refill(userdata);
	return 0;
}

int warm_pool_init(struct warm_pool *p, struct mediator *m)
{
	const struct settings *s = m->settings;
	uint64_t now = clock_now_ns();
	int r;

	*p = (struct warm_pool){ .mediator = m };
	LIST_INIT(&p->executors);
	warm_rule_init(&p->rule, (unsigned)s->executor_warm, s->executor_warm_pause, s->executor_warm_age,
		       now);
	r = sd_event_add_time(m->event, &p->timer, CLOCK_MONOTONIC, now / NSEC_PER_USEC, 1, on_timer, p);
	if (r < 0)
		return r;
	// Behind whoever waits for something.
	return sd_event_source_set_priority(p->timer, SD_EVENT_PRIORITY_IDLE);
}

void warm_pool_done(struct warm_pool *p)
{
	struct warm_executor *x, *next;

	if (!p->mediator)
		return;
	p->timer = sd_event_source_disable_unref(p->timer);
	LIST_FOREACH (x, &p->executors, link) // all at once: a driver takes its time
		end(x, true);
	LIST_FOREACH_SAFE (x, &p->executors, link, next)
		collect(x);
	p->mediator = NULL;
}

// ---- for channels ----

struct warm_count warm_pool_count(const struct warm_pool *p)
{
	struct warm_count n = { 0 };
	const struct warm_executor *x;

	LIST_FOREACH (x, &p->executors, link) {
		n.starting += x->state == STARTING;
		n.ready += x->state == READY;
	}
	return n;
}

bool warm_pool_take(struct warm_pool *p, struct spawned *ret)
{
	struct warm_executor *x = oldest_ready(p);
	uint64_t now = clock_now_ns();

	if (!x)
		return false;
	output_drain(&x->output);
	*ret = x->process;
	ret->output_fd = output_take(&x->output);
	x->process.link_fd = x->process.pidfd = -1;
	release(x);
	warm_rule_taken(&p->rule, now);
	arm(p, p->rule.not_before_ns); // not now: a client waits
	return true;
}

void warm_pool_bad(struct warm_pool *p)
{
	failed(p);
	refill(p);
}

unsigned warm_pool_yield(struct warm_pool *p, uint64_t until_ns)
{
	struct warm_executor *x;
	unsigned n = 0;

	warm_rule_hold(&p->rule, until_ns);
	LIST_FOREACH (x, &p->executors, link) {
		if (x->state == KILLED)
			continue;
		end(x, true);
		n++;
	}
	return n;
}
