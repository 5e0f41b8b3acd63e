// SPDX-License-Identifier: Apache-2.0
// bash's completion: the table of commands as functions that print words, in front of complete.bash, which
// comes on stdin; see generate.h.
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/generate.h"
#include "admin/items.h"
#include "admin/names.h"

static void put_words(FILE *out, const char *words)
{
	for (; *words; words++)
		fputc(*words == '|' ? ' ' : *words, out);
}

// What complete.bash calls a kind of value. "any" completes to nothing and says that there is a value.
static void put_kind(FILE *out, enum admin_names names, const char *words)
{
	switch (names) {
	case NAMES_NONE: fputs("any", out); break;
	case NAMES_FILE: fputs("file", out); break;
	case NAMES_OF_KIND: fputs("of-kind", out); break;
	case NAMES_WORDS:
		fputs("words:", out);
		put_words(out, words);
		break;
	case NAMES_COMMAND:
		fputs("words:", out);
		for (size_t i = 0; admin_commands[i]; i++)
			fprintf(out, "%s%s", i ? " " : "", admin_commands[i]->name);
		break;
	default: fprintf(out, "names:%s", names_kind_text(names)); break;
	}
}

static void put_items(FILE *out, const struct admin_action *a)
{
	fputs("items:", out);
	for (size_t i = 0; a->fields && a->fields[i]; i++)
		fprintf(out, "%s= ", a->fields[i]);
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (policy_is_for(i, a->items))
			fprintf(out, "%s= ", policy_name(i));
	}
}

static void put_option_names(FILE *out, const struct admin_option *o)
{
	for (; o && o->name; o++)
		fprintf(out, " --%s%s", o->name, o->value ? "=" : "");
}

static void put_option_values(FILE *out, const char *of, const struct admin_option *o)
{
	for (; o && o->name; o++) {
		if (!o->value)
			continue;
		if (o->letter)
			fprintf(out, "\t\"%s -%c\" | ", of, o->letter);
		else
			fputc('\t', out);
		fprintf(out, "\"%s --%s\") echo '", of, o->name);
		put_kind(out, o->names, o->words);
		fputs("' ;;\n", out);
	}
}

static void put_arguments(FILE *out, const char *of, const struct admin_action *a)
{
	size_t n = 0;

	for (; a->arguments && a->arguments[n].name; n++) {
		fprintf(out, "\t\"%s %zu\") echo '", of, n);
		put_kind(out, a->arguments[n].names, a->arguments[n].words);
		fputs("' ;;\n", out);
	}
	if (a->items) {
		fprintf(out, "\t\"%s \"*) echo '", of);
		put_items(out, a);
		fputs("' ;;\n", out);
	}
}

static void each_action(FILE *out, void (*put)(FILE *out, const char *of, const struct admin_action *a))
{
	for (size_t i = 0; admin_commands[i]; i++) {
		for (const struct admin_action *a = admin_commands[i]->actions; a->name; a++) {
			char of[80];

			snprintf(of, sizeof(of), "%s %s", admin_commands[i]->name, a->name);
			put(out, of, a);
			// The first action is meant when none is named.
			if (a == admin_commands[i]->actions && a->name[0]) {
				snprintf(of, sizeof(of), "%s ", admin_commands[i]->name);
				put(out, of, a);
			}
		}
	}
}

static void put_values(FILE *out, const char *of, const struct admin_action *a)
{
	put_option_values(out, of, a->options);
}

static void put_options(FILE *out, const char *of, const struct admin_action *a)
{
	if (!a->options)
		return;
	fprintf(out, "\t\"%s\") echo '", of);
	put_option_names(out, a->options);
	fputs("' ;;\n", out);
}

static void put_commands(FILE *out)
{
	fputs("_vgpu_admin_commands() {\n\techo '", out);
	for (size_t i = 0; admin_commands[i]; i++)
		fprintf(out, "%s%s", i ? " " : "", admin_commands[i]->name);
	fputs("'\n}\n_vgpu_admin_actions() {\n\tcase $1 in\n", out);
	for (size_t i = 0; admin_commands[i]; i++) {
		if (!admin_has_actions(admin_commands[i]))
			continue;
		fprintf(out, "\t%s) echo '", admin_commands[i]->name);
		for (const struct admin_action *a = admin_commands[i]->actions; a->name; a++)
			fprintf(out, "%s%s", a == admin_commands[i]->actions ? "" : " ", a->name);
		fputs("' ;;\n", out);
	}
	fputs("\tesac\n}\n", out);
}

// Those of items whose range is words.
static void put_item_values(FILE *out)
{
	fputs("_vgpu_admin_item_values() {\n\tcase $1 in\n", out);
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		char range[100];

		policy_print_range(i, range, sizeof(range));
		if (!strchr(range, '|'))
			continue;
		fprintf(out, "\t%s) echo 'words:", policy_name(i));
		put_words(out, range);
		fputs("' ;;\n", out);
	}
	fputs("\tpool) echo 'names:pool' ;;\n\tprofile) echo 'names:profile' ;;\n\tesac\n}\n", out);
}

void generate_bash(FILE *out)
{
	char line[1024];

	fputs("# SPDX-License-Identifier: Apache-2.0\n# Made from vgpu-admin's table of commands.\n", out);
	put_commands(out);
	fputs("_vgpu_admin_options() {\n\techo '", out);
	put_option_names(out, admin_common_options);
	fputs(" --help'\n\tcase $1 in\n\t' ') echo '--version' ;;\n", out);
	each_action(out, put_options);
	fputs("\tesac\n}\n_vgpu_admin_value() {\n\tcase \"$1 $2\" in\n", out);
	each_action(out, put_values);
	fputs("\tesac\n\tcase $2 in\n", out);
	for (const struct admin_option *o = admin_common_options; o->name; o++) {
		if (!o->value)
			continue;
		fprintf(out, "\t--%s) echo '", o->name);
		put_kind(out, o->names, o->words);
		fputs("' ;;\n", out);
	}
	fputs("\tesac\n}\n_vgpu_admin_argument() {\n\tcase \"$1 $2\" in\n", out);
	each_action(out, put_arguments);
	fputs("\tesac\n}\n", out);
	put_item_values(out);
	while (fgets(line, sizeof(line), stdin))
		fputs(line, out);
}
