// SPDX-License-Identifier: Apache-2.0
// vgpu-mediator: the daemon that decides who uses the GPU. Command line, settings, start, the loop and its
// end. The reaper lives here too: it frees what handlers marked.
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "common/beside.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "mediator/backend.h"
#include "mediator/channel.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

// An end that takes longer than this is no longer waited for; executors die with us anyway.
#define STOP_LIMIT_NS (2 * NSEC_PER_SEC)

#define KEY_HELP_SETTINGS 1000

// ---- reaper and stop ----

static void maybe_exit(struct mediator *m)
{
	if (m->stopping && LIST_EMPTY(&m->channels) && LIST_EMPTY(&m->sessions))
		sd_event_exit(m->event, 0);
}

static int on_reap(sd_event_source *source, void *userdata)
{
	struct mediator *m = userdata;
	struct channel *c, *next;

	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	session_reap(m);
	LIST_FOREACH_SAFE (c, &m->channels, link, next) {
		if (c->state == CHANNEL_GONE)
			channel_free(c);
	}
	tenants_reap(m);
	maybe_exit(m);
	return 0;
}

void mediator_reap(struct mediator *m)
{
	sd_event_source_set_enabled(m->reaper, SD_EVENT_ONESHOT);
}

static int on_stop_limit(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct mediator *m = userdata;

	(void)source;
	(void)usec;
	log_warning("not everything ended in time, leaving");
	return sd_event_exit(m->event, 0);
}

void mediator_stop(struct mediator *m)
{
	struct channel *c;

	if (m->stopping)
		return;
	m->stopping = true;
	sd_notify(0, "STOPPING=1");
	listener_done(&m->listener);
	LIST_FOREACH (c, &m->channels, link)
		channel_stop(c, LINK_E_SHUTDOWN, "the mediator is going away");
	session_doom_all(m);
	sd_event_add_time(m->event, &m->stop_timer, CLOCK_MONOTONIC,
			  (clock_now_ns() + STOP_LIMIT_NS) / NSEC_PER_USEC, 1000, on_stop_limit, m);
	mediator_reap(m);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	(void)source;
	log_info("SIG%s, stopping", sigabbrev_np((int)si->ssi_signo));
	mediator_stop(userdata);
	return 0;
}

// ---- start ----

static int take_signals(struct mediator *m)
{
	static const int stop_signals[] = { SIGTERM, SIGINT };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++) {
		int r = sd_event_add_signal(m->event, NULL, stop_signals[i], on_signal, m);

		if (r < 0)
			return r;
	}
	return 0;
}

static void raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static int find_executor(struct mediator *m)
{
	static const char *const places[] = { "vgpu-executor", "../executor/vgpu-executor",
					      "../libexec/vgpu/vgpu-executor", NULL };
	const char *wanted = m->settings->paths_executor;
	char *real;
	int r;

	if (!wanted[0]) {
		r = beside_find(places, m->executor, sizeof(m->executor));
		if (r < 0)
			log_error("no vgpu-executor beside this program; paths.executor names one");
		return r;
	}
	real = realpath(wanted, NULL);
	if (!real || access(real, X_OK) < 0 || strlen(real) >= sizeof(m->executor)) {
		r = -errno;
		log_error("executor %s: %m", wanted);
		free(real);
		return r ? r : -ENAMETOOLONG;
	}
	memcpy(m->executor, real, strlen(real) + 1);
	free(real);
	return 0;
}

static int make_run_directory(const char *path)
{
	struct stat st;

	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		int saved = errno;

		log_error("run directory %s: %m", path);
		return -saved;
	}
	chmod(path,
	      0755); // whatever the umask; others only pass through, the sockets have modes of their own
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || access(path, W_OK | X_OK) < 0) {
		log_error("run directory %s: not a directory that this user may write", path);
		return -ENOTDIR;
	}
	return 0;
}

static int open_socket(struct mediator *m)
{
	const struct settings *s = m->settings;
	int n = sd_listen_fds(1), r;

	if (n < 0)
		return n;
	if (n > 1 || (n == 1 && sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0)) {
		log_error("the socket handed over must be one listening unix socket of type SOCK_SEQPACKET");
		return -EINVAL;
	}
	if (n == 1)
		return listener_take(&m->listener, m, SD_LISTEN_FDS_START);
	r = listener_open(&m->listener, m, NULL, s->paths_socket, (unsigned)s->paths_socket_mode, (uid_t)-1);
	if (r == -EADDRINUSE)
		log_error("socket %s: another mediator answers on it", s->paths_socket);
	else if (r < 0)
		log_error("socket %s: %s", s->paths_socket, strerror(-r));
	return r;
}

