// SPDX-License-Identifier: Apache-2.0
// One run of vgpu-admin: what was said on the command line, the connection, and how to ask and print. What
// goes wrong is said here, once, with the next step.
#ifndef VGPU_ADMIN_CALL_H
#define VGPU_ADMIN_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "admin/command.h"
#include "admin/http.h"
#include "admin/view.h"

struct admin_call {
	struct http_target target;
	bool json, yes;
	struct output output;
	const struct admin_command *command;
	const struct admin_action *action;
	const char *argument[ADMIN_MAX_ARGUMENTS]; // NULL: not given
	const char *option[ADMIN_MAX_OPTIONS];	   // in the action's order; "" of a flag
	json_t *items;				   // what came as ITEM=VALUE
	struct http *http;			   // from the first request on
};

struct admin_answer {
	struct http_answer http;
	json_t *json; // an object; NULL: the answer has no body
};

// The value of the action's option of that name, or NULL.
const char *admin_option(const struct admin_call *c, const char *name);
bool admin_flag(const struct admin_call *c, const char *name);

// Asks, and says what went wrong if something does. body may be NULL and stays the caller's. *ret is to be
// given back when this is ADMIN_OK.
enum admin_exit admin_ask(struct admin_call *c, const char *method, const char *path, const json_t *body,
			  struct admin_answer *ret);
void admin_answer_done(struct admin_answer *a);

// The action's route with what was said on the command line.
enum admin_exit admin_ask_route(struct admin_call *c, struct admin_answer *ret);
char *admin_route_path(const struct admin_call *c); // with the query of a GET; to be freed

// Prints the answer as it is for --json and returns true; else false.
bool admin_print_json(const struct admin_call *c, const struct admin_answer *a);

// Asks for and prints what the table says. The action of most commands.
enum admin_exit admin_run(struct admin_call *c);

// Connects to nothing yet. False with the usage error said.
bool admin_connect(struct admin_call *c);
// What a refusal means; body may be NULL. Exit status for it.
enum admin_exit admin_explain_refusal(struct admin_call *c, const struct http_answer *a);
void admin_call_done(struct admin_call *c);

// "vgpu-admin: ..." on stderr; without its beginning where admin_complain_to() says, until it says NULL.
void admin_complain_to(FILE *to);
void admin_complain(const char *format, ...) __attribute__((format(printf, 1, 2), nonnull(1)));
// The same, and where to read on. ADMIN_USAGE.
enum admin_exit admin_usage_error(const struct admin_call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// A time of day as people write it, in seconds since 1970: "-90min", "2026-11-29", "2026-11-29 10:00",
// "now", a number of seconds. 0 or -EINVAL.
int admin_parse_at(const char *text, long long now_s, long long *ret);

#endif
