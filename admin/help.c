// SPDX-License-Identifier: Apache-2.0
// What 'vgpu-admin help' prints; see the header.
#include "admin/help.h"

#include <stdlib.h>
#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define WIDTH  92
#define INDENT 26 // of what stands behind a name

void help_wrap(FILE *out, const char *text, unsigned at, unsigned column)
{
	if (at + 2 > column && column) {
		fputc('\n', out);
		at = 0;
	}
	fprintf(out, "%*s", (int)(column - at), "");
	at = column;
	while (*text) {
		size_t n = strcspn(text, " \n");

		if (at > column && at + 1 + n > WIDTH) {
			fprintf(out, "\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', out);
			at++;
		}
		fwrite(text, 1, n, out);
		at += (unsigned)n;
		text += n;
		if (*text == '\n' && text[1]) {
			fprintf(out, "\n%*s", (int)column, "");
			at = column;
		}
		text += *text != 0;
	}
	fputc('\n', out);
}

static void entry(FILE *out, const char *name, const char *text)
{
	int n = fprintf(out, "  %s", name);

	help_wrap(out, text, n > 0 ? (unsigned)n : 0, INDENT);
}

static void options(FILE *out, const struct admin_option *o)
{
	for (; o && o->name; o++) {
		cleanup_free char *name =
		    text_print("%s%.1s%s--%s%s%s", o->letter ? "-" : "", &o->letter, o->letter ? ", " : "",
			       o->name, o->value ? "=" : "", o->value ? o->value : "");

		entry(out, name, o->help);
	}
}

void help_all(FILE *out)
{
	fputs("usage: vgpu-admin [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n", out);
	for (size_t i = 0; admin_commands[i]; i++)
		entry(out, admin_commands[i]->name, admin_commands[i]->help);
	fputs("\nOptions, also behind a command:\n", out);
	options(out, admin_common_options);
	entry(out, "--help, --version", "");
	fputs("\n'vgpu-admin help COMMAND' says what a command takes. Exit status: 0 done, 1 refused, 2 not "
	      "understood, 3 no connection.\n",
	      out);
}

static void action(FILE *out, const struct admin_command *c, const struct admin_action *a)
{
	cleanup_free char *synopsis = admin_synopsis(c, a);

	fprintf(out, "\n  vgpu-admin %s\n", synopsis);
	help_wrap(out, a->help, 0, 6);
	for (const struct admin_argument *arg = a->arguments; arg && arg->name; arg++)
		entry(out, arg->name, arg->help);
	options(out, a->options);
	if (a->path) {
		cleanup_free char *route = text_print("API: %s %s", a->method, a->path);

		help_wrap(out, route, 0, 6);
	}
}

void help_command(FILE *out, const struct admin_command *c)
{
	fprintf(out, "%s: %s\n", c->name, c->help);
	if (c->text)
		help_wrap(out, c->text, 0, 0);
	for (const struct admin_action *a = c->actions; a->name; a++)
		action(out, c, a);
	for (size_t i = 0; c->examples && c->examples[i]; i += 2) {
		fprintf(out, "%s  # %s\n  vgpu-admin %s\n", i ? "" : "\nExamples:\n", c->examples[i + 1],
			c->examples[i]);
	}
	fputs("\n'vgpu-admin --help' has the options that all commands take.\n", out);
}
