// SPDX-License-Identifier: Apache-2.0
// vgpu-admin usage: what tenants used, from the mediator's records.
#include "admin/commands.h"

static const struct view_column columns[] = {
	{ "FROM (UTC)", "at", FORMAT_AT_S },
	{ "TENANT", "tenant", FORMAT_TEXT, .cut = true },
	{ "GPU TIME", "gpu_ns", FORMAT_NS },
	{ "LAUNCHES", "launches", FORMAT_COUNT },
	{ "COPIED", "copy_bytes", FORMAT_BYTES },
	{ "MEMORY", "memory_byte_s", FORMAT_BYTE_SECONDS },
	{ "TURNS", "turns", FORMAT_COUNT, .drop = 1 },
	{ "FAULTS", "faults", FORMAT_COUNT, .drop = 2 },
	{ 0 },
};
static const struct view view = { "usage", "Nothing was used in that time.", columns, 0 };

static const struct admin_option options[] = {
	{ "tenant", "RECORD", "name", TYPE_TEXT, NAMES_NONE, NULL,
	  "One only: uid-1000 of a user, name-blue of a tenant that was made as blue." },
	{ "by", "STEP", "by", TYPE_TEXT, NAMES_WORDS, "minute|hour|day", "minute, hour (default) or day." },
	{ "from", "TIME", "from", TYPE_AT, NAMES_NONE, NULL,
	  "Not before: -24h, -7d, 2026-11-29, '2026-11-29 10:00' (UTC)." },
	{ "to", "TIME", "to", TYPE_AT, NAMES_NONE, NULL, "Not from then on." },
	{ "most", "N", "most", TYPE_INTEGER, NAMES_NONE, NULL, "The most rows, the oldest first." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "", "Shows GPU time, launches, copies and memory by minute, hour or day.", "GET", "/v1/usage", NULL,
	  options, .view = &view },
	{ 0 },
};

static const char *const examples[] = { "usage --by=day --from=-30d", "the last month",
					"usage --tenant=name-blue --json",
					"one tenant by the hour, for billing", NULL };

const struct admin_command admin_command_usage = {
	"usage", "What tenants used, by minute, hour or day",
	"MEMORY is what was held times how long. Needs the mediator's setting store.path.", actions, examples
};
