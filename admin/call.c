// SPDX-License-Identifier: Apache-2.0
// Asking the API and printing what it answers; see the header.
#include "admin/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/confirm.h"
#include "admin/text.h"
#include "common/cleanup.h"

static FILE *complaints; // NULL: stderr

void admin_complain_to(FILE *to)
{
	complaints = to;
}

void admin_complain(const char *format, ...)
{
	FILE *out = complaints ? complaints : stderr;
	va_list args;

	fflush(stdout);
	if (!complaints)
		fputs("vgpu-admin: ", out);
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fputc('\n', out);
}

enum admin_exit admin_usage_error(const struct admin_call *c, const char *format, ...)
{
	va_list args;

	fputs("vgpu-admin: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n'vgpu-admin help%s%s' says more.\n", c->command ? " " : "",
		c->command ? c->command->name : "");
	return ADMIN_USAGE;
}

const char *admin_option(const struct admin_call *c, const char *name)
{
	for (size_t i = 0; c->action->options && c->action->options[i].name; i++) {
		if (strcmp(c->action->options[i].name, name) == 0)
			return c->option[i];
	}
	return NULL;
}

bool admin_flag(const struct admin_call *c, const char *name)
{
	return admin_option(c, name) != NULL;
}

bool admin_connect(struct admin_call *c)
{
	cleanup_free char *error = NULL;

	if (!c->http)
		c->http = http_new(&c->target, &error);
	if (!c->http)
		admin_usage_error(c, "%s", error);
	return c->http != NULL;
}

void admin_call_done(struct admin_call *c)
{
	json_decref(c->items);
	http_free(take_ptr(c->http));
}

// ---- refusals ----

static bool is_problem(const json_t *problem)
{
	return json_is_string(json_object_get(problem, "detail")) ||
	       json_is_string(json_object_get(problem, "title"));
}

// The group that a setting names, from the mediator if it tells this user; "" if not. To be freed.
static char *group_of(struct admin_call *c, const char *name)
{
	char *group;
	struct http_answer a;
	json_t *config = NULL;
	const char *value;

	if (http_ask(c->http, "GET", "/v1/config", NULL, &a) == 0 && a.status == 200)
		config = json_loadb(a.body ? a.body : "", a.len, 0, NULL);
	http_answer_done(&a);
	value = json_string_value(
	    json_object_get(json_object_get(json_object_get(config, "settings"), name), "value"));
	group = text_clean(value ? value : "");
	json_decref(config);
	return group;
}

static void hint_permission(struct admin_call *c)
{
	bool changes = c->action && c->action->method && strcmp(c->action->method, "GET") != 0;
	cleanup_free char *group = NULL;

	if (c->target.url) {
		fputs("The token's role does not allow it: one of the role admin is needed.\n", stderr);
		return;
	}
	group = group_of(c, "control.group");
	if (group[0])
		fprintf(stderr,
			"Become root, or a member of the group %s (control.group) and log in again.\n",
			group);
	else
		fprintf(
		    stderr,
		    "Become root, or have the mediator's setting control.group%s name a group of yours.\n",
		    changes ? "" : " (or api.viewer_group, to look only)");
}

// The command that lists what the server says there is none of.
static const char *lister_of(const struct admin_call *c, const char *detail)
{
	static const char *const words[][2] = {
		{ "no tenant ", "tenant" }, { "no pool ", "pool" }, { "no profile ", "profile" },
		{ "no VM ", "vm" },	    { "no vGPU ", "slot" }, { "no session ", "session" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strstr(detail, words[i][0]))
			return words[i][1];
	}
	return c->command && admin_find_action(c->command, "list") ? c->command->name : NULL;
}

