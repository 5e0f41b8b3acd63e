// SPDX-License-Identifier: Apache-2.0
// vgpu-admin events: what happens, as it happens. The stream is taken up again where it broke off.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/call.h"
#include "admin/commands.h"
#include "admin/format.h"
#include "admin/sse.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define FIRST_PAUSE_MS	 1000u
#define LONGEST_PAUSE_MS 30000u

struct events {
	struct admin_call *call;
	struct sse sse;
	long left;    // events until the end; 0: no end
	bool enough;  // left came to its end
	bool arrived; // something came over this connection
};

// ---- printing ----

static enum colour colour_of(const char *kind)
{
	static const struct {
		const char *kind;
		enum colour colour;
	} kinds[] = {
		{ "watchdog.kill", COLOUR_BAD },     { "tenant.quarantine", COLOUR_BAD },
		{ "store.degraded", COLOUR_BAD },    { "lost", COLOUR_BAD },
		{ "tenant.strike", COLOUR_WARNING }, { "gpu.health", COLOUR_WARNING },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].kind, kind) == 0)
			return kinds[i].colour;
	}
	return COLOUR_NONE;
}

// "2026-11-29 10:00:00  tenant.quarantine   blue: is kept out  cause=hang"
static void print_event(const struct output *o, const char *kind, const json_t *event)
{
	cleanup_free char *at = format_value(json_object_get(event, "at_ms"), FORMAT_AT_MS, NULL);
	cleanup_free char *clean_kind = text_clean(kind);
	cleanup_free char *tenant = format_value(json_object_get(event, "name"), FORMAT_TEXT, NULL);
	cleanup_free char *text = format_value(json_object_get(event, "text"), FORMAT_TEXT, NULL);
	enum colour colour = o->colours ? colour_of(kind) : COLOUR_NONE;
	const char *name;
	json_t *value;

	fprintf(o->out, "%-19s  %s%-17s%s  ", at, colour_begin(colour), clean_kind, colour_end(colour));
	if (json_object_get(event, "name"))
		fprintf(o->out, "%s: ", tenant);
	fputs(text, o->out);
	json_object_foreach(json_object_get(event, "fields"), name, value)
	{
		cleanup_free char *clean_name = text_clean(name);
		cleanup_free char *shown = format_value(value, FORMAT_JSON, NULL);

		bool words = strchr(shown, ' ');

		fprintf(o->out, words ? "  %s='%s'" : "  %s=%s", clean_name, shown);
	}
	fputc('\n', o->out);
}

static bool on_event(void *opaque, const char *type, const char *data)
{
	struct events *e = opaque;
	const struct output *o = &e->call->output;
	json_t *event = json_loads(data, 0, NULL);

	e->arrived = true;
	if (e->call->json) {
		text_put_json(o->out, data, strlen(data));
		fputc('\n', o->out);
	} else if (json_is_object(event)) {
		print_event(o, type, event);
	}
	json_decref(event);
	if (fflush(o->out) != 0)
		return false;
	e->enough = e->left == 1;
	if (e->left)
		e->left--;
	return !e->enough;
}

// ---- the stream ----

static bool on_bytes(void *opaque, const char *bytes, size_t n)
{
	return sse_take(&((struct events *)opaque)->sse, bytes, n);
}

static void pause_for(unsigned ms)
{
	struct timespec left = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&left, NULL);
}

// What the end of a connection means. ADMIN_OK: it is to be taken up again.
static enum admin_exit judge(struct events *e, int r, const struct http_answer *a, bool first)
{
	if (r < 0 && first && a->status != 200) {
		admin_complain("%s", http_failure(e->call->http));
		return ADMIN_NO_CONNECTION;
	}
	if (r == 0 && a->status != 200 && (first || a->status < 500))
		return admin_explain_refusal(e->call, a);
	return ADMIN_OK;
}

static enum admin_exit follow(struct events *e)
{
	cleanup_free char *path = admin_route_path(e->call);
	unsigned pause_ms = FIRST_PAUSE_MS;
	bool told = false;

