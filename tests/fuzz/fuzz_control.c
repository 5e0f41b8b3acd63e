// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: requests of operators, out of arbitrary bytes, given to the real operations over a
// mediator with a tenant but without sockets and executors. Whatever comes, there is an answer, now or later,
// and it is one object that says ok or what is wrong. An input that begins with an odd byte is the request as
// it came; else its bytes choose an operation, fields and values, mostly of its own.
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "mediator/tenant.h"

#define MOST_OPERATIONS 256
#define LINE_BYTES	8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

// What main.c has; nothing is reaped here, since there are no sessions and channels.
void mediator_reap(struct mediator *m)
{
	(void)m;
}

void mediator_stop(struct mediator *m)
{
	(void)m;
}

static struct settings settings;
static struct mediator mediator = { .settings = &settings,
				    .spare_fd = -1,
				    .keeping = { .custody = { .link = -1 } } };
static const struct control_operation *operations[MOST_OPERATIONS];
static unsigned n_operations;
static unsigned awaited;

static void must(bool ok)
{
	if (!ok)
		abort();
}

// ---- answers ----

static void check_answer(const json_t *answer)
{
	const json_t *ok = json_object_get(answer, "ok");

	must(json_is_object(answer) && json_is_boolean(ok));
	if (json_is_true(ok))
		return;
	must(json_is_string(json_object_get(answer, "error")));
	must(json_is_string(json_object_get(answer, "text")));
}

static void await(void *link, struct control_later *l)
{
	must(link == &mediator);
	awaited += l ? 1 : -1u;
}

static void take_answer(void *link, json_t *answer)
{
	must(link == &mediator && awaited == 1);
	awaited--;
	check_answer(answer);
	json_decref(answer);
}

static const struct control_door door = { await, take_answer };

static void ask(const char *line, size_t n, enum control_role role)
{
	struct control_peer peer = { .role = role, .who = "fuzz", .door = &door, .link = &mediator };
	bool later = false;
	json_t *answer = control_answer(&mediator, &peer, line, n, &later);

	must(later == !answer);
	if (answer) {
		check_answer(answer);
		json_decref(answer);
	} else {
		must(awaited == 1);
		control_retries_done(&mediator.control);
		must(awaited == 0);
	}
}

// ---- requests out of bytes ----

struct source {
	const uint8_t *data;
	size_t left;
	char line[LINE_BYTES];
	size_t n;
};

static unsigned take(struct source *s)
{
	if (!s->left)
		return 0;
	s->left--;
	return *s->data++;
}

static void put(struct source *s, const char *text)
{
	size_t n = strlen(text);

	if (s->n + n >= sizeof(s->line))
		return;
	memcpy(s->line + s->n, text, n);
	s->n += n;
}

static void put_value(struct source *s)
{
	static const char *const values[] = {
		"0",
		"1",
		"-1",
		"true",
		"null",
		"\"\"",
		"\"x\"",
		"\"default\"",
		"1e308",
		"1.5",
		"[]",
		"{}",
		"\"8 ms\"",
		"\"4G\"",
		"\"uid-1000\"",
		"\"high\"",
		"100",
		"\"600 s\"",
		"\"\\u0000\"",
		"[[[[[]]]]]",
		"9223372036854775807",
		"\"latency\"",
		"\"GPU-00000000-0000-0000-0000-000000000000\"",
		"\"\xff\"",
		"false",
		"18446744073709551615",
		"\"99999999999999999999T\"",
		"\"/tmp/x\"",
		"4294967297",
		"\"../../x\"",
		"1000",
		"12.5",
	};

	put(s, values[take(s) % (sizeof(values) / sizeof(values[0]))]);
}

static void put_name(struct source *s, const struct control_operation *o)
{
	unsigned n = 0, wanted, kind = take(s);

	for (const struct control_field *f = o->fields; f->name; f++)
		n++;
	wanted = n ? kind % (n + 1) : 0;
	put(s, "\"");
	if (wanted < n)
		put(s, o->fields[wanted].name);
	else if (kind & 0x40)
		put(s, policy_name((enum policy_item)(kind % POLICY_ITEMS)));
	else
		put(s, kind & 1 ? "id" : "x");
	put(s, "\":");
}

static void build(struct source *s)
{
	const struct control_operation *o = operations[take(s) % n_operations];
	unsigned fields = take(s) % 8;

	put(s, "{\"op\":\"");
	put(s, o->name);
	put(s, "\"");
	for (unsigned i = 0; i < fields; i++) {
		put(s, ",");
		put_name(s, o);
		put_value(s);
	}
	put(s, "}");
}

// ---- the mediator ----

static void note(void *opaque, const struct control_operation *o)
{
	(void)opaque;
	must(n_operations < MOST_OPERATIONS);
	operations[n_operations++] = o;
}

static void start(void)
{
	struct mediator *m = &mediator;
	struct tenant *t;

	log_init("fuzz-control", LOG_ERROR); // what is refused is what this is about
	settings_init(&settings);
	snprintf(settings.paths_sensor, sizeof(settings.paths_sensor), "/bin/true");
	snprintf(settings.paths_run_directory, sizeof(settings.paths_run_directory), "/nonexistent");
	m->backend = "null";
	must(sd_event_default(&m->event) >= 0);
	RB_INIT(&m->tenants);
	TAILQ_INIT(&m->pools);
	LIST_INIT(&m->sessions);
	LIST_INIT(&m->channels);
	events_init(&m->events);
	must(turns_init(&m->turns, m->event, &settings) >= 0);
	must(pools_init(m) >= 0);
	must(inventory_init(m) >= 0);
	sensor_init(&m->sensor, m);
	must(watch_init(&m->watch, m) >= 0);
	must(record_init(&m->record, m) >= 0);
	must(tenant_for_uid(m, 1000, &t) == 0);
	control_each(note, NULL);
}

static void forget_pools(void)
{
	struct pool *p, *next;

	TAILQ_FOREACH_SAFE (p, &mediator.pools, link, next) {
		if (!p->n_tenants)
			pool_remove(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct source s = { .data = data, .left = bytes };
	unsigned kind;

	if (!n_operations)
		start();
	kind = take(&s);
	if (kind & 1)
		ask((const char *)s.data, s.left, CONTROL_ADMIN);
	else {
		build(&s);
		ask(s.line, s.n, kind & 2 ? CONTROL_VIEWER : CONTROL_ADMIN);
	}
	forget_pools();
	return 0;
}
