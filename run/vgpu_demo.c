// SPDX-License-Identifier: Apache-2.0
// vgpu-demo: three tenants with weights 4, 2 and 1 run the same unmodified CUDA program on one GPU; a table
// shows what each gets, a verdict says whether that was right. Exit status: 0 if every result was right and
// every share within 3 points, 1 if not, 125 when the demo could not run.
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/units.h"
#include "run/demo_shares.h"
#include "run/demo_vm.h"
#include "run/host.h"
#include "run/program.h"

#define EXIT_OURS	125
#define SAMPLE_MS	100
#define SHOW_NS		NSEC_PER_SEC
#define START_LIMIT_NS	(120 * NSEC_PER_SEC) // until every program has launched something
#define VM_EXTRA_NS	(20 * NSEC_PER_SEC)
#define END_LIMIT_NS	(30 * NSEC_PER_SEC) // until a program has checked what is in flight, after SIGTERM
#define SHARE_TOLERANCE 3.0		    // points
#define JUDGE_NS	NSEC_PER_SEC	    // less time of common demand than this says nothing
#define OUTPUT_BYTES	4096
#define TABLE_LINES	(DEMO_TENANTS + 3)

#define KEY_PLAIN 1000
#define KEY_SET	  1001
#define KEY_VM	  1002
#define KEY_IMAGE 1003

static const char *const tenant_names[DEMO_TENANTS] = { "four", "two", "one" };
static const uint32_t tenant_weights[DEMO_TENANTS] = { 4, 2, 1 };

struct demo {
	struct host_options options;
	uint64_t seconds;
	const char *given_program;
	bool plain;
	struct demo_vm_options vm_options; // runner NULL: no machines, programs

	struct host host;
	bool null_backend;
	char backend[32], device[64];
	uint32_t tenant[DEMO_TENANTS];
	struct program program[DEMO_TENANTS]; // or QEMU
	struct demo_vm vm[DEMO_TENANTS];
	bool running[DEMO_TENANTS];
	int status[DEMO_TENANTS];
	bool ending;		  // SIGTERM was sent
	bool early[DEMO_TENANTS]; // ended before that
	char output[DEMO_TENANTS][OUTPUT_BYTES];
	size_t output_length[DEMO_TENANTS];

	struct demo_shares shares;
	struct demo_sample shown; // at the last table
	uint64_t launched_ns;	  // when every program had launched something; 0: not yet
	bool table_there;
	int signal_fd;
};

// ---- command line ----

