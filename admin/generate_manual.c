// SPDX-License-Identifier: Apache-2.0
// The manual page from the table of commands; see generate.h.
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/generate.h"
#include "admin/items.h"

// Text for scdoc, which takes some characters for its own.
static void put(FILE *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool inside = p > text && isalnum((unsigned char)p[-1]) && isalnum((unsigned char)p[1]);

		if (*p == '\n')
			fputs("\n\n", out);
		else if (strchr("*\\[]#<>~", *p) || (*p == '_' && !inside))
			fprintf(out, "\\%c", *p);
		else
			fputc(*p, out);
	}
}

static void put_term(FILE *out, const char *name, const char *value, const char *help)
{
	fputs("*", out);
	put(out, name);
	fputs("*", out);
	if (value) {
		fputs("=_", out);
		put(out, value);
		fputs("_", out);
	}
	fputs("\n\t", out);
	put(out, help);
	fputs("\n\n", out);
}

static void put_option(FILE *out, const struct admin_option *o)
{
	char name[80];

	if (o->letter)
		snprintf(name, sizeof(name), "-%c, --%s", o->letter, o->name);
	else
		snprintf(name, sizeof(name), "--%s", o->name);
	put_term(out, name, o->value, o->help);
}

static void put_action(FILE *out, const struct admin_command *c, const struct admin_action *a)
{
	char *synopsis = admin_synopsis(c, a);

	fputs("*vgpu-admin ", out);
	put(out, synopsis);
	fputs("*\n\n", out);
	free(synopsis);
	put(out, a->help);
	if (a->question)
		fputs(" Asks first (\\--yes).", out);
	if (a->path) {
		fprintf(out, " (%s ", a->method);
		put(out, a->path);
		fputs(")", out);
	}
	fputs("\n\n", out);
	for (const struct admin_argument *arg = a->arguments; arg && arg->name; arg++)
		put_term(out, arg->name, NULL, arg->help);
	for (const struct admin_option *o = a->options; o && o->name; o++)
		put_option(out, o);
}

static void put_command(FILE *out, const struct admin_command *c)
{
	fprintf(out, "## %s\n\n", c->name);
	put(out, c->help);
	fputs(".\n\n", out);
	if (c->text) {
		put(out, c->text);
		fputs("\n\n", out);
	}
	for (const struct admin_action *a = c->actions; a->name; a++)
		put_action(out, c, a);
	if (c->examples)
		fputs("Examples:\n\n", out);
	for (size_t i = 0; c->examples && c->examples[i]; i += 2) {
		fputs("\tvgpu-admin ", out);
		put(out, c->examples[i]);
		fputs("\n\n\t\t", out);
		put(out, c->examples[i + 1]);
		fputs("\n\n", out);
	}
}

static void put_items(FILE *out)
{
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		char range[100];
		bool tenant = policy_is_for(i, POLICY_FOR_TENANT), pool = policy_is_for(i, POLICY_FOR_POOL);

		policy_print_range(i, range, sizeof(range));
		fputs("*", out);
		put(out, policy_name(i));
		fputs("*=", out);
		put(out, range);
		fprintf(out, " (%s)\n\t", tenant && pool ? "all" : tenant ? "tenants, profiles" : "pools");
		put(out, policy_help(i));
		fputs("\n\n", out);
	}
}

void generate_manual(FILE *out)
{
	char line[1024];

	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "@COMMANDS@\n") == 0) {
			for (size_t i = 0; admin_commands[i]; i++)
				put_command(out, admin_commands[i]);
		} else if (strcmp(line, "@OPTIONS@\n") == 0) {
			for (const struct admin_option *o = admin_common_options; o->name; o++)
				put_option(out, o);
		} else if (strcmp(line, "@ITEMS@\n") == 0) {
			put_items(out);
		} else {
			fputs(line, out);
		}
	}
}

void generate_routes(FILE *out)
{
	for (size_t i = 0; admin_commands[i]; i++) {
		for (const struct admin_action *a = admin_commands[i]->actions; a->name; a++) {
			if (a->path)
				fprintf(out, "%s %s\n", a->method, a->path);
		}
	}
}