static void hint(struct admin_call *c, long status, const char *error, const char *detail)
{
	const char *lister = lister_of(c, detail);

	if (status == 401)
		fputs("Say who you are with --token-file FILE; the mediator's api.tokens lists who may.\n",
		      stderr);
	else if (status == 403)
		hint_permission(c);
	else if (status == 405 || (status == 404 && strcmp(error, "unknown") != 0))
		fputs("The mediator is of another version than this vgpu-admin, or has no such API.\n",
		      stderr);
	else if (status == 404 && lister)
		fprintf(stderr, "'vgpu-admin %s list' shows what there is.\n", lister);
	else if (status == 404)
		fputs("'vgpu-admin status' shows what there is.\n", stderr);
	else if (status >= 500)
		fputs("The mediator's log says more: journalctl -u vgpu-mediator\n", stderr);
}

enum admin_exit admin_explain_refusal(struct admin_call *c, const struct http_answer *a)
{
	json_t *problem = json_loadb(a->body ? a->body : "", a->len, 0, NULL);
	const char *detail = json_string_value(json_object_get(problem, "detail"));
	const char *error = json_string_value(json_object_get(problem, "error"));
	enum admin_exit r = ADMIN_REFUSED;

	if (!detail)
		detail = json_string_value(json_object_get(problem, "title"));
	if (is_problem(problem)) {
		cleanup_free char *clean = text_clean(detail);

		if (c->json)
			admin_print_json(c, &(struct admin_answer){ .http = *a, .json = problem });
		admin_complain("%s", clean);
		hint(c, a->status, error ? error : "", detail);
	} else if (a->status == 401 || a->status == 403) {
		admin_complain("%s: status %ld", http_place(c->http), a->status);
		hint(c, a->status, "", "");
	} else {
		admin_complain("%s: what answers there is no mediator's API (status %ld)",
			       http_place(c->http), a->status);
		r = ADMIN_NO_CONNECTION;
	}
	json_decref(problem);
	return r;
}

// ---- requests ----

enum admin_exit admin_ask(struct admin_call *c, const char *method, const char *path, const json_t *body,
			  struct admin_answer *ret)
{
	cleanup_free char *text = body ? text_memory(json_dumps(body, JSON_COMPACT)) : NULL;
	enum admin_exit r = ADMIN_OK;

	*ret = (struct admin_answer){ 0 };
	if (!admin_connect(c))
		return ADMIN_USAGE;
	if (http_ask(c->http, method, path, text, &ret->http) < 0) {
		admin_complain("%s", http_failure(c->http));
		r = ADMIN_NO_CONNECTION;
	} else if (ret->http.status < 200 || ret->http.status > 299) {
		r = admin_explain_refusal(c, &ret->http);
	} else if (ret->http.len) {
		ret->json = json_loadb(ret->http.body, ret->http.len, 0, NULL);
		if (!json_is_object(ret->json)) {
			admin_complain("%s: what answers there is no mediator's API", http_place(c->http));
			r = ADMIN_NO_CONNECTION;
		}
	}
	if (r != ADMIN_OK)
		admin_answer_done(ret);
	return r;
}

void admin_answer_done(struct admin_answer *a)
{
	json_decref(a->json);
	a->json = NULL;
	http_answer_done(&a->http);
}

// The value of an argument or option that goes to the field, or NULL.
static const char *value_of(const struct admin_call *c, const char *field, size_t len)
{
	const struct admin_argument *a = c->action->arguments;
	const struct admin_option *o = c->action->options;

	for (size_t i = 0; a && a[i].name; i++) {
		if (a[i].field && strlen(a[i].field) == len && strncmp(a[i].field, field, len) == 0)
			return c->argument[i];
	}
	for (size_t i = 0; o && o[i].name; i++) {
		if (o[i].field && strlen(o[i].field) == len && strncmp(o[i].field, field, len) == 0)
			return c->option[i];
	}
	return NULL;
}

static bool is_in_path(const struct admin_action *a, const char *field)
{
	cleanup_free char *part = text_print("{%s}", field);

	return strstr(a->path, part) != NULL;
}

