// SPDX-License-Identifier: Apache-2.0
// vgpu-guest-check: whether this machine can use its vGPU, and whether it is ready for another personality.
// An ordinary program of the tenant, run by whoever wants to know; as root it may read a little more. Exit
// status: 0 ready, 1 not ready, 2 wrong usage.
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "guest/check/check.h"
#include "guest/check/report.h"

#define EXIT_NOT_READY 1
#define EXIT_WRONG     2

#define DEFAULT_LIMIT_S 60 // the first program on a busy host may wait for an executor
#define MOST_LIMIT_S	3600

#define KEY_JSON 1000
#define KEY_FOR	 1001
#define KEY_NO	 1002
#define KEY_ROOT 1003
#define KEY_TIME 1004

struct arguments {
	struct machine machine;
	bool json;
};

static const struct argp_option options[] = {
	{ "json", KEY_JSON, NULL, 0, "One JSON object instead of a table", 0 },
	{ "for", KEY_FOR, "PERSONALITY", 0,
	  "custom or nvidia: judge the machine for that one (default: the one it has)", 0 },
	{ "no-self-test", KEY_NO, NULL, 0, "Run nothing on the GPU", 0 },
	{ "time-limit", KEY_TIME, "SECONDS", 0, "For each thing that may hang (default 60)", 0 },
	{ "root", KEY_ROOT, "FOLDER", 0, "Look at the files of a machine below it; nothing is asked or run",
	  0 },
	{ 0 },
};

static void parse_for(const char *arg, struct argp_state *state, struct machine *m)
{
	if (!strcmp(arg, "custom"))
		m->target = PERSONALITY_CUSTOM;
	else if (!strcmp(arg, "nvidia"))
		m->target = PERSONALITY_NVIDIA;
	else
		argp_failure(state, EXIT_WRONG, 0, "--for %s: custom or nvidia", arg);
	m->target_given = true;
}

static void parse_limit(const char *arg, struct argp_state *state, struct machine *m)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (arg[0] < '0' || arg[0] > '9' || *end || !n || n > MOST_LIMIT_S)
		argp_failure(state, EXIT_WRONG, 0, "--time-limit %s: 1 to %d seconds", arg, MOST_LIMIT_S);
	m->limit_s = (unsigned)n;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case KEY_JSON: a->json = true; break;
	case KEY_FOR: parse_for(arg, state, &a->machine); break;
	case KEY_NO: a->machine.self_test = false; break;
	case KEY_TIME: parse_limit(arg, state, &a->machine); break;
	case KEY_ROOT: a->machine.root = strcmp(arg, "/") ? arg : ""; break;
	case ARGP_KEY_ARG: argp_usage(state); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp parser = {
		.options = options,
		.parser = parse_option,
		.doc = "Says whether this machine can use its vGPU, and what to do where it cannot.",
	};
	struct arguments a = { .machine = { .root = "", .self_test = true, .limit_s = DEFAULT_LIMIT_S } };
	cleanup_free struct check_result *results = calloc(n_checks, sizeof(*results));
	bool ready;

	argp_program_version = "vgpu-guest-check " VGPU_VERSION;
	argp_err_exit_status = EXIT_WRONG;
	argp_parse(&parser, argc, argv, 0, NULL, &a);
	if (!results) {
		perror("vgpu-guest-check");
		return EXIT_NOT_READY;
	}
	machine_look(&a.machine);
	ready = checks_run(&a.machine, results);
	(a.json ? report_json : report_table)(stdout, &a.machine, results, ready);
	machine_done(&a.machine);
	if (fflush(stdout) == EOF) {
		perror("vgpu-guest-check");
		return EXIT_NOT_READY;
	}
	return ready ? 0 : EXIT_NOT_READY;
}