static const struct argp_option options[] = {
	{ "backend", 'b', "NAME", 0, "auto, cuda, cpu or null", 0 },
	{ "seconds", 't', "N", 0, "How long (default 10)", 0 },
	{ "program", 'p', "PATH", 0, "CUDA program to run instead of the demo's own", 0 },
	{ "socket", 's', "PATH", 0, "Use the mediator that listens there", 0 },
	{ "plain", KEY_PLAIN, NULL, 0, "Do not redraw the table, print one below the other", 0 },
	{ "vm", KEY_VM, "RUNNER", 0, "In virtual machines, which this program starts (scripts/vm/run-guest)",
	  0 },
	{ "vm-image", KEY_IMAGE, "FILE", 0, "Their file system (scripts/vm/make-initramfs)", 0 },
	{ "set", KEY_SET, "SECTION.KEY=VALUE", 0, "A setting of the private mediator", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct demo *d = state->input;

	switch (key) {
	case 'b': d->options.backend = arg; break;
	case 'p': d->given_program = arg; break;
	case 's': d->options.socket = arg; break;
	case 't':
		if (unit_parse(arg, 10, unit_none, &d->seconds) < 0 || !d->seconds || d->seconds > 86400)
			argp_failure(state, EXIT_OURS, 0, "--seconds %s: not a number from 1 to 86400", arg);
		break;
	case KEY_PLAIN: d->plain = true; break;
	case KEY_VM: d->vm_options.runner = arg; break;
	case KEY_IMAGE: d->vm_options.image = arg; break;
	case KEY_SET:
		if (d->options.n_settings == HOST_MAX_SETTINGS)
			argp_failure(state, EXIT_OURS, 0, "more than %d times --set", HOST_MAX_SETTINGS);
		d->options.settings[d->options.n_settings++] = arg;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	.options = options,
	.parser = parse_option,
	.doc = "Three tenants with weights 4, 2 and 1 share one GPU.",
};

// ---- the table ----

static void bar(char *text, size_t n, double share)
{
	unsigned filled = (unsigned)(share * 20 + 0.5);

	for (size_t i = 0; i + 1 < n; i++)
		text[i] = i < filled ? '#' : '.';
	text[n - 1] = 0;
}

static void show(struct demo *d)
{
	const struct demo_sample *s = &d->shares.last;
	double interval = (double)(s->now_ns - d->shown.now_ns) / 1e9;
	const char *clear = d->plain ? "" : "\033[K";

	if (d->table_there && !d->plain)
		printf("\033[%dA", TABLE_LINES);
	printf("backend %s%s%s, all three in demand for %.1f s%s\n", d->backend, d->device[0] ? ", " : "",
	       d->device, (double)d->shares.common_ns / 1e9, clear);
	printf("%-8s %6s %10s %7s %9s %-20s %11s %9s %6s%s\n", "tenant", "weight", "GPU time", "target",
	       "achieved", "", "launches/s", "memory", "faults", clear);
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		uint64_t launches = s->tenant[i].launches - d->shown.tenant[i].launches;
		double achieved = demo_shares_achieved(&d->shares, i);
		char text[21];

		bar(text, sizeof(text), achieved);
		printf("%-8s %6" PRIu32 " %8.2f s %6.1f%% %8.1f%% %s %11.0f %5" PRIu64 " MiB %6" PRIu64
		       "%s\n",
		       tenant_names[i], tenant_weights[i], (double)s->tenant[i].gpu_ns / 1e9,
		       100 * demo_shares_target(&d->shares, i), 100 * achieved, text,
		       d->shown.now_ns && interval > 0 ? (double)launches / interval : 0,
		       s->tenant[i].memory / VGPU_MIB(1), s->tenant[i].faults, clear);
	}
	printf("%s\n", clear);
	fflush(stdout);
	d->shown = *s;
	d->table_there = true;
}

// ---- start ----

static int learn_backend(struct demo *d)
{
	struct link_report report;

	if (link_client_status(&d->host.link, &report) < 0) {
		fprintf(stderr, "vgpu-demo: %s\n", d->host.link.error);
		return -1;
	}
	memcpy(d->backend, report.end.backend, sizeof(d->backend));
	memcpy(d->device, report.end.device, sizeof(d->device));
	d->null_backend = strcmp(d->backend, "null") == 0;
	link_report_done(&report);
	return 0;
}

static int start_program(struct demo *d, unsigned i, const char *path, const char *libraries)
{
	// A backend that computes nothing gives nothing to check.
	const char *argv[] = { path, !d->given_program && d->null_backend ? "--unchecked" : NULL, NULL };
	char socket[108];
	struct program_paths paths = { .socket = socket, .libraries = libraries };
	int r;

	if (link_client_make_tenant(&d->host.link, tenant_names[i], tenant_weights[i], 0, &d->tenant[i],
				    socket) < 0) {
		fprintf(stderr, "vgpu-demo: tenant %s: %s\n", tenant_names[i], d->host.link.error);
		return -1;
	}
	d->vm_options.unchecked = d->null_backend;
	if (d->vm_options.runner)
		r = demo_vm_start(&d->vm[i], &d->program[i], &d->vm_options, socket);
	else
		r = program_start(&d->program[i], (char *const *)argv, &paths, true);
	if (r < 0 && d->vm_options.runner)
		return -1;
	if (r < 0) {
		fprintf(stderr, "vgpu-demo: %s: %s\n", path, strerror(-r));
		return -1;
	}
	d->running[i] = true;
	return 0;
}

static int start_programs(struct demo *d)
{
	char libraries[4096], path[4096];

	if (host_library_path(libraries, sizeof(libraries)) < 0) {
		fprintf(stderr, "vgpu-demo: vgpu's libcuda.so.1 is not installed with this program\n");
		return -1;
	}
	if (d->given_program) {
		snprintf(path, sizeof(path), "%s", d->given_program);
	} else if (host_demo_program(path, sizeof(path)) < 0) {
		fprintf(stderr, "vgpu-demo: vgpu-demo-workload is not installed with this program; --program "
				"names another\n");
		return -1;
	}
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		d->shares.weight[i] = tenant_weights[i];
		if (start_program(d, i, path, libraries) < 0)
			return -1;
	}
	return 0;
}

// ---- while they run ----

// Keeps the end of what it wrote. False at the end of its output.
static bool read_output(struct demo *d, unsigned i)
{
	char *text = d->output[i];
	size_t *length = &d->output_length[i];
	ssize_t n;

	if (*length > OUTPUT_BYTES / 2) {
		memmove(text, text + *length - OUTPUT_BYTES / 4, OUTPUT_BYTES / 4);
		*length = OUTPUT_BYTES / 4;
	}
	n = read(d->program[i].output_fd, text + *length, OUTPUT_BYTES - 1 - *length);
	if (n <= 0) {
		close_fd(&d->program[i].output_fd);
		return false;
	}
	*length += (size_t)n;
	text[*length] = 0;
	return true;
}