static json_t *typed(enum admin_type type, const char *text)
{
	long long n;

	switch (type) {
	case TYPE_FLAG: return json_true();
	case TYPE_INTEGER: return json_integer(strtoll(text, NULL, 10));
	case TYPE_AT:
		admin_parse_at(text, time(NULL), &n); // was checked when it was parsed
		return json_integer(n);
	default: return json_string(text);
	}
}

// All that does not go into the path.
static json_t *rest(const struct admin_call *c)
{
	const struct admin_argument *a = c->action->arguments;
	const struct admin_option *o = c->action->options;
	json_t *fields = c->items ? json_copy(c->items) : json_object();

	for (size_t i = 0; a && a[i].name; i++) {
		if (a[i].field && c->argument[i] && !is_in_path(c->action, a[i].field))
			json_object_set_new(fields, a[i].field, json_string(c->argument[i]));
	}
	for (size_t i = 0; o && o[i].name; i++) {
		if (o[i].field && c->option[i] && !is_in_path(c->action, o[i].field))
			json_object_set_new(fields, o[i].field, typed(o[i].type, c->option[i]));
	}
	return fields;
}

static void add_query(FILE *out, const json_t *fields)
{
	const char *name;
	json_t *value;
	char mark = '?';

	json_object_foreach((json_t *)fields, name, value)
	{
		cleanup_free char *plain = json_is_string(value)
					       ? text_print("%s", json_string_value(value))
					       : text_memory(json_dumps(value, JSON_ENCODE_ANY));
		cleanup_free char *encoded = http_encode(plain);

		fprintf(out, "%c%s=%s", mark, name, encoded);
		mark = '&';
	}
}

char *admin_route_path(const struct admin_call *c)
{
	char *path = NULL;
	size_t n = 0;
	FILE *out = text_memory(open_memstream(&path, &n));

	for (const char *p = c->action->path; *p; p++) {
		size_t len = strcspn(p, "}") - 1;
		const char *value;

		if (*p != '{') {
			fputc(*p, out);
			continue;
		}
		value = value_of(c, p + 1, len);
		if (value) {
			cleanup_free char *encoded = http_encode(value);

			fputs(encoded, out);
		}
		p += len + 1;
	}
	if (strcmp(c->action->method, "GET") == 0) {
		json_t *fields = rest(c);

		add_query(out, fields);
		json_decref(fields);
	}
	if (fclose(out) != 0)
		text_memory(NULL);
	return path;
}

enum admin_exit admin_ask_route(struct admin_call *c, struct admin_answer *ret)
{
	cleanup_free char *path = admin_route_path(c);
	json_t *body = rest(c);
	enum admin_exit r;
	bool plain = strcmp(c->action->method, "GET") == 0 ||
		     (strcmp(c->action->method, "DELETE") == 0 && !json_object_size(body));

	r = admin_ask(c, c->action->method, path, plain ? NULL : body, ret);
	json_decref(body);
	return r;
}

// ---- printing ----

bool admin_print_json(const struct admin_call *c, const struct admin_answer *a)
{
	const char *text = a->http.body;
	size_t n = text ? a->http.len : 0;

	if (!c->json)
		return false;
	text_put_json(c->output.out, text, n);
	if (n && text[n - 1] != '\n')
		fputc('\n', c->output.out);
	return true;
}

static void say_done(const struct admin_call *c, const struct admin_answer *a)
{
	cleanup_free char *subject = text_clean(c->argument[0] ? c->argument[0] : "");
	cleanup_free char *said = confirm_text(c->action->done, subject);

	fprintf(c->output.out, "%s\n", said);
	if (json_is_false(json_object_get(a->json, "kept")))
		admin_complain("it holds now, but is not on a disk: 'vgpu-admin backup status' says why");
}

enum admin_exit admin_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	if (r != ADMIN_OK)
		return r;
	if (!admin_print_json(c, &a)) {
		if (c->action->done)
			say_done(c, &a);
		if (c->action->view && a.json)
			view_print(c->action->view, a.json, &c->output);
	}
	admin_answer_done(&a);
	return ADMIN_OK;
}
