// SPDX-License-Identifier: Apache-2.0
// vgpu-run: runs an unmodified CUDA program as a tenant of a mediator, starting a private mediator when none
// runs. Exit status: the program's (128 + n if signal n killed it); 125 when vgpu-run itself fails, 126 and
// 127 when the program cannot be started.
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/units.h"
#include "run/host.h"
#include "run/program.h"

#define EXIT_OURS      125
#define STATS_TRIES    25
#define STATS_WAIT_NS  20000000
#define DEFAULT_WEIGHT 100

#define KEY_PRIVATE 1000
#define KEY_SET	    1001
#define KEY_STATS   1002
#define KEY_POOL    1003

struct arguments {
	struct host_options host;
	const char *name, *profile, *pool;
	uint32_t weight; // 0: not said
	uint64_t memory; // LINK_AS_PROFILE: not said
	bool stats;
	bool tenant_wanted; // one of --name, --weight, --memory, --profile, --pool
	char **program;
};

// ---- command line ----

static const struct argp_option options[] = {
	{ "backend", 'b', "NAME", 0, "auto, cuda, cpu or null (private mediator only)", 0 },
	{ "weight", 'w', "N", 0, "Share of the GPU relative to other tenants (default 100)", 0 },
	{ "memory", 'm', "SIZE", 0, "Device memory it may hold, as in 512M or 4G (default: no limit)", 0 },
	{ "profile", 'p', "NAME", 0, "Limits that the mediator's configuration has under this name", 0 },
	{ "pool", KEY_POOL, "NAME", 0, "Pool of the tenant (default: the mediator's tenant.pool)", 0 },
	{ "name", 'n', "NAME", 0, "Name of the tenant (default: the program's)", 0 },
	{ "socket", 's', "PATH", 0,
	  "The mediator's socket (default: $VGPU_SOCKET, else " LINK_SOCKET_DEFAULT ")", 0 },
	{ "private", KEY_PRIVATE, NULL, 0, "Start a private mediator even if another one runs", 0 },
	{ "set", KEY_SET, "SECTION.KEY=VALUE", 0,
	  "A setting of the private mediator (vgpu-mediator --help-settings)", 0 },
	{ "stats", KEY_STATS, NULL, 0, "Print what the program used when it has ended", 0 },
	{ 0 },
};

static void parse_weight(const char *arg, struct argp_state *state, struct arguments *a)
{
	uint64_t n;

	if (unit_parse(arg, 10, unit_none, &n) < 0 || n < VGPU_MIN_WEIGHT || n > VGPU_MAX_WEIGHT)
		argp_failure(state, EXIT_OURS, 0, "--weight %s: not a number from %d to %d", arg,
			     VGPU_MIN_WEIGHT, VGPU_MAX_WEIGHT);
	a->weight = (uint32_t)n;
	a->tenant_wanted = true;
}

static void parse_name(const char *arg, struct argp_state *state, struct arguments *a)
{
	if (!arg[0] || strlen(arg) > VGPU_MAX_NAME)
		argp_failure(state, EXIT_OURS, 0, "--name: 1 to %d characters", VGPU_MAX_NAME);
	a->name = arg;
	a->tenant_wanted = true;
}

static void parse_policy_name(const char **ret, const char *option, const char *arg, struct argp_state *state,
			      struct arguments *a)
{
	if (!arg[0] || strlen(arg) > VGPU_MAX_POLICY_NAME)
		argp_failure(state, EXIT_OURS, 0, "%s: 1 to %d characters", option, VGPU_MAX_POLICY_NAME);
	*ret = arg;
	a->tenant_wanted = true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case 'b': a->host.backend = arg; break;
	case 's': a->host.socket = arg; break;
	case 'w': parse_weight(arg, state, a); break;
	case 'n': parse_name(arg, state, a); break;
	case 'm':
		if (unit_parse(arg, 10, unit_sizes, &a->memory) < 0 || a->memory == LINK_AS_PROFILE)
			argp_failure(state, EXIT_OURS, 0, "--memory %s: not a size like 512M or 4G", arg);
		a->tenant_wanted = true;
		break;
	case 'p': parse_policy_name(&a->profile, "--profile", arg, state, a); break;
	case KEY_POOL: parse_policy_name(&a->pool, "--pool", arg, state, a); break;
	case KEY_PRIVATE: a->host.private_only = true; break;
	case KEY_STATS: a->stats = true; break;
	case KEY_SET:
		if (a->host.n_settings == HOST_MAX_SETTINGS)
			argp_failure(state, EXIT_OURS, 0, "more than %d times --set", HOST_MAX_SETTINGS);
		a->host.settings[a->host.n_settings++] = arg;
		break;
	case ARGP_KEY_ARGS: a->program = state->argv + state->next; break;
	case ARGP_KEY_NO_ARGS: argp_usage(state); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	.options = options,
	.parser = parse_option,
	.args_doc = "-- PROGRAM [ARGS...]",
	.doc = "Runs a CUDA program as a tenant of a shared GPU.\vWithout a running mediator a private one "
	       "is started for "
	       "the time of the program.",
};

// ---- the tenant ----

// The program's name with what a tenant's name may not have replaced.
static void default_name(const char *program, char ret[static LINK_NAME_BYTES])
{
	const char *slash = strrchr(program, '/');
	size_t n = 0;

	for (const char *p = slash ? slash + 1 : program; *p && n < VGPU_MAX_NAME; p++)
		ret[n++] = isalnum((unsigned char)*p) || strchr("._:-", *p) ? *p : '_';
	if (!n)
		ret[n++] = '_';
	ret[n] = 0;
}

