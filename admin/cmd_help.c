// SPDX-License-Identifier: Apache-2.0
// vgpu-admin help [COMMAND].
#include "admin/call.h"
#include "admin/commands.h"
#include "admin/help.h"
#include "admin/suggest.h"

static int help_run(struct admin_call *c)
{
	const struct admin_command *about;
	const char *names[64], *near;
	size_t n = 0;

	if (!c->argument[0]) {
		help_all(stdout);
		return ADMIN_OK;
	}
	about = admin_find_command(c->argument[0]);
	if (about) {
		help_command(stdout, about);
		return ADMIN_OK;
	}
	for (; admin_commands[n] && n < sizeof(names) / sizeof(names[0]); n++)
		names[n] = admin_commands[n]->name;
	near = suggest(c->argument[0], names, n);
	admin_complain(near ? "there is no command '%s': do you mean '%s'?" : "there is no command '%s'",
		       c->argument[0], near);
	return ADMIN_USAGE;
}

static const struct admin_argument arguments[] = {
	{ "COMMAND", NULL, true, NAMES_COMMAND, NULL, "The command that it is about." }, { 0 }
};
static const struct admin_action actions[] = {
	{ "", "Shows what a command takes.", .arguments = arguments, .run = help_run }, { 0 }
};

const struct admin_command admin_command_help = { "help", "How a command is used", NULL, actions, NULL };
