// SPDX-License-Identifier: Apache-2.0
// vgpu-admin migrate: the way of a host's VMs from one personality to the other, and back.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/commands.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define REPORT_FILE_MOST 65536 // bytes of a guest's report as it was printed

static const struct view_column run_columns[] = {
	{ "Run", "state", FORMAT_TEXT },
	{ "To", "to", FORMAT_TEXT },
	{ "Why", "why", FORMAT_TEXT },
	{ "Began (UTC)", "began", FORMAT_AT_S },
	{ "Groups", "groups", FORMAT_COUNT },
	{ "Begun", "begun", FORMAT_COUNT },
	{ "Ended (UTC)", "ended", FORMAT_AT_S },
	{ "VMs that are custom", "host.custom", FORMAT_COUNT },
	{ "VMs that are nvidia", "host.nvidia", FORMAT_COUNT },
	{ 0 },
};
static const struct view run_view = { .columns = run_columns };

static const struct view_column vm_columns[] = {
	{ "VM", "vm", FORMAT_TEXT, .cut = true },
	{ "NAME", "name", FORMAT_TEXT, .cut = true, .drop = 3 },
	{ "FROM", "from", FORMAT_TEXT, .drop = 4 },
	{ "TO", "to", FORMAT_TEXT, .drop = 4 },
	{ "GROUP", "group", FORMAT_TEXT },
	{ "PROTOCOL", "protocol", FORMAT_TEXT, .drop = 7 },
	{ "LIBRARIES", "libraries", FORMAT_JSON, .drop = 7 },
	{ "PREFLIGHT", "preflight", FORMAT_TEXT },
	{ "STATE", "state", FORMAT_TEXT },
	{ "SINCE", "since", FORMAT_AT_S, .drop = 5 },
	{ "MINUTES", "before.minutes", FORMAT_COUNT, .drop = 6 },
	{ "NOW", "after.minutes", FORMAT_COUNT, .drop = 6 },
	{ "ERRORS/H", "before.errors_per_hour", FORMAT_COUNT, .drop = 1 },
	{ "NOW", "after.errors_per_hour", FORMAT_COUNT, .drop = 1 },
	{ "GPU/LAUNCH", "before.gpu_ns_per_launch", FORMAT_NS, .drop = 2 },
	{ "NOW", "after.gpu_ns_per_launch", FORMAT_NS, .drop = 2 },
	{ "GPU", "before.gpu_percent", FORMAT_PERCENT, .drop = 2 },
	{ "NOW", "after.gpu_percent", FORMAT_PERCENT, .drop = 2 },
	{ 0 },
};
static const struct view vms_view = { "vms", "There are no VMs in it.", vm_columns, 0 };

static const struct view_column plan_columns[] = {
	{ "VM", "vm", FORMAT_TEXT, .cut = true },
	{ "NAME", "name", FORMAT_TEXT, .cut = true },
	{ "FROM", "from", FORMAT_TEXT },
	{ "TO", "to", FORMAT_TEXT },
	{ "GROUP", "group", FORMAT_TEXT },
	{ "PROTOCOL", "protocol", FORMAT_TEXT },
	{ "LIBRARIES", "libraries", FORMAT_JSON, .drop = 1 },
	{ 0 },
};
static const struct view plan_view = { "vms", "No VM would move.", plan_columns, 0 };

// ---- printing ----

static const char *text_at(const json_t *row, const char *field)
{
	return json_string_value(json_object_get(row, field));
}

// Why and what next, of one of which there is something to say.
static bool print_notes_of(FILE *out, const json_t *row, bool first)
{
	const char *state = text_at(row, "state"), *next = text_at(row, "next");
	const char *why = text_at(row, state && strcmp(state, "planned") == 0 ? "preflight_why" : "why");
	const char *name = text_at(row, "name") ? text_at(row, "name") : text_at(row, "vm");
	cleanup_free char *clean_name = text_clean(name ? name : "?");
	cleanup_free char *clean_why = text_clean(why ? why : "");
	cleanup_free char *clean_next = text_clean(next ? next : "");

	if (!why && !next)
		return false;
	fprintf(out, "%s%s: %s%s%s%s\n", first ? "\n" : "", clean_name, clean_why,
		why && next ? "\n    " : "", next ? "-> " : "", clean_next);
	return true;
}

static void print_notes(FILE *out, const json_t *answer)
{
	const json_t *row;
	bool first = true;
	size_t i;

	json_array_foreach(json_object_get(answer, "vms"), i, row) first &= !print_notes_of(out, row, first);
}