// Where the program is to connect. *ret_id is 0 without a tenant of its own.
static int make_tenant(struct host *h, const struct arguments *a, uint32_t *ret_id,
		       char ret_socket[static 108])
{
	char name[LINK_NAME_BYTES];
	int r;

	if (a->name)
		snprintf(name, sizeof(name), "%s", a->name);
	else
		default_name(a->program[0], name);
	if (a->profile || a->pool)
		r = link_client_make_tenant_as(&h->link, name, a->profile, a->pool, a->weight, a->memory,
					       ret_id, ret_socket);
	else
		r = link_client_make_tenant(&h->link, name, a->weight ? a->weight : DEFAULT_WEIGHT,
					    a->memory == LINK_AS_PROFILE ? 0 : a->memory, ret_id, ret_socket);
	if (r == 0)
		return 0;
	if (r != -EPERM) {
		fprintf(stderr, "vgpu-run: %s\n", h->link.error);
		return r;
	}
	fprintf(stderr,
		"vgpu-run: this user may not make tenants at %s: the program runs in the user's default "
		"tenant%s\n",
		h->socket, a->tenant_wanted ? "; options about it have no effect" : "");
	*ret_id = 0;
	snprintf(ret_socket, 108, "%s", h->socket);
	return 0;
}

static void print_stats(struct host *h, uint32_t tenant)
{
	const struct link_status_row *row = NULL;
	struct link_report report = { 0 };
	char quota[32] = "no limit";

	if (!tenant) {
		fprintf(stderr, "vgpu-run: no statistics: the program had no tenant of its own\n");
		return;
	}
	// Until its executor is gone, so that nothing is missing.
	for (int i = 0; i < STATS_TRIES; i++) {
		struct timespec wait = { .tv_nsec = STATS_WAIT_NS };

		link_report_done(&report);
		if (link_client_status(&h->link, &report) < 0) {
			fprintf(stderr, "vgpu-run: no statistics: %s\n", h->link.error);
			return;
		}
		row = link_report_find(&report, tenant);
		if (!row || !row->channels)
			break;
		nanosleep(&wait, NULL);
	}
	if (row) {
		if (row->memory_quota)
			unit_print(quota, sizeof(quota), unit_sizes, row->memory_quota);
		fprintf(stderr,
			"vgpu-run: %s: weight %" PRIu32
			", GPU time %.3f s, contended %.3f of %.3f s in %" PRIu64 " turns, %" PRIu64
			" launches, %.1f MiB copied, %" PRIu64 " faults, memory quota %s, backend %s%s%s\n",
			row->name, row->weight, (double)row->gpu_ns / 1e9,
			(double)row->contended_gpu_ns / 1e9, (double)row->contended_ns / 1e9, row->turns,
			row->launches, (double)row->copy_bytes / (double)VGPU_MIB(1), row->faults, quota,
			report.end.backend, report.end.device[0] ? ", " : "", report.end.device);
	}
	link_report_done(&report);
}

// ---- the program ----

static int take_signals(void)
{
	static const int forwarded[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&set, forwarded[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void forward_signal(int signal_fd, pid_t pid)
{
	struct signalfd_siginfo si;

	while (read(signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		// What the terminal sends goes to the whole foreground group: the program has it already.
		if (si.ssi_code != SI_KERNEL)
			kill(pid, (int)si.ssi_signo);
	}
}

static int wait_for_program(struct host *h, struct program *p, int signal_fd)
{
	struct pollfd fds[3] = {
		{ .fd = p->pidfd, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = h->is_private ? h->pidfd : -1, .events = POLLIN },
	};

	for (;;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return EXIT_OURS;
		if (fds[0].revents)
			return program_finish(p);
		if (fds[1].revents)
			forward_signal(signal_fd, p->pid);
		if (fds[2].revents) {
			fprintf(stderr,
				"vgpu-run: the private mediator is gone; the program has lost its GPU\n");
			fds[2].fd = -1;
		}
	}
}

static int run(struct host *h, const struct arguments *a, int signal_fd)
{
	char libraries[4096], tools[4096], socket[108];
	struct program_paths paths = { .socket = socket, .libraries = libraries };
	struct program p;
	uint32_t tenant;
	int r, status;

	r = host_library_path(libraries, sizeof(libraries));
	if (r < 0) {
		fprintf(stderr, "vgpu-run: vgpu's libcuda.so.1 is not installed with this program\n");
		return EXIT_OURS;
	}
	if (host_tool_path(tools, sizeof(tools)) == 0)
		paths.tools = tools;
	if (make_tenant(h, a, &tenant, socket) < 0)
		return EXIT_OURS;
	r = program_start(&p, a->program, &paths, false);
	if (r < 0) {
		fprintf(stderr, "vgpu-run: cannot start %s: %s\n", a->program[0], strerror(-r));
		return EXIT_OURS;
	}
	status = wait_for_program(h, &p, signal_fd);
	if (a->stats)
		print_stats(h, tenant);
	return status;
}

int main(int argc, char **argv)
{
	struct arguments a = { .memory = LINK_AS_PROFILE };
	cleanup_fd int signal_fd = -1;
	struct host h;
	int status;

	argp_err_exit_status = EXIT_OURS;
	// In order: what stands behind PROGRAM belongs to it.
	argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &a);
	signal_fd = take_signals();
	if (signal_fd < 0) {
		perror("vgpu-run: signalfd");
		return EXIT_OURS;
	}
	if (host_open(&h, &a.host) < 0)
		return EXIT_OURS;
	status = run(&h, &a, signal_fd);
	host_close(&h);
	return status;
}
