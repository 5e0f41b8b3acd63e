// SPDX-License-Identifier: Apache-2.0
// vgpu-admin quarantine: tenants that are kept out, and the strikes that lead there.
#include "admin/commands.h"

static const struct view_column list_columns[] = {
	{ "ID", "tenant", FORMAT_COUNT },
	{ "TENANT", "name", FORMAT_TEXT, .cut = true },
	{ "CAUSE", "cause", FORMAT_TEXT, .cut = true },
	{ "LEFT", "left_ns", FORMAT_NS_LEFT },
	{ 0 },
};
static const struct view list_view = { "tenants", "Nobody is in quarantine.", list_columns, 0 };

static const struct view_column strike_columns[] = {
	{ "ID", "tenant", FORMAT_COUNT },
	{ "TENANT", "name", FORMAT_TEXT, .cut = true },
	{ "COUNTING", "counting", FORMAT_COUNT },
	{ "OF", "most", FORMAT_LIMIT },
	{ "EVER, BY CAUSE", "counts", FORMAT_JSON, .cut = true },
	{ 0 },
};
static const struct view strike_view = { "tenants", "Nobody has strikes.", strike_columns, 0 };

static const struct admin_argument tenant_argument[] = {
	{ "TENANT", "tenant", false, NAMES_TENANT, NULL, "Its name or id." }, { 0 }
};
static const struct admin_option for_option[] = {
	{ "for", "TIME", "for", TYPE_TEXT, NAMES_NONE, NULL,
	  "How long, such as '600 s'. Default: until it is released." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "list", "Lists who is in quarantine, why, and for how much longer.", "GET", "/v1/quarantines",
	  .view = &list_view },
	{ "strikes", "Lists the tenants with strikes.", "GET", "/v1/strikes", .view = &strike_view },
	{ "add", "Puts a tenant into quarantine: its programs lose the GPU and no new one gets it.", "PUT",
	  "/v1/tenants/{tenant}/quarantine", tenant_argument, for_option,
	  .question = "Put tenant %s into quarantine? Its programs lose the GPU.",
	  .done = "Tenant %s is in quarantine." },
	{ "release", "Ends a quarantine and forgets the recent strikes.", "DELETE",
	  "/v1/tenants/{tenant}/quarantine", tenant_argument,
	  .question = "Release tenant %s from quarantine?", .done = "Tenant %s is released." },
	{ 0 },
};

static const char *const examples[] = { "quarantine add blue --for='600 s'", "ten minutes without the GPU",
					"quarantine release blue", "let it back in", NULL };

const struct admin_command admin_command_quarantine = {
	"quarantine", "Tenants that are kept out, and strikes",
	"A strike is a hang, a malformed stream, a sandbox violation, a crash or a memory storm; "
	"strikes.most of them within strikes.within bring quarantine.",
	actions, examples
};