static void print_status(const json_t *answer, const struct output *o)
{
	if (json_is_false(json_object_get(answer, "run"))) {
		fputs("There is no migration: 'vgpu-admin migrate plan' begins one.\n", o->out);
		return;
	}
	view_print(&run_view, answer, o);
	fputc('\n', o->out);
	view_print(&vms_view, answer, o);
	print_notes(o->out, answer);
}

static enum admin_exit write_report(const char *path, const json_t *answer)
{
	FILE *out = fopen(path, "we");
	struct output o = { .out = out };

	if (out)
		print_status(answer, &o);
	if (!out || fclose(out) != 0) {
		admin_complain("%s: %s", path, strerror(errno));
		return ADMIN_REFUSED;
	}
	return ADMIN_OK;
}

static enum admin_exit shown(struct admin_call *c, struct admin_answer *a)
{
	if (!admin_print_json(c, a))
		print_status(a->json, &c->output);
	if (json_is_false(json_object_get(a->json, "kept")))
		admin_complain("it holds now, but is not on a disk: 'vgpu-admin backup status' says why");
	admin_answer_done(a);
	return ADMIN_OK;
}

static int status_run(struct admin_call *c)
{
	const char *path = admin_option(c, "report");
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	if (r != ADMIN_OK)
		return r;
	if (!path)
		return shown(c, &a);
	r = write_report(path, a.json);
	admin_answer_done(&a);
	return r;
}

static int change_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	return r == ADMIN_OK ? shown(c, &a) : r;
}

static int plan_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	if (r != ADMIN_OK)
		return r;
	if (!admin_flag(c, "dry-run"))
		return shown(c, &a);
	if (!admin_print_json(c, &a)) {
		view_print(&plan_view, a.json, &c->output);
		fprintf(c->output.out, "\nVMs that are that already: %" JSON_INTEGER_FORMAT "\n",
			json_integer_value(json_object_get(a.json, "there_already")));
	}
	admin_answer_done(&a);
	return ADMIN_OK;
}

// ---- the guest's report ----

// What was read, to be freed; NULL with the error said. "-": stdin.
static char *read_file(const char *path)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *in = is_stdin ? stdin : fopen(path, "re");
	char *text = text_memory(calloc(1, REPORT_FILE_MOST + 2));
	size_t n = in ? fread(text, 1, REPORT_FILE_MOST + 1, in) : 0;
	bool bad = !in || ferror(in);

	if (bad)
		admin_complain("%s: %s", path, strerror(errno));
	else if (n > REPORT_FILE_MOST)
		admin_complain("%s: longer than %d bytes: no report of vgpu-guest-check", path,
			       REPORT_FILE_MOST);
	if (in && !is_stdin)
		fclose(in);
	if (!bad && n <= REPORT_FILE_MOST)
		return text;
	free(text);
	return NULL;
}

// What the mediator looks at: texts of checks that did not fail are only for people, and make it too long.
static char *shortened(const char *path, const char *text)
{
	json_error_t error;
	json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, &error), *check;
	char *ret = NULL;
	size_t i;

	if (!json_is_object(report)) {
		cleanup_free char *clean = text_clean(report ? "not an object" : error.text);

		admin_complain("%s: not a report of vgpu-guest-check --json: %s", path, clean);
		json_decref(report);
		return NULL;
	}
	json_array_foreach(json_object_get(report, "checks"), i, check)
	{
		const char *state = text_at(check, "state");

		if (state && strcmp(state, "failed") == 0)
			continue;
		json_object_del(check, "text");
		json_object_del(check, "next");
	}
	ret = text_memory(json_dumps(report, JSON_COMPACT));
	json_decref(report);
	return ret;
}

static int preflight_run(struct admin_call *c)
{
	const char *path = admin_option(c, "report"), *reason = admin_option(c, "without-report");
	cleanup_free char *text = path ? read_file(path) : NULL;
	cleanup_free char *report = text ? shortened(path, text) : NULL;
	struct admin_answer a;
	enum admin_exit r;
	json_t *body;

	if (path && !report)
		return ADMIN_USAGE;
	if (path && reason)
		return admin_usage_error(c, "--report and --without-report exclude each other");
	body = json_object();
	if (c->argument[0])
		json_object_set_new(body, "vm", json_string(c->argument[0]));
	if (report)
		json_object_set_new(body, "report", json_string(report));
	if (reason)
		json_object_set_new(body, "without_report", json_string(reason));
	r = admin_ask(c, c->action->method, c->action->path, body, &a);
	json_decref(body);
	return r == ADMIN_OK ? shown(c, &a) : r;
}

