// SPDX-License-Identifier: Apache-2.0
// vgpu-admin drain: no new programs, before the host is serviced.
#include "admin/commands.h"

static const struct view_column columns[] = {
	{ "Draining", "draining", FORMAT_YES },	       { "Done", "drained", FORMAT_YES },
	{ "Programs left", "channels", FORMAT_COUNT }, { "Since (UTC)", "since_s", FORMAT_AT_S },
	{ "They may take", "left_ns", FORMAT_NS },     { 0 },
};
static const struct view view = { .columns = columns };

static const struct admin_option for_option[] = {
	{ "for", "TIME", "for", TYPE_TEXT, NAMES_NONE, NULL,
	  "End programs that are still there after that time, such as '600 s'. Default: they may take as "
	  "long as "
	  "they like." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "status",
	  "Shows whether the host is being drained, how many programs are left, and whether it is done.",
	  "GET", "/v1/drain", .view = &view },
	{ "start",
	  "Programs that begin get no GPU and no vGPU is assigned; what runs goes on. Said once more, the "
	  "new time "
	  "counts.",
	  "PUT", "/v1/drain", .options = for_option,
	  .question = "Drain this host? Programs that begin get no GPU.", .view = &view },
	{ "stop", "Programs get the GPU again.", "DELETE", "/v1/drain",
	  .done = "The host takes programs again." },
	{ 0 },
};

static const char *const examples[] = { "drain start --for='600 s' --yes", "ten minutes for what runs",
					"drain", "how many programs are left", NULL };

const struct admin_command admin_command_drain = { "drain", "Let programs end before the host is serviced",
						   NULL, actions, examples };
