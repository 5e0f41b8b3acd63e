// SPDX-License-Identifier: Apache-2.0
// vgpu-admin limit: everything that can be said of a tenant's, pool's or profile's use of the GPU, with the
// ranges of mediator/limit/policy.def.
#include "admin/call.h"
#include "admin/commands.h"
#include "admin/help.h"
#include "admin/items.h"

#define ANYBODYS (POLICY_FOR_TENANT | POLICY_FOR_POOL | POLICY_FOR_PROFILE)

static const char *whose_text(unsigned item)
{
	if (!policy_is_for(item, POLICY_FOR_POOL))
		return policy_is_for(item, POLICY_FOR_TENANT) ? "tenants, profiles" : "profiles";
	return policy_is_for(item, POLICY_FOR_TENANT) ? "tenants, profiles, pools" : "pools";
}

static void print_item(unsigned item, FILE *out)
{
	char range[100];

	policy_print_range(item, range, sizeof(range));
	fprintf(out, "%s=%s  (%s)\n", policy_name(item), range, whose_text(item));
	help_wrap(out, policy_help(item), 0, 6);
}

static int items_run(struct admin_call *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		char range[100];

		policy_print_range(i, range, sizeof(range));
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s}", "item", policy_name(i), "for",
						whose_text(i), "values", range, "help", policy_help(i)));
		if (!c->json)
			print_item(i, c->output.out);
	}
	if (c->json) {
		json_dumpf(list, c->output.out, JSON_COMPACT);
		fputc('\n', c->output.out);
	}
	json_decref(list);
	return ADMIN_OK;
}

static const struct view_column no_columns[] = { { 0 } };
static const struct view show_view = { .columns = no_columns, .items = ANYBODYS };

static const struct admin_argument whose[] = {
	{ "KIND", "kind", false, NAMES_WORDS, "tenant|pool|profile", "tenant, pool or profile." },
	{ "NAME", "name", false, NAMES_OF_KIND, NULL, "Which one." },
	{ 0 },
};
static const char *const fields[] = { "pool", "profile", NULL };

static const struct admin_action actions[] = {
	{ "show", "Shows the limits in force.", "GET", "/v1/{kind}s/{name}", whose, .view = &show_view },
	{ "set", "Changes what is said, at once. A tenant also takes pool=NAME and profile=NAME.", "PATCH",
	  "/v1/{kind}s/{name}", whose, .items = ANYBODYS, .fields = fields, .items_required = true,
	  .done = "The limits of this %s are changed." },
	{ "items", "Lists what can be set, with its values. Asks nobody.", .run = items_run },
	{ 0 },
};

static const char *const examples[] = { "limit set tenant blue memory=4G launches_per_s=10000",
					"4 GiB and ten thousand kernels a second", "limit show pool research",
					"what a pool has", NULL };

const struct admin_command admin_command_limit = { "limit", "Limits of tenants, pools and profiles",
						   "Sizes have the units K, M, G and T (1024), times ns, us, "
						   "ms and s, parts of the GPU are percent. 0 is no "
						   "limit, or what the mediator's settings say.",
						   actions, examples };