	for (bool first = true;; first = false) {
		struct http_answer a;
		enum admin_exit verdict;
		int r;

		e->arrived = false;
		r = http_stream(e->call->http, path, sse_last_id(&e->sse), on_bytes, e, &a);
		verdict = e->enough ? ADMIN_OK : judge(e, r, &a, first);
		if (a.status == 200)
			told = false;
		http_answer_done(&a);
		if (e->enough || verdict != ADMIN_OK || ferror(e->call->output.out))
			return verdict;
		sse_reset(&e->sse);
		if (!told)
			admin_complain("the connection to %s has ended; trying again",
				       http_place(e->call->http));
		told = true;
		if (e->arrived)
			pause_ms = FIRST_PAUSE_MS;
		pause_for(e->sse.retry_ms && pause_ms == FIRST_PAUSE_MS ? e->sse.retry_ms : pause_ms);
		pause_ms = pause_ms < LONGEST_PAUSE_MS / 2 ? 2 * pause_ms : LONGEST_PAUSE_MS;
	}
}

// ---- the command ----

// Those that were, and where the stream is to go on.
static enum admin_exit print_last(struct events *e)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(e->call, &a);
	json_t *event;
	size_t i;

	if (r != ADMIN_OK)
		return r;
	json_array_foreach(json_object_get(a.json, "events"), i, event)
	{
		cleanup_free char *text = text_memory(json_dumps(event, JSON_COMPACT));
		const json_t *id = json_object_get(event, "id");
		const char *kind = json_string_value(json_object_get(event, "kind"));

		if (admin_flag(e->call, "follow")) {
			cleanup_free char *line =
			    text_print("id: %" JSON_INTEGER_FORMAT "\n\n", json_integer_value(id));

			sse_take(&e->sse, line, strlen(line));
			if (!on_event(e, kind ? kind : "-", text))
				break;
		} else if (!e->call->json) {
			print_event(&e->call->output, kind ? kind : "-", event);
		}
	}
	if (!admin_flag(e->call, "follow"))
		admin_print_json(e->call, &a);
	admin_answer_done(&a);
	return ADMIN_OK;
}

static int events_run(struct admin_call *c)
{
	const char *count = admin_option(c, "count");
	struct events e = { .call = c, .left = count ? strtol(count, NULL, 10) : 0 };
	enum admin_exit r = ADMIN_OK;

	if (!admin_connect(c))
		return ADMIN_USAGE;
	sse_init(&e.sse, on_event, &e);
	if (admin_option(c, "last"))
		r = print_last(&e);
	if (r == ADMIN_OK && !e.enough && (!admin_option(c, "last") || admin_flag(c, "follow"))) {
		for (size_t i = 0; c->action->options[i].name; i++) {
			if (strcmp(c->action->options[i].name, "last") == 0)
				c->option[i] = NULL; // of the list, not of the stream
		}
		r = follow(&e);
	}
	sse_done(&e.sse);
	return r;
}

static const struct admin_option options[] = {
	{ "last", "N", "last", TYPE_INTEGER, NAMES_NONE, NULL, "The last N events, and no more.", 'n' },
	{ "kind", "KIND", "kind", TYPE_TEXT, NAMES_NONE, NULL,
	  "Only those of one kind, such as tenant.quarantine, gpu.health or operator.changed." },
	{ "follow", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "With --last: go on with those that come.",
	  'f' },
	{ "count", "N", NULL, TYPE_INTEGER, NAMES_NONE, NULL, "End after so many events." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "", "Shows events as they come, until it is interrupted.", "GET", "/v1/events", NULL, options,
	  .run = events_run },
	{ 0 },
};

static const char *const examples[] = { "events --last=20 --follow", "what was lately, and what comes",
					"events --json", "a JSON object on each line, for programs", NULL };

const struct admin_command admin_command_events = { "events", "What happens, as it happens",
						    "When the connection breaks off, as it does when the "
						    "mediator is restarted, it is made again, and the stream "
						    "goes on behind the last event that was shown.",
						    actions, examples };