static int start(struct mediator *m)
{
	int r = sd_event_default(&m->event);

	if (r < 0)
		return r;
	m->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	RB_INIT(&m->tenants);
	LIST_INIT(&m->sessions);
	LIST_INIT(&m->channels);
	r = take_signals(m);
	if (r < 0)
		return r;
	r = sd_event_add_defer(m->event, &m->reaper, on_reap, m);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(m->reaper, SD_EVENT_OFF);
	r = turns_init(&m->turns, m->event, m->settings);
	if (r < 0)
		return r;
	sd_event_set_watchdog(m->event, true);
	r = find_executor(m);
	if (r < 0)
		return r;
	r = make_run_directory(m->settings->paths_run_directory);
	if (r < 0)
		return r;
	return open_socket(m);
}

static void finish(struct mediator *m)
{
	listener_done(&m->listener);
	if (strcmp(m->settings->paths_at_end, "remove") == 0)
		rmdir(m->settings->paths_run_directory);
	// Only after STOP_LIMIT_NS is there anything left here; it dies with this process.
	if (!LIST_EMPTY(&m->channels) || !LIST_EMPTY(&m->sessions))
		return;
	tenants_reap(m);
	if (m->turns.event)
		turns_done(&m->turns);
	sd_event_source_disable_unref(m->stop_timer);
	sd_event_source_disable_unref(m->reaper);
	sd_event_unref(m->event);
	close_fd(&m->spare_fd);
}

static int run(const struct settings *settings)
{
	struct mediator m = { .settings = settings, .spare_fd = -1 };
	int r;

	m.backend = backend_decide(settings->gpu_backend);
	r = start(&m);
	if (r == 0) {
		log_info("ready: backend %s, executor %s", m.backend, m.executor);
		sd_notify(0, "READY=1");
		r = sd_event_loop(m.event);
	}
	if (r < 0)
		log_error("%s", strerror(-r));
	finish(&m);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

// ---- command line ----

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "Read settings from FILE", 0 },
	{ "socket", 's', "PATH", 0, "Listen on PATH (paths.socket)", 0 },
	{ "backend", 'b', "NAME", 0, "auto, cuda, cpu or null (gpu.backend)", 0 },
	{ "executor", 'e', "PATH", 0, "Program to start for each channel (paths.executor)", 0 },
	{ "set", 'S', "SECTION.KEY=VALUE", 0, "Set one setting", 0 },
	{ "help-settings", KEY_HELP_SETTINGS, NULL, 0, "List all settings, with defaults and ranges", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct settings *s = state->input;
	char error[512];
	int r = 0;

	switch (key) {
	case 'c': r = settings_read_file(s, arg, error, sizeof(error)); break;
	case 's': r = settings_set(s, "paths", "socket", arg, error, sizeof(error)); break;
	case 'b': r = settings_set(s, "gpu", "backend", arg, error, sizeof(error)); break;
	case 'e': r = settings_set(s, "paths", "executor", arg, error, sizeof(error)); break;
	case 'S': r = settings_set_word(s, arg, error, sizeof(error)); break;
	case KEY_HELP_SETTINGS: settings_print_help(stdout, 78); exit(EXIT_SUCCESS);
	case ARGP_KEY_END: r = settings_check(s, error, sizeof(error)); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	if (r < 0)
		argp_failure(state, EXIT_FAILURE, 0, "%s", error);
	return 0;
}

static const struct argp parser = {
	.options = options,
	.parser = parse_option,
	.doc = "Shares one GPU between programs: hands out channels, turns and memory.\v"
	       "Later options and settings win over earlier ones. Listens on the socket that systemd hands "
	       "over, if "
	       "there is one.",
};

int main(int argc, char **argv)
{
	static struct settings settings;
	enum log_level level = LOG_INFO;

	umask(0077);
	settings_init(&settings);
	argp_parse(&parser, argc, argv, ARGP_NO_ARGS, NULL, &settings);
	log_level_from_name(settings.log_level, &level);
	log_init("vgpu-mediator", level);
	spawn_init();
	raise_file_limit();
	return run(&settings);
}
