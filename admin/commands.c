// SPDX-License-Identifier: Apache-2.0
// The table of commands, and questions to it.
#include "admin/commands.h"

#include <stdlib.h>
#include <string.h>

#include "admin/text.h"

// In the order in which help and manual list them.
const struct admin_command *const admin_commands[] = {
#define COMMAND(name) &admin_command_##name,
	ADMIN_COMMANDS(COMMAND)
#undef COMMAND
	    NULL,
};

const struct admin_command *admin_find_command(const char *name)
{
	for (size_t i = 0; admin_commands[i]; i++) {
		if (strcmp(admin_commands[i]->name, name) == 0)
			return admin_commands[i];
	}
	return NULL;
}

const struct admin_action *admin_find_action(const struct admin_command *c, const char *name)
{
	for (const struct admin_action *a = c->actions; a->name; a++) {
		if (strcmp(a->name, name) == 0)
			return a;
	}
	return NULL;
}

bool admin_has_actions(const struct admin_command *c)
{
	return c->actions[0].name[0];
}

char *admin_synopsis(const struct admin_command *c, const struct admin_action *a)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = text_memory(open_memstream(&text, &n));

	fprintf(out, "%s%s%s", c->name, a->name[0] ? " " : "", a->name);
	for (const struct admin_argument *arg = a->arguments; arg && arg->name; arg++)
		fprintf(out, arg->optional ? " [%s]" : " %s", arg->name);
	for (const struct admin_option *o = a->options; o && o->name; o++)
		fprintf(out, " [--%s%s%s]", o->name, o->value ? "=" : "", o->value ? o->value : "");
	for (size_t i = 0; a->fields && a->fields[i]; i++)
		fprintf(out, " [%s=NAME]", a->fields[i]);
	if (a->items)
		fputs(a->items_required && !a->fields ? " ITEM=VALUE..." : " [ITEM=VALUE...]", out);
	if (fclose(out) != 0)
		text_memory(NULL);
	return text;
}
