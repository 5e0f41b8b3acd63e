// SPDX-License-Identifier: Apache-2.0
//
// vgpu-bench-channel: times the way between a program and its executor without any GPU work: bells, and round
// trips while both sides are awake, while the program sleeps, while both sleep. In a virtual machine a bell
// is a trapped store and a wake-up an interrupt; in process mode they are an eventfd and a futex. Prints rows
// as vgpu-bench-driver does. With --only ROW --count N it does that N times in one round, for bench.py to see
// what the host's processes spend on it.
#include "guest/client/client_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "guest/client/calls_gen.h"

enum { ROUNDS = 7 };
#define IDLE_NS 20000000l // longer than any executor polls an empty ring

struct channel_row {
	const char *name;
	uint64_t spin_ns; // how long the program polls before it sleeps
	int count;	  // in one round
	bool idle;	  // the executor sleeps before each
	bool bell;	  // no round trip: a bell alone
};

static const struct channel_row rows[] = {
	{ .name = "bell", .count = 2000, .bell = true },
	{ .name = "ping_polled", .spin_ns = NSEC_PER_SEC, .count = 2000 },
	{ .name = "ping_slept", .spin_ns = 0, .count = 200 },
	{ .name = "ping_idle", .spin_ns = 0, .count = 20, .idle = true },
};

static void ping(struct vgpu_client *c, uint64_t value)
{
	struct record_ping r = { .value = value };
	struct reply_ping reply = { 0 };
	int result = vgpu_call_ping(c, &r, &reply);

	if (result || reply.value != value) {
		fprintf(stderr, "ping %llu: result %d, value %llu\n", (unsigned long long)value, result,
			(unsigned long long)reply.value);
		exit(2);
	}
}

// Microseconds of one of so many; the pauses do not count.
static double one_round(struct vgpu_client *c, const struct channel_row *row, int count)
{
	uint64_t spent = 0;

	c->spin_ns = row->spin_ns;
	ping(c, 0);
	for (int i = 1; i <= count; i++) {
		uint64_t start;

		if (row->idle)
			nanosleep(&(struct timespec){ .tv_nsec = IDLE_NS }, NULL);
		start = clock_now_ns();
		if (row->bell)
			c->transport->ring(c);
		else
			ping(c, (uint64_t)i);
		spent += clock_now_ns() - start;
	}
	return (double)spent / count / 1e3;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct vgpu_client *c, const struct channel_row *row, int rounds, int count)
{
	double us[ROUNDS];

	for (int i = 0; i < rounds; i++)
		us[i] = one_round(c, row, count);
	qsort(us, (size_t)rounds, sizeof(us[0]), ascending);
	printf("{\"row\": \"%s\", \"unit\": \"us\", \"value\": %.6g, \"best\": %.6g, \"rounds\": %d}\n",
	       row->name, us[rounds / 2], us[0], rounds);
	fflush(stdout);
}

static int usage(void)
{
	fprintf(stderr, "usage: vgpu-bench-channel [--quick] [--only ROW --count N]\n");
	return 64;
}

int main(int argc, char **argv)
{
	struct vgpu_client *c;
	const char *only = NULL;
	int rounds = ROUNDS;
	long count = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			rounds = 3;
		else if (!strcmp(argv[i], "--only") && i + 1 < argc)
			only = argv[++i];
		else if (!strcmp(argv[i], "--count") && i + 1 < argc)
			count = strtol(argv[++i], NULL, 10);
		else
			return usage();
	}
	if (count < 0 || count > 1000000 || !only != !count)
		return usage();
	if (vgpu_client_open(NULL, &c) < 0) {
		fprintf(stderr, "no vgpu: %s\n", vgpu_client_open_error());
		return 2;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!only)
			measure(c, &rows[i], rounds, rows[i].count);
		else if (!strcmp(only, rows[i].name))
			measure(c, &rows[i], 1, (int)count);
	}
	vgpu_client_close(c);
	return 0;
}
