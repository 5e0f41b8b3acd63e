// SPDX-License-Identifier: Apache-2.0
// vgpu-admin config: the mediator's settings in force.
#include <string.h>

#include "admin/call.h"
#include "admin/commands.h"

static const struct view_column columns[] = {
	{ "SETTING", "name", FORMAT_TEXT },
	{ "VALUE", "value", FORMAT_TEXT, .cut = true },
	{ "FROM", "from", FORMAT_TEXT },
	{ 0 },
};
static const struct view view = { .columns = columns };

static const struct admin_argument arguments[] = {
	{ "NAME", NULL, true, NAMES_NONE, NULL, "A section or a setting: turn, turn.length." }, { 0 }
};
static const struct admin_option options[] = {
	{ "changed", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Only what is not as by default." }, { 0 }
};

// "turn" is the section of "turn.length".
static bool is_meant(const struct admin_call *c, const char *name, const json_t *setting)
{
	const char *wanted = c->argument[0], *from = json_string_value(json_object_get(setting, "from"));
	size_t n = wanted ? strlen(wanted) : 0;

	if (admin_flag(c, "changed") && from && strcmp(from, "default") == 0)
		return false;
	return !wanted || (strncmp(wanted, name, n) == 0 && (!name[n] || name[n] == '.'));
}

// A number is shown with its unit, as it is written in the configuration.
static json_t *row_of(const char *name, const json_t *setting)
{
	json_t *row = json_object(), *shown = json_object_get(setting, "shown");

	json_object_set_new(row, "name", json_string(name));
	json_object_set(row, "value", shown ? shown : json_object_get(setting, "value"));
	json_object_set(row, "from", json_object_get(setting, "from"));
	return row;
}

static enum admin_exit print(struct admin_call *c, const json_t *settings)
{
	enum admin_exit r = ADMIN_OK;
	json_t *chosen = json_array(), *setting;
	const char *name;

	json_object_foreach((json_t *)settings, name, setting)
	{
		if (is_meant(c, name, setting))
			json_array_append_new(chosen, row_of(name, setting));
	}
	if (json_array_size(chosen))
		view_print_list(&view, chosen, &c->output);
	else if (c->argument[0] && !admin_flag(c, "changed"))
		r = admin_usage_error(c, "there is no setting '%s'", c->argument[0]);
	else
		fputs("All is as by default.\n", c->output.out);
	json_decref(chosen);
	return r;
}

static int config_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	if (r != ADMIN_OK)
		return r;
	if (!admin_print_json(c, &a))
		r = print(c, json_object_get(a.json, "settings"));
	admin_answer_done(&a);
	return r;
}

static const struct admin_action actions[] = {
	{ "", "Shows the settings in force and where each comes from.", "GET", "/v1/config", arguments,
	  options, .run = config_run },
	{ 0 },
};

static const char *const examples[] = { "config turn", "the settings of a section", NULL };

const struct admin_command admin_command_config = {
	"config", "The mediator's settings in force",
	"vgpu-mediator --help-settings says what each does. They are changed in its configuration file.",
	actions, examples
};
