// SPDX-License-Identifier: Apache-2.0
// vgpu-admin gpu: the card and what still fits on it.
#include "admin/call.h"
#include "admin/commands.h"

static const struct view_column list_columns[] = {
	{ "GPU", "gpu", FORMAT_TEXT, .cut = true },
	{ "NAME", "name", FORMAT_TEXT, .cut = true },
	{ "PCI", "pci", FORMAT_TEXT, .drop = 2 },
	{ "HEALTH", "health", FORMAT_STATE },
	{ "MEMORY", "memory", FORMAT_BYTES },
	{ "USED", "memory_used", FORMAT_BYTES },
	{ "LOAD", "utilisation", FORMAT_PERCENT, .drop = 1 },
	{ "TEMP", "temperature_c", FORMAT_CELSIUS, .drop = 3 },
	{ "POWER", "power_w", FORMAT_WATT, .drop = 4 },
	{ "DRIVER", "driver", FORMAT_TEXT, .drop = 5 },
	{ 0 },
};
static const struct view list_view = { "gpus", "There is no GPU.", list_columns, 0 };

static const struct view_column card_columns[] = {
	{ "GPU", "gpu", FORMAT_TEXT },
	{ "Memory", "memory", FORMAT_BYTES },
	{ "Overcommit", "overcommit", FORMAT_PERCENT },
	{ "For vGPUs", "memory_most", FORMAT_BYTES },
	{ "Taken", "memory_taken", FORMAT_BYTES },
	{ "vGPUs", "vgpus", FORMAT_COUNT },
	{ "At most", "vgpus_most", FORMAT_COUNT },
	{ 0 },
};
static const struct view card_view = { .columns = card_columns };

static const struct view_column profile_columns[] = {
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "MEMORY", "memory", FORMAT_BYTES },
	{ "VGPUS", "vgpus", FORMAT_COUNT },
	{ "ASSIGNED", "assigned", FORMAT_COUNT },
	{ "STILL FIT", "fit", FORMAT_COUNT },
	{ 0 },
};
static const struct view profile_view = { "profiles", "There are no profiles.", profile_columns, 0 };

static int capacity_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);
	json_t *gpu;
	size_t i;

	if (r != ADMIN_OK)
		return r;
	if (!admin_print_json(c, &a)) {
		json_array_foreach(json_object_get(a.json, "gpus"), i, gpu)
		{
			if (i)
				fputc('\n', c->output.out);
			view_print(&card_view, gpu, &c->output);
			fputc('\n', c->output.out);
			view_print(&profile_view, gpu, &c->output);
		}
	}
	admin_answer_done(&a);
	return ADMIN_OK;
}

static const struct admin_action actions[] = {
	{ "list", "Lists the GPUs of this mediator with their state.", "GET", "/v1/gpus",
	  .view = &list_view },
	{ "capacity",
	  "Shows how much of the GPU vGPUs have, and by profile how many there are, how many are "
	  "assigned, and how many more fit.",
	  "GET", "/v1/capacity", .run = capacity_run },
	{ 0 },
};

static const char *const examples[] = { "gpu", "temperature, memory, health", "gpu capacity",
					"how many more vGPUs of each profile fit", NULL };

const struct admin_command admin_command_gpu = { "gpu", "The GPU and what fits on it", NULL, actions,
						 examples };
