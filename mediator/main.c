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
#include "mediator/about.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/backend.h"
#include "mediator/channel.h"
#include "mediator/metrics/table.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

// An end that takes longer than this is no longer waited for; executors die with us anyway.
#define STOP_LIMIT_NS (2 * NSEC_PER_SEC)

#define KEY_HELP_SETTINGS 1000
#define KEY_HELP_CONTROL  1001
#define KEY_BACKUP	  1002
#define KEY_RESTORE	  1003
#define KEY_HELP_API	  1004
#define KEY_HELP_METRICS  1005

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
	event_publish(m, EVENT_MEDIATOR_STOPPING, NULL, NULL, "ends");
	warm_pool_done(&m->warm);
	sd_notify(0, "STOPPING=1");
	keep_gone(m, DEPOSIT_DAEMON, 0, &m->listener.kept); // nobody can connect there any more
	listener_done(&m->listener);
	LIST_FOREACH (c, &m->channels, link)
		channel_stop(c, LINK_E_SHUTDOWN, "the mediator is going away");
	session_doom_all(m);
	sd_event_add_time(m->event, &m->stop_timer, CLOCK_MONOTONIC,
			  (clock_now_ns() + STOP_LIMIT_NS) / NSEC_PER_USEC, 1000, on_stop_limit, m);
	mediator_reap(m);
}

static void raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

// ---- an end that is none: another mediator goes on ----

static const char *self_path; // as it was at the start: an upgrade puts another file there
static char *const *self_argv;

// Ends the children that nobody adopts; others are started when they are needed.
static void let_go(struct mediator *m)
{
	warm_pool_done(&m->warm);
	sensor_done(&m->sensor);
	sensor_init(&m->sensor, m);
	record_done(&m->record);
}

static void leave(struct mediator *m)
{
	if (!keep_is_on(m) || m->keeping.custody.link < 0) {
		log_warning("SIGUSR1, but there is no keeper: stopping instead");
		mediator_stop(m);
		return;
	}
	log_info("SIGUSR1, leaving all to the next mediator");
	let_go(m);
	_exit(EXIT_SUCCESS); // no handler may remove or tell anything
}

static void restart(struct mediator *m)
{
	if (!keep_is_on(m) || m->keeping.custody.link < 0 || !self_path) {
		log_warning("SIGHUP, but there is no keeper: going on as before");
		return;
	}
	log_info("SIGHUP, starting %s anew", self_path);
	let_go(m);
	spawn_restore_limits();
	execv(self_path, self_argv);
	log_error("%s: %m; going on as before", self_path);
	raise_file_limit();
	session_give_up_questions(m);
	control_give_up(m);
	migrate_give_up_question(m);
	record_init(&m->record, m);
	warm_pool_init(&m->warm, m);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	struct mediator *m = userdata;

	(void)source;
	if (m->stopping)
		return 0;
	switch (si->ssi_signo) {
	case SIGHUP: restart(m); break;
	case SIGUSR1: leave(m); break;
	default: log_info("SIG%s, stopping", sigabbrev_np((int)si->ssi_signo)); mediator_stop(m);
	}
	return 0;
}

// ---- start ----

static int take_signals(struct mediator *m)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int r = sd_event_add_signal(m->event, NULL, signals[i], on_signal, m);

		if (r < 0)
			return r;
	}
	return 0;
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

// The sockets of before, or new ones.
static int begin(struct mediator *m)
{
	bool adopted;
	int r = keep_adopt(m, &adopted), n;

	if (r < 0) // it may be that another mediator lives: its control socket stays
		return r;
	r = control_init(&m->control, m); // before programs can connect
	if (r == 0)
		r = api_init(&m->api, m);
	if (r < 0)
		return r;
	if (adopted) { // with it the socket that systemd hands over once more
		n = sd_listen_fds(1);
		for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++)
			close(fd);
		record_adopted(&m->record);
		m->metrics.adopted = true;
		log_info("adopted what the last mediator left");
	} else {
		r = open_socket(m);
	}
	if (r >= 0)
		keep_start(m);
	if (r >= 0)
		event_publish(m, EVENT_MEDIATOR_STARTED, NULL, json_pack("{s:b}", "adopted", adopted),
			      adopted ? "goes on with what the last mediator left" : "ready");
	return r;
}

