// SPDX-License-Identifier: Apache-2.0
// The operation config: the settings in force, and where each came from. Runs in the mediator's loop.
#include <string.h>

#include "mediator/control/operations.h"
#include "mediator/mediator.h"

static json_t *describe_setting(const struct setting_view *v)
{
	json_t *o = json_object();

	if (v->text) {
		json_object_set_new(o, "value", json_string(v->text));
		json_object_set_new(o, "default", json_string(v->default_text));
	} else {
		control_set_count(o, "value", v->number);
		control_set_count(o, "default", v->default_number);
		json_object_set_new(o, "shown", json_string(v->shown));
	}
	json_object_set_new(o, "from", json_string(settings_source_name(v->source)));
	json_object_set_new(o, "help", json_string(v->help));
	return o;
}

static json_t *describe_sections(const struct named_policy *list, unsigned n, unsigned whom)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < n; i++) {
		json_t *o = json_object(), *given = json_object();

		control_add_given(given, &list[i].policy, whom);
		json_object_set_new(o, "from", json_string(settings_source_name(list[i].source)));
		json_object_set_new(o, "policy", given);
		json_object_set_new(all, list[i].name, o);
	}
	return all;
}

static void config_called(struct control_call *c)
{
	const struct settings *s = c->mediator->settings;
	json_t *all = json_object();

	for (unsigned i = 0; i < SETTINGS; i++) {
		struct setting_view v;
		char name[80];

		settings_view(s, (enum setting_index)i, &v);
		snprintf(name, sizeof(name), "%s.%s", v.section, v.key);
		json_object_set_new(all, name, describe_setting(&v));
	}
	json_object_set_new(c->answer, "settings", all);
	json_object_set_new(c->answer, "pools", describe_sections(s->pools, s->n_pools, POLICY_FOR_POOL));
	json_object_set_new(c->answer, "profiles",
			    describe_sections(s->profiles, s->n_profiles, POLICY_FOR_PROFILE));
}

static const struct control_field no_fields[] = { { 0 } };

const struct control_operation control_config_operations[] = {
	{ "config",
	  "The settings in force, with their defaults and where each came from (default, file, command "
	  "line), and the "
	  "[pool] and [profile] sections. What was set over the control socket is not here: pool.list, "
	  "profile.list and "
	  "tenant.list show it.",
	  no_fields, 0, false, config_called },
	{ 0 },
};