static int sample(struct demo *d)
{
	struct demo_sample s = { 0 };
	struct link_report report;
	bool all_launched = true;

	if (link_client_status(&d->host.link, &report) < 0) {
		fprintf(stderr, "vgpu-demo: %s\n", d->host.link.error);
		return -1;
	}
	s.now_ns = report.end.now_ns;
	memcpy(d->backend, report.end.backend, sizeof(d->backend));
	memcpy(d->device, report.end.device, sizeof(d->device));
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		const struct link_status_row *row = link_report_find(&report, d->tenant[i]);

		if (!row)
			continue;
		s.tenant[i].gpu_ns = row->gpu_ns;
		s.tenant[i].contended_gpu_ns = row->contended_gpu_ns;
		s.tenant[i].contended_ns = row->contended_ns;
		s.tenant[i].launches = row->launches;
		s.tenant[i].memory = row->memory_used;
		s.tenant[i].faults = row->faults;
		all_launched = all_launched && row->launches;
	}
	link_report_done(&report);
	if (all_launched && !d->launched_ns)
		d->launched_ns = s.now_ns;
	demo_shares_add(&d->shares, &s);
	return 0;
}

enum event { EVENT_NONE, EVENT_INTERRUPTED, EVENT_PROGRAM_ENDED };

// Waits at most ms for something to happen, reads what the programs write.
static enum event wait_events(struct demo *d, int ms)
{
	struct pollfd fds[1 + 2 * DEMO_TENANTS] = { { .fd = d->signal_fd, .events = POLLIN } };
	enum event event = EVENT_NONE;

	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		fds[1 + i] =
		    (struct pollfd){ .fd = d->running[i] ? d->program[i].pidfd : -1, .events = POLLIN };
		fds[1 + DEMO_TENANTS + i] =
		    (struct pollfd){ .fd = d->program[i].output_fd, .events = POLLIN };
	}
	if (poll(fds, 1 + 2 * DEMO_TENANTS, ms) <= 0)
		return EVENT_NONE;
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		if (fds[1 + DEMO_TENANTS + i].revents)
			read_output(d, i);
		if (!fds[1 + i].revents)
			continue;
		d->status[i] = program_finish(&d->program[i]);
		d->running[i] = false;
		d->early[i] = !d->ending;
		while (d->program[i].output_fd >= 0 && read_output(d, i))
			;
		if (d->vm_options.runner && !d->status[i])
			d->status[i] = demo_vm_status(d->output[i]);
		event = EVENT_PROGRAM_ENDED;
	}
	if (fds[0].revents) {
		struct signalfd_siginfo si;

		if (read(d->signal_fd, &si, sizeof(si)) > 0)
			event = EVENT_INTERRUPTED;
	}
	return event;
}

static bool any_running(const struct demo *d)
{
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		if (d->running[i])
			return true;
	}
	return false;
}

static void signal_programs(struct demo *d, int sig)
{
	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		if (d->running[i] && d->vm_options.runner && sig == SIGTERM)
			demo_vm_end_program(&d->vm[i]);
		else if (d->running[i])
			kill(d->program[i].pid, sig);
	}
}

// Guests' demand has more gaps than programs': a second of it is too few turns to judge by.
static uint64_t judge_ns(const struct demo *d)
{
	return d->vm_options.runner ? 3 * JUDGE_NS : JUDGE_NS;
}

// Guests that are translated are not always fast enough to keep the GPU in demand: they get longer.
static bool time_is_over(const struct demo *d, uint64_t passed_ns)
{
	uint64_t wanted = d->seconds * NSEC_PER_SEC;

	if (d->vm_options.runner && d->shares.common_ns < judge_ns(d) && !d->null_backend)
		wanted += VM_EXTRA_NS;
	return passed_ns >= wanted;
}

// 0: the time is over, or a program ended, or the user had enough.
static int watch(struct demo *d)
{
	uint64_t begin = clock_now_ns(), next_sample = begin;

	for (;;) {
		uint64_t now = clock_now_ns();

		if (now >= next_sample) {
			if (sample(d) < 0)
				return -1;
			next_sample = now + SAMPLE_MS * NSEC_PER_MSEC;
			if (d->shares.last.now_ns - d->shown.now_ns >= SHOW_NS)
				show(d);
		}
		if (d->launched_ns && time_is_over(d, clock_now_ns() - d->launched_ns))
			return 0;
		if (!d->launched_ns && now - begin >= START_LIMIT_NS) {
			fprintf(stderr, "vgpu-demo: the programs did not all start to work\n");
			return -1;
		}
		if (wait_events(d, SAMPLE_MS) != EVENT_NONE)
			return 0;
	}
}

