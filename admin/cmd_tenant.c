// SPDX-License-Identifier: Apache-2.0
// vgpu-admin tenant: who uses the GPU now.
#include "admin/commands.h"
#include "admin/items.h"

static const struct view_column list_columns[] = {
	{ "ID", "tenant", FORMAT_COUNT },
	{ "TENANT", "name", FORMAT_TEXT, .cut = true },
	{ "POOL", "pool", FORMAT_TEXT, .cut = true },
	{ "CLASS", "class", FORMAT_TEXT, .drop = 2 },
	{ "WEIGHT", "weight", FORMAT_COUNT, .drop = 3 },
	{ "TARGET", "share_target", FORMAT_PERCENT },
	{ "ACHIEVED", "share_achieved", FORMAT_PERCENT },
	{ "MEMORY", "memory_used", FORMAT_BYTES },
	{ "QUOTA", "memory", FORMAT_BYTES_LIMIT, .drop = 1 },
	{ "PROGRAMS", "channels", FORMAT_LENGTH },
	{ "CONNECTIONS", "connections", FORMAT_COUNT, .drop = 4 },
	{ "QUARANTINE", "quarantine", FORMAT_ALARM, .drop = 5 },
	{ 0 },
};
static const struct view list_view = { "tenants", "There are no tenants.", list_columns, 0 };

static const struct view_column show_columns[] = {
	{ "Tenant", "name", FORMAT_TEXT },
	{ "Id", "tenant", FORMAT_COUNT },
	{ "Pool", "pool", FORMAT_TEXT },
	{ "VM", "vm", FORMAT_TEXT },
	{ "In demand", "in_demand", FORMAT_YES },
	{ "Target", "share_target", FORMAT_PERCENT },
	{ "Achieved", "share_achieved", FORMAT_PERCENT },
	{ "GPU time", "gpu_ns", FORMAT_NS },
	{ "Turns", "turns", FORMAT_COUNT },
	{ "Launches", "launches", FORMAT_COUNT },
	{ "Copied", "copy_bytes", FORMAT_BYTES },
	{ "Memory used", "memory_used", FORMAT_BYTES },
	{ "Pinned", "pinned_used", FORMAT_BYTES },
	{ "Held by turn", "held_ns.turn", FORMAT_NS },
	{ "Held by launches_per_s", "held_ns.launches_per_s", FORMAT_NS },
	{ "Held by copy_per_s", "held_ns.copy_per_s", FORMAT_NS },
	{ "Held by queue_depth", "held_ns.queue_depth", FORMAT_NS },
	{ "Held by gpu_cap", "capped_ns", FORMAT_NS },
	{ "Faults", "faults", FORMAT_COUNT },
	{ "Quarantine", "quarantine", FORMAT_ALARM },
	{ "Connections", "connections", FORMAT_COUNT },
	{ "Programs", "channels", FORMAT_LENGTH },
	{ "Record", "record", FORMAT_TEXT },
	{ "Set by hand", "by_hand", FORMAT_JSON },
	{ 0 },
};
static const struct view show_view = { .columns = show_columns, .items = POLICY_FOR_TENANT };

static const struct admin_argument tenant_argument[] = {
	{ "TENANT", "tenant", false, NAMES_TENANT, NULL, "Its name, or its id where several have the name." },
	{ 0 },
};
static const struct admin_argument record_argument[] = {
	{ "RECORD", "name", false, NAMES_NONE, NULL,
	  "As the records call it: uid-1000 of a user, name-blue of a tenant that was made as blue (the "
	  "command usage shows them)." },
	{ 0 },
};
static const char *const fields[] = { "pool", "profile", NULL };

static const struct admin_action actions[] = {
	{ "list", "Lists the tenants.", "GET", "/v1/tenants", .view = &list_view },
	{ "show", "Shows all of one tenant.", "GET", "/v1/tenants/{tenant}", tenant_argument,
	  .view = &show_view },
	{ "set",
	  "Changes what is said, at once, also for programs that run. pool=NAME moves it, "
	  "profile=NAME takes the items of that profile first.",
	  "PATCH", "/v1/tenants/{tenant}", tenant_argument, .items = POLICY_FOR_TENANT, .fields = fields,
	  .items_required = true, .done = "Tenant %s is changed." },
	{ "disconnect",
	  "Ends its programs' use of the GPU in order. They get CUDA_ERROR_DEVICE_UNAVAILABLE, and "
	  "may connect again.",
	  "POST", "/v1/tenants/{tenant}/disconnect", tenant_argument,
	  .question = "Disconnect the programs of tenant %s?", .done = "Tenant %s is disconnected." },
	{ "kill", "The same, and its executors are killed at once.", "POST", "/v1/tenants/{tenant}/kill",
	  tenant_argument, .question = "Kill the executors of tenant %s?",
	  .done = "Executors of tenant %s are killed." },
	{ "forget",
	  "What was set by hand for it, its strikes and its usage are no longer kept. A tenant "
	  "that is connected keeps what it has until it has gone.",
	  "DELETE", "/v1/records/{name}", record_argument,
	  .question = "Delete all that is kept of %s, its usage included?",
	  .done = "Nothing is kept of %s." },
	{ 0 },
};

static const char *const examples[] = { "tenant set blue pool=research weight=300 memory=8G",
					"another pool, thrice the weight, 8 GiB", "tenant kill --yes blue",
					"end what hangs, from a script", NULL };

const struct admin_command admin_command_tenant = { "tenant", "Who uses the GPU now", NULL, actions,
						    examples };
