// SPDX-License-Identifier: Apache-2.0
// vgpu-admin profile: sizes of vGPUs.
#include "admin/commands.h"
#include "admin/items.h"

static const struct view_column list_columns[] = {
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "MEMORY", "policy.memory", FORMAT_BYTES_LIMIT },
	{ "WEIGHT", "policy.weight", FORMAT_COUNT },
	{ "CLASS", "policy.class", FORMAT_TEXT },
	{ "CAP", "policy.gpu_cap", FORMAT_PERCENT_LIMIT },
	{ "VGPUS", "vgpus", FORMAT_COUNT },
	{ "VMS", "vms", FORMAT_COUNT },
	{ "FROM", "from", FORMAT_TEXT, .drop = 1 },
	{ 0 },
};
static const struct view list_view = { "profiles", "There are no profiles.", list_columns, 0 };

static const struct view_column show_columns[] = {
	{ "Profile", "profile", FORMAT_TEXT },
	{ "From", "from", FORMAT_TEXT },
	{ "vGPUs", "vgpus", FORMAT_COUNT },
	{ "VMs", "vms", FORMAT_COUNT },
	{ 0 },
};
static const struct view show_view = { .columns = show_columns, .items = POLICY_FOR_PROFILE };

static const struct admin_argument profile_argument[] = {
	{ "PROFILE", "profile", false, NAMES_PROFILE, NULL, "Its name." }, { 0 }
};
static const struct admin_argument new_profile[] = {
	{ "PROFILE", "profile", false, NAMES_NONE, NULL, "Its name: letters, digits, _ and -." }, { 0 }
};

static const struct admin_action actions[] = {
	{ "list", "Lists the profiles.", "GET", "/v1/profiles", .view = &list_view },
	{ "show", "Shows all of one profile.", "GET", "/v1/profiles/{profile}", profile_argument,
	  .view = &show_view },
	{ "create", "Makes a profile.", "POST", "/v1/profiles", new_profile, .items = POLICY_FOR_PROFILE,
	  .done = "Profile %s is there." },
	{ "set", "Changes what is said, for the VMs that have it at once, but for what was set by hand.",
	  "PATCH", "/v1/profiles/{profile}", profile_argument, .items = POLICY_FOR_PROFILE,
	  .items_required = true, .done = "Profile %s is changed." },
	{ "delete", "Removes a profile that no vGPU has.", "DELETE", "/v1/profiles/{profile}",
	  profile_argument, .question = "Delete the profile %s?", .done = "Profile %s is gone." },
	{ 0 },
};

static const char *const examples[] = { "profile create quarter memory=20G weight=100 gpu_cap=50",
					"20 GiB, at most half of the time", NULL };

const struct admin_command admin_command_profile = {
	"profile", "Sizes of vGPUs: memory, weight, limits",
	"'vgpu-admin limit items' lists the items with their ranges. Profiles of the mediator's settings are "
	"changed there.",
	actions, examples
};
