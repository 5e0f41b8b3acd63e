// SPDX-License-Identifier: Apache-2.0
// vgpu-admin audit: who changed what.
#include "admin/commands.h"

static const struct view_column columns[] = {
	{ "NUMBER", "number", FORMAT_COUNT, .drop = 1 },
	{ "AT (UTC)", "at_ms", FORMAT_AT_MS },
	{ "WHO", "who", FORMAT_TEXT, .cut = true },
	{ "WHAT", "what", FORMAT_TEXT },
	{ "SUBJECT", "subject", FORMAT_TEXT, .cut = true },
	{ "BEFORE", "before", FORMAT_JSON, .cut = true, .drop = 2 },
	{ "AFTER", "after", FORMAT_JSON, .cut = true },
	{ 0 },
};
static const struct view view = { "audit", "Nothing was changed.", columns, 0 };

static const struct admin_option options[] = {
	{ "subject", "NAME", "subject", TYPE_TEXT, NAMES_NONE, NULL,
	  "Changes of one only: a pool's name, or a tenant's as the command usage shows it." },
	{ "below", "NUMBER", "below", TYPE_INTEGER, NAMES_NONE, NULL,
	  "Only what is older than this number: the next page." },
	{ "most", "N", "most", TYPE_INTEGER, NAMES_NONE, NULL,
	  "The most rows, the newest first. Default: 100." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "", "Shows the changes, the newest first.", "GET", "/v1/audit", NULL, options, .view = &view },
	{ 0 },
};

static const char *const examples[] = { "audit --subject=research", "who changed that pool", NULL };

const struct admin_command admin_command_audit = { "audit", "Who changed what, from what to what",
						   "Needs the mediator's setting store.path.", actions,
						   examples };