// ---- the table ----

static const struct admin_argument vms_argument[] = {
	{ "VM,...", "vms", true, NAMES_VM, NULL, "Uuids with commas between them. Default: all." }, { 0 }
};
static const struct admin_argument back_argument[] = {
	{ "VM,...", "vms", true, NAMES_VM, NULL,
	  "Uuids with commas between them. Default: all that were moved, and the run ends." },
	{ 0 }
};
static const struct admin_argument vm_argument[] = {
	{ "VM", "vm", true, NAMES_VM, NULL, "Its uuid. Default: the report says whose it is." }, { 0 }
};
static const struct admin_option plan_options[] = {
	{ "to", "PERSONALITY", "to", TYPE_TEXT, NAMES_WORDS, "nvidia|custom",
	  "What they are to be. Default: nvidia." },
	{ "pool", "POOL", "pool", TYPE_TEXT, NAMES_POOL, NULL, "Only those whose tenant is in this pool." },
	{ "profile", "PROFILE", "profile", TYPE_TEXT, NAMES_PROFILE, NULL,
	  "Only those with a vGPU of this profile." },
	{ "canary", "NUMBER", "canary", TYPE_TEXT, NAMES_NONE, NULL,
	  "How many go first: a number, or percent as 10%. Default: 10%, at least one." },
	{ "wave", "NUMBER", "wave", TYPE_INTEGER, NAMES_NONE, NULL,
	  "How many go in each of the waves that follow. Default: 10." },
	{ "dry-run", NULL, "dry_run", TYPE_FLAG, NAMES_NONE, NULL, "Only show it." },
	{ "end", NULL, "end", TYPE_FLAG, NAMES_NONE, NULL,
	  "A run that goes on ends; what it moved stays as it is." },
	{ 0 },
};
static const struct admin_option preflight_options[] = {
	{ "report", "FILE", NULL, TYPE_TEXT, NAMES_FILE, NULL,
	  "What 'vgpu-guest-check --json --for PERSONALITY' printed in the VM; - for standard input." },
	{ "without-report", "REASON", NULL, TYPE_TEXT, NAMES_NONE, NULL,
	  "The VM may move without one; the reason goes into the audit." },
	{ 0 },
};
static const struct admin_option force_option[] = {
	{ "force", NULL, "force", TYPE_FLAG, NAMES_NONE, NULL,
	  "Also when the group before is not judged, or could not be." },
	{ 0 },
};
static const struct admin_option report_option[] = { { "report", "FILE", NULL, TYPE_TEXT, NAMES_FILE, NULL,
						       "Write it as text into this file instead." },
						     { 0 } };

static const struct admin_action actions[] = {
	{ "status", "Shows the run, and how each VM did before and does now.", "GET", "/v1/migration", NULL,
	  report_option, .run = status_run },
	{ "plan", "Says which VMs are to move, and in which groups. Nothing moves yet.", "PUT",
	  "/v1/migration", vms_argument, plan_options, .run = plan_run },
	{ "preflight",
	  "Shows which VMs may move, or takes the report of a VM's guest. VMs that may not are left where "
	  "they are.",
	  "POST", "/v1/migration/preflight", vm_argument, preflight_options, .run = preflight_run },
	{ "canary",
	  "Moves the first group: each VM with its next start. It goes back by itself if one is not as well "
	  "as before.",
	  "POST", "/v1/migration/canary", .question = "Move the canary's VMs, each with its next start?",
	  .run = change_run },
	{ "apply", "Moves the next wave, if the group before is well.", "POST", "/v1/migration/apply", NULL,
	  force_option, .question = "Move the next wave's VMs, each with its next start?",
	  .run = change_run },
	{ "rollback", "VMs are what they were before the run, from their next start on.", "POST",
	  "/v1/migration/rollback", back_argument, .question = "Roll back VMs that were moved?",
	  .run = change_run },
	{ 0 },
};

static const char *const examples[] = { "migrate plan --pool=gold --canary=2 --dry-run",
					"which VMs of a pool would go to nvidia, and in which order",
					"migrate preflight --report=guest.json",
					"what vgpu-guest-check found in a VM",
					"migrate apply --yes",
					"the next wave",
					NULL };

const struct admin_command admin_command_migrate = {
	"migrate", "Move VMs from one personality to the other, and back",
	"The mediator judges what was moved by errors and speed, compared with each VM's own history, and "
	"takes a group back "
	"by itself when a VM is not as well as before (settings migrate.*).\n"
	"Nothing of a running VM is touched: a personality holds from the VM's next start.",
	actions, examples
};