static int start(struct mediator *m)
{
	int r = sd_event_default(&m->event);

	if (r < 0)
		return r;
	m->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	RB_INIT(&m->tenants);
	TAILQ_INIT(&m->pools);
	LIST_INIT(&m->sessions);
	LIST_INIT(&m->channels);
	events_init(&m->events);
	r = take_signals(m);
	if (r < 0)
		return r;
	r = sd_event_add_defer(m->event, &m->reaper, on_reap, m);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(m->reaper, SD_EVENT_OFF);
	r = metrics_init(m);
	if (r < 0)
		return r;
	r = turns_init(&m->turns, m->event, m->settings);
	if (r < 0)
		return r;
	r = pools_init(m);
	if (r < 0)
		return r;
	r = inventory_init(m);
	if (r < 0)
		return r;
	r = migrate_init(m);
	if (r < 0)
		return r;
	sd_event_set_watchdog(m->event, true);
	sensor_init(&m->sensor, m);
	r = watch_init(&m->watch, m);
	if (r < 0)
		return r;
	r = record_init(&m->record, m);
	if (r < 0)
		return r;
	r = find_executor(m);
	if (r < 0)
		return r;
	r = make_run_directory(m->settings->paths_run_directory);
	if (r < 0)
		return r;
	r = history_start(m);
	if (r < 0)
		return r;
	r = park_init(&m->park, m);
	if (r < 0)
		return r;
	r = begin(m);
	if (r < 0)
		return r;
	inventory_start(m);
	return warm_pool_init(&m->warm, m);
}

static void finish(struct mediator *m)
{
	listener_done(&m->listener);
	control_done(&m->control);
	api_done(&m->api);
	sensor_done(&m->sensor);
	warm_pool_done(&m->warm);
	record_done(&m->record);
	session_give_up_questions(m);
	control_give_up(m);
	watch_done(&m->watch);
	metrics_done(m);
	sd_event_source_disable_unref(m->device_tick);
	sd_event_source_disable_unref(m->history_tick);
	keep_finish(m);
	if (strcmp(m->settings->paths_at_end, "remove") == 0)
		rmdir(m->settings->paths_run_directory);
	// Only after STOP_LIMIT_NS is there anything left here; it dies with this process.
	if (!LIST_EMPTY(&m->channels) || !LIST_EMPTY(&m->sessions))
		return;
	tenants_reap(m);
	migrate_done(m);
	inventory_done(m);
	drain_done(m);
	if (m->turns.event) {
		pools_done(m);
		turns_done(&m->turns);
	}
	park_done(&m->park);
	events_done(&m->events);
	sd_event_source_disable_unref(m->stop_timer);
	sd_event_source_disable_unref(m->reaper);
	sd_event_unref(m->event);
	close_fd(&m->spare_fd);
}

static int run(const struct settings *settings)
{
	struct mediator m = { .settings = settings,
			      .spare_fd = -1,
			      .keeping = { .custody = { .link = -1 } } };
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

// What to do instead of being a daemon.
static struct {
	const char *backup, *restore; // a file
} command;

static int run_command(const struct settings *s)
{
	char error[2 * STORE_TEXT_BYTES];
	int r;

	if (!s->store_path[0]) {
		log_error("store.path names the database; it is not set");
		return EXIT_FAILURE;
	}
	if (command.backup)
		r = store_copy(s->store_path, command.backup, error, sizeof(error));
	else
		r = store_restore(s->store_path, command.restore, error, sizeof(error));
	if (r < 0)
		log_error("%s", error);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "Read settings from FILE", 0 },
	{ "socket", 's', "PATH", 0, "Listen on PATH (paths.socket)", 0 },
	{ "backend", 'b', "NAME", 0, "auto, cuda, cpu or null (gpu.backend)", 0 },
	{ "executor", 'e', "PATH", 0, "Program to start for each channel (paths.executor)", 0 },
	{ "set", 'S', "SECTION.KEY=VALUE", 0, "Set one setting", 0 },
	{ "help-settings", KEY_HELP_SETTINGS, NULL, 0, "List all settings, with defaults and ranges", 0 },
	{ "help-control", KEY_HELP_CONTROL, NULL, 0, "List what can be asked on the control socket", 0 },
	{ "help-api", KEY_HELP_API, NULL, 0, "Describe the HTTP API (OpenAPI)", 0 },
	{ "help-metrics", KEY_HELP_METRICS, NULL, 0, "List all metrics", 0 },
	{ "backup-store", KEY_BACKUP, "FILE", 0,
	  "Copy the database store.path to FILE, which must not exist, and end; a mediator may be using it",
	  0 },
	{ "restore-store", KEY_RESTORE, "FILE", 0,
	  "Make the backup FILE the database store.path, set the present one aside, and end; no mediator may "
	  "be "
	  "using it",
	  0 },
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
	case KEY_HELP_CONTROL: control_print_help(stdout); exit(EXIT_SUCCESS);
	case KEY_HELP_API: api_print_description(stdout); exit(EXIT_SUCCESS);
	case KEY_HELP_METRICS: metrics_print_help(stdout); exit(EXIT_SUCCESS);
	case KEY_BACKUP: command.backup = arg; break;
	case KEY_RESTORE: command.restore = arg; break;
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
	self_path = realpath("/proc/self/exe", NULL);
	self_argv = argv;
	settings_init(&settings);
	argp_parse(&parser, argc, argv, ARGP_NO_ARGS, NULL, &settings);
	log_level_from_name(settings.log_level, &level);
	log_init("vgpu-mediator", level);
	about_begin();
	if (command.backup || command.restore)
		return run_command(&settings);
	spawn_init();
	raise_file_limit();
	return run(&settings);
}
