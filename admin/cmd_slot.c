// SPDX-License-Identifier: Apache-2.0
// vgpu-admin slot: vGPUs, which are made by profile and assigned to virtual machines.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/call.h"
#include "admin/commands.h"

static const struct view_column list_columns[] = {
	{ "VGPU", "vgpu", FORMAT_TEXT, .cut = true },
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "MEMORY", "memory", FORMAT_BYTES_LIMIT },
	{ "STATE", "state", FORMAT_TEXT },
	{ "VM", "vm", FORMAT_TEXT, .cut = true },
	{ "NAME", "name", FORMAT_TEXT, .cut = true },
	{ "TENANT", "tenant", FORMAT_COUNT, .drop = 2 },
	{ "GPU", "gpu", FORMAT_TEXT, .cut = true, .drop = 1 },
	{ 0 },
};
static const struct view list_view = { "vgpus", "There are no vGPUs.", list_columns, 0 };

static const struct view_column show_columns[] = {
	{ "vGPU", "vgpu", FORMAT_TEXT },
	{ "Profile", "profile", FORMAT_TEXT },
	{ "Memory", "memory", FORMAT_BYTES_LIMIT },
	{ "State", "state", FORMAT_TEXT },
	{ "VM", "vm", FORMAT_TEXT },
	{ "Name", "name", FORMAT_TEXT },
	{ "Tenant", "tenant", FORMAT_COUNT },
	{ "Socket for its stub", "socket", FORMAT_TEXT },
	{ "GPU", "gpu", FORMAT_TEXT },
	{ 0 },
};
static const struct view show_view = { .columns = show_columns };

static const struct view_column partition_columns[] = {
	{ "Profile", "profile", FORMAT_TEXT },
	{ "vGPUs", "count", FORMAT_COUNT },
	{ "Made", "made", FORMAT_COUNT },
	{ "Removed", "removed", FORMAT_COUNT },
	{ 0 },
};
static const struct view partition_view = { .columns = partition_columns };

// PROFILE=COUNT, which are fields of the request.
static json_t *partition_body(const char *word)
{
	const char *equals = strchr(word, '=');
	char *end;
	long count;

	errno = 0;
	count = equals ? strtol(equals + 1, &end, 10) : 0;
	if (!equals || equals == word || end == equals + 1 || *end || errno || count < 0)
		return NULL;
	return json_pack("{s:s%, s:I}", "profile", word, (size_t)(equals - word), "count", (json_int_t)count);
}

static int partition_run(struct admin_call *c)
{
	json_t *body = partition_body(c->argument[0]);
	struct admin_answer a;
	enum admin_exit r;

	if (!body)
		return admin_usage_error(c, "'%s' is not PROFILE=COUNT", c->argument[0]);
	r = admin_ask(c, c->action->method, c->action->path, body, &a);
	json_decref(body);
	if (r != ADMIN_OK)
		return r;
	if (!admin_print_json(c, &a))
		view_print(&partition_view, a.json, &c->output);
	admin_answer_done(&a);
	return ADMIN_OK;
}

static const struct admin_argument partition_argument[] = {
	{ "PROFILE=COUNT", NULL, false, NAMES_NONE, NULL, "The size, and how many of it there are to be." },
	{ 0 }
};
static const struct admin_argument slot_argument[] = {
	{ "VGPU", "vgpu", false, NAMES_SLOT, NULL, "Its uuid." }, { 0 }
};
static const struct admin_argument profile_argument[] = {
	{ "PROFILE", "profile", true, NAMES_PROFILE, NULL,
	  "The size that it is to have. Without it: that of the VM of --vm." },
	{ 0 }
};
static const struct admin_argument assign_arguments[] = {
	{ "VGPU", "vgpu", false, NAMES_SLOT, NULL, "Its uuid." },
	{ "VM", "vm", false, NAMES_VM, NULL, "The VM's uuid." },
	{ 0 },
};
static const struct admin_option vm_option[] = {
	{ "vm", "VM", "vm", TYPE_TEXT, NAMES_VM, NULL, "Assign it to this VM at once." }, { 0 }
};

static const struct admin_action actions[] = {
	{ "list", "Lists the vGPUs and whose they are.", "GET", "/v1/vgpus", .view = &list_view },
	{ "show", "Shows one vGPU.", "GET", "/v1/vgpus/{vgpu}", slot_argument, .view = &show_view },
	{ "create", "Makes a vGPU, if the GPU has room for it (capacity.overcommit).", "POST", "/v1/vgpus",
	  profile_argument, vm_option, .view = &show_view },
	{ "partition",
	  "Has the GPU divided into exactly so many vGPUs of a profile. Free ones are made or removed; their "
	  "uuids "
	  "are the same whenever it is said again. Refused if one that would go is assigned.",
	  "PUT", "/v1/gpu/partition", partition_argument, .run = partition_run },
	{ "delete", "Removes a vGPU that is not assigned.", "DELETE", "/v1/vgpus/{vgpu}", slot_argument,
	  .question = "Delete the vGPU %s?", .done = "vGPU %s is gone." },
	{ "assign", "Gives a vGPU to a VM, which is a tenant from then on.", "PUT", "/v1/vgpus/{vgpu}/vm",
	  assign_arguments, .view = &show_view },
	{ "release", "Takes a vGPU from its VM: what its programs do on the GPU ends.", "DELETE",
	  "/v1/vgpus/{vgpu}/vm", slot_argument,
	  .question = "Release the vGPU %s? Programs in its VM lose the GPU.", .done = "vGPU %s is free." },
	{ 0 },
};

static const char *const examples[] = { "slot partition quarter=4",
					"four vGPUs for a cloud to give away",
					"slot create quarter --vm=6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e",
					"a vGPU for that VM",
					"gpu capacity",
					"how many more there can be",
					NULL };

const struct admin_command admin_command_slot = { "slot", "vGPUs: make them, assign them to virtual machines",
						  NULL, actions, examples };
