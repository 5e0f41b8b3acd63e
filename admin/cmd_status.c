// SPDX-License-Identifier: Apache-2.0
// vgpu-admin status: the mediator, its pools and tenants on one page.
#include "admin/call.h"
#include "admin/commands.h"
#include "admin/text.h"

static const struct view_column mediator_columns[] = {
	{ "Device", "device", FORMAT_TEXT },	    { "Backend", "backend", FORMAT_TEXT },
	{ "Health", "health", FORMAT_STATE },	    { "Last Xid", "last_xid", FORMAT_COUNT },
	{ "Contended", "contended_ns", FORMAT_NS }, { 0 },
};
static const struct view mediator_view = { .columns = mediator_columns };

static const struct view_column pool_columns[] = {
	{ "POOL", "pool", FORMAT_TEXT, .cut = true },
	{ "WEIGHT", "weight", FORMAT_COUNT },
	{ "SHARE", "share", FORMAT_PERCENT_LIMIT, .drop = 4 },
	{ "CAP", "gpu_cap", FORMAT_PERCENT_LIMIT, .drop = 3 },
	{ "TARGET", "share_target", FORMAT_PERCENT },
	{ "ACHIEVED", "share_achieved", FORMAT_PERCENT },
	{ "GPU TIME", "gpu_ns", FORMAT_NS, .drop = 1 },
	{ "TURNS", "turns", FORMAT_COUNT, .drop = 2 },
	{ "TENANTS", "tenants", FORMAT_COUNT },
	{ 0 },
};
static const struct view pool_view = { .columns = pool_columns };

static const struct view_column tenant_columns[] = {
	{ "ID", "tenant", FORMAT_COUNT },
	{ "TENANT", "name", FORMAT_TEXT, .cut = true },
	{ "POOL", "pool", FORMAT_TEXT, .cut = true, .drop = 3 },
	{ "WEIGHT", "weight", FORMAT_COUNT, .drop = 2 },
	{ "TARGET", "share_target", FORMAT_PERCENT },
	{ "ACHIEVED", "share_achieved", FORMAT_PERCENT },
	{ "GPU TIME", "gpu_ns", FORMAT_NS, .drop = 4 },
	{ "MEMORY", "memory_used", FORMAT_BYTES },
	{ "QUOTA", "memory", FORMAT_BYTES_LIMIT, .drop = 1 },
	{ "PROGRAMS", "channels", FORMAT_LENGTH },
	{ "FAULTS", "faults", FORMAT_COUNT, .drop = 5 },
	{ "QUARANTINE", "quarantine", FORMAT_ALARM, .drop = 6 },
	{ 0 },
};
static const struct view tenant_view = { .columns = tenant_columns };

static void print_group(const struct view *v, const json_t *list, const char *none, const struct output *o)
{
	fputc('\n', o->out);
	if (json_array_size(list))
		view_print_list(v, list, o);
	else
		fprintf(o->out, "%s\n", none);
}

static int status_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	if (r != ADMIN_OK)
		return r;
	if (!admin_print_json(c, &a)) {
		view_print_object(&mediator_view, a.json, &c->output);
		print_group(&pool_view, json_object_get(a.json, "pools"), "There are no pools.", &c->output);
		print_group(&tenant_view, json_object_get(a.json, "tenants"), "There are no tenants.",
			    &c->output);
	}
	admin_answer_done(&a);
	return ADMIN_OK;
}

static const struct admin_action actions[] = {
	{ "", "Shows the device, and all pools and tenants with what they are to have and what they had.",
	  "GET", "/v1/status", .run = status_run },
	{ 0 },
};

static const char *const examples[] = { "status", "what goes on", "status --json", "the same, for programs",
					NULL };

const struct admin_command admin_command_status = { "status", "The device, its pools and tenants",
						    "TARGET is the part of the GPU that is meant for those "
						    "in demand now, ACHIEVED what they had of the last "
						    "second or more.",
						    actions, examples };
