// SPDX-License-Identifier: Apache-2.0
// vgpu-admin pool: groups of tenants with a part of the GPU.
#include "admin/commands.h"
#include "admin/items.h"

static const struct view_column list_columns[] = {
	{ "POOL", "pool", FORMAT_TEXT, .cut = true },
	{ "WEIGHT", "weight", FORMAT_COUNT },
	{ "SHARE", "share", FORMAT_PERCENT_LIMIT },
	{ "CAP", "gpu_cap", FORMAT_PERCENT_LIMIT },
	{ "TURN", "turn", FORMAT_NS_LIMIT, .drop = 2 },
	{ "TARGET", "share_target", FORMAT_PERCENT },
	{ "ACHIEVED", "share_achieved", FORMAT_PERCENT },
	{ "GPU TIME", "gpu_ns", FORMAT_NS, .drop = 1 },
	{ "TENANTS", "tenants", FORMAT_COUNT },
	{ "GPU", "gpu", FORMAT_TEXT, .cut = true, .drop = 3 },
	{ 0 },
};
static const struct view list_view = { "pools", "There are no pools.", list_columns, 0 };

static const struct view_column show_columns[] = {
	{ "Pool", "pool", FORMAT_TEXT },
	{ "GPU", "gpu", FORMAT_TEXT },
	{ "Tenants", "tenants", FORMAT_COUNT },
	{ "In demand", "in_demand", FORMAT_YES },
	{ "Target", "share_target", FORMAT_PERCENT },
	{ "Achieved", "share_achieved", FORMAT_PERCENT },
	{ "GPU time", "gpu_ns", FORMAT_NS },
	{ "Turns", "turns", FORMAT_COUNT },
	{ "Held by cap", "capped_ns", FORMAT_NS },
	{ 0 },
};
static const struct view show_view = { .columns = show_columns, .items = POLICY_FOR_POOL };

static const struct admin_argument pool_argument[] = {
	{ "POOL", "pool", false, NAMES_POOL, NULL, "Its name." }, { 0 }
};
static const struct admin_argument new_pool[] = {
	{ "POOL", "pool", false, NAMES_NONE, NULL, "Its name: letters, digits, _ and -." }, { 0 }
};
static const struct admin_option gpu_option[] = {
	{ "gpu", "UUID", "gpu", TYPE_TEXT, NAMES_NONE, NULL,
	  "The GPU that the pool is on. A mediator has one GPU; another one is refused." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "list", "Lists the pools.", "GET", "/v1/pools", .view = &list_view },
	{ "show", "Shows all of one pool.", "GET", "/v1/pools/{pool}", pool_argument, .view = &show_view },
	{ "create", "Makes a pool.", "POST", "/v1/pools", new_pool, gpu_option, .items = POLICY_FOR_POOL,
	  .done = "Pool %s is there." },
	{ "set", "Changes what is said, at once, also for programs that run.", "PATCH", "/v1/pools/{pool}",
	  pool_argument, gpu_option, .items = POLICY_FOR_POOL, .done = "Pool %s is changed." },
	{ "delete", "Removes a pool without tenants.", "DELETE", "/v1/pools/{pool}", pool_argument,
	  .question = "Delete the pool %s?", .done = "Pool %s is gone." },
	{ 0 },
};

static const char *const examples[] = { "pool create research share=30",
					"a pool with 30 % of the GPU, whoever else wants it",
					"pool set research gpu_cap=50",
					"at most half of the GPU, also at night", NULL };

const struct admin_command admin_command_pool = { "pool", "Groups of tenants with a part of the GPU",
						  "The GPU is divided between pools, and a pool's part "
						  "between its tenants. 'vgpu-admin limit items' lists "
						  "the items with their ranges.",
						  actions, examples };
