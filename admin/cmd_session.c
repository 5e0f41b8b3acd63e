// SPDX-License-Identifier: Apache-2.0
// vgpu-admin session: connections to the mediator.
#include "admin/commands.h"

static const struct view_column columns[] = {
	{ "SESSION", "session", FORMAT_COUNT },
	{ "KIND", "kind", FORMAT_TEXT, .drop = 2 },
	{ "LIBRARY", "library", FORMAT_TEXT, .drop = 3 },
	{ "TENANT", "name", FORMAT_TEXT, .cut = true },
	{ "PID", "pid", FORMAT_COUNT },
	{ "UID", "uid", FORMAT_COUNT },
	{ "PROGRAMS", "channels", FORMAT_LENGTH },
	{ "SINCE (UTC)", "since_s", FORMAT_AT_S, .drop = 1 },
	{ 0 },
};
static const struct view view = { "sessions", "Nobody is connected.", columns, 0 };

static const struct admin_argument session_argument[] = {
	{ "SESSION", "session", false, NAMES_SESSION, NULL, "Its number." }, { 0 }
};

static const struct admin_option tenant_option[] = {
	{ "tenant", "TENANT", "tenant", TYPE_TEXT, NAMES_TENANT, NULL, "Only those of this tenant." }, { 0 }
};

static const struct admin_action actions[] = {
	{ "list", "Lists the connections: of programs, of VMs' stubs (kind vm), and new ones.", "GET",
	  "/v1/sessions", .options = tenant_option, .view = &view },
	{ "kill", "Ends a connection: its program loses the GPU, and may connect again.", "DELETE",
	  "/v1/sessions/{session}", session_argument, .question = "End the session %s?",
	  .done = "Session %s is ended." },
	{ 0 },
};

static const char *const examples[] = { "session", "which processes are connected", NULL };

const struct admin_command admin_command_session = {
	"session", "Connections of programs and stubs",
	"'vgpu-admin tenant disconnect' and 'kill' end all of a tenant's.", actions, examples
};