static void end_programs(struct demo *d)
{
	uint64_t limit = clock_now_ns() + END_LIMIT_NS;

	d->ending = true;
	signal_programs(d, SIGTERM);
	while (any_running(d) && clock_now_ns() < limit)
		wait_events(d, SAMPLE_MS);
	signal_programs(d, SIGKILL);
	while (any_running(d))
		wait_events(d, SAMPLE_MS);
}

// ---- verdict ----

struct verdict {
	char faults[512]; // empty: none
	size_t length;
};

static void fault(struct verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fault(struct verdict *v, const char *format, ...)
{
	va_list ap;
	int n;

	if (v->length && v->length < sizeof(v->faults) - 2)
		v->length += (size_t)snprintf(v->faults + v->length, sizeof(v->faults) - v->length, "; ");
	va_start(ap, format);
	n = vsnprintf(v->faults + v->length, sizeof(v->faults) - v->length, format, ap);
	va_end(ap);
	v->length += n > 0 ? (size_t)n : 0;
	if (v->length >= sizeof(v->faults))
		v->length = sizeof(v->faults) - 1;
}

// The last line "checked N results, M wrong" of a program, if it wrote one.
static bool find_checked(const char *output, uint64_t *ret_results, uint64_t *ret_wrong)
{
	const char *at = NULL;

	for (const char *p = strstr(output, "checked "); p; p = strstr(p + 1, "checked "))
		at = p;
	return at &&
	       sscanf(at, "checked %" SCNu64 " results, %" SCNu64 " wrong", ret_results, ret_wrong) == 2;
}

static int judge(struct demo *d)
{
	double error = demo_shares_error(&d->shares);
	bool judged = d->shares.common_ns >= judge_ns(d);
	struct verdict v = { .length = 0 };
	uint64_t results = 0;

	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		uint64_t n, wrong;

		if (find_checked(d->output[i], &n, &wrong)) {
			results += n;
			if (wrong)
				fault(&v, "tenant %s: %" PRIu64 " of %" PRIu64 " results wrong",
				      tenant_names[i], wrong, n);
		}
		// A program of somebody else's need not handle SIGTERM.
		if (d->early[i])
			fault(&v, "tenant %s: its program ended before its time, with status %d",
			      tenant_names[i], d->status[i]);
		else if (d->status[i] && !(d->given_program && d->status[i] == 128 + SIGTERM))
			fault(&v, "tenant %s: its program ended with status %d", tenant_names[i],
			      d->status[i]);
	}
	if (judged && error > SHARE_TOLERANCE)
		fault(&v, "a share was off by %.1f points", error);
	if (!judged && !d->null_backend && !d->vm_options.runner)
		fault(&v, "shares not judged: all three were in demand together for %.1f s only",
		      (double)d->shares.common_ns / 1e9);
	if (v.length) {
		printf("FAILED: %s\n", v.faults);
		return EXIT_FAILURE;
	}
	if (d->null_backend && !results)
		printf("OK: results not checked, the null backend computes nothing; ");
	else
		printf("OK: %" PRIu64 " results checked, 0 wrong; ", results);
	if (judged)
		printf("shares within %.1f points of 4:2:1 over %.1f s\n", error,
		       (double)d->shares.common_ns / 1e9);
	else if (d->null_backend)
		printf("shares not judged, the null backend keeps nobody waiting\n");
	else
		printf("shares not judged, the guests were in demand together for %.1f s only\n",
		       (double)d->shares.common_ns / 1e9);
	return EXIT_SUCCESS;
}

static int run(struct demo *d)
{
	int r = learn_backend(d);

	if (r == 0)
		r = start_programs(d);
	if (r == 0)
		r = watch(d);
	end_programs(d);
	if (r < 0)
		return EXIT_OURS;
	return judge(d);
}

int main(int argc, char **argv)
{
	static struct demo d = { .seconds = 10, .signal_fd = -1 };
	sigset_t set;
	int status;

	argp_err_exit_status = EXIT_OURS;
	argp_parse(&parser, argc, argv, ARGP_NO_ARGS, NULL, &d);
	d.plain = d.plain || !isatty(STDOUT_FILENO);
	for (unsigned i = 0; i < DEMO_TENANTS; i++)
		d.program[i] = (struct program){ .pidfd = -1, .output_fd = -1 };
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	d.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (host_open(&d.host, &d.options) < 0)
		return EXIT_OURS;
	status = run(&d);
	for (unsigned i = 0; i < DEMO_TENANTS; i++)
		demo_vm_stop(&d.vm[i]);
	host_close(&d.host);
	close_fd(&d.signal_fd);
	return status;
}
