// SPDX-License-Identifier: Apache-2.0
// Operations on profiles: profile.list, .get, .add, .set, .remove. Runs in the mediator's loop.
#include <errno.h>
#include <string.h>

#include "mediator/control/inventory.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

static const char *error_word(int result)
{
	switch (result) {
	case -ENOENT: return CONTROL_E_UNKNOWN;
	case -EBUSY: return CONTROL_E_STATE;
	case -EINVAL: return CONTROL_E_VALUE;
	case -ENOSPC: return CONTROL_E_LIMIT;
	case -ENODEV: return CONTROL_E_GPU;
	default: return CONTROL_E_INTERNAL;
	}
}

void control_inventory_did(struct control_call *c, int result, const char *why)
{
	if (result < 0)
		control_fail(c, error_word(result), "%s", why);
	else if (!c->mediator->record.store)
		json_object_set_new(c->answer, "kept", json_false());
}

struct profile *control_profile(struct control_call *c, const char *field)
{
	const char *name = control_text(c, field);
	struct profile *p = profile_find(c->mediator, name);

	if (!p)
		control_fail(c, CONTROL_E_UNKNOWN, "there is no profile '%.64s'", name);
	return p;
}

static void describe(json_t *to, const struct profile *p)
{
	json_t *given = json_object();

	control_add_given(given, &p->policy, POLICY_FOR_PROFILE);
	json_object_set_new(to, "profile", json_string(p->name));
	json_object_set_new(to, "from", json_string(p->fixed ? "settings" : "operator"));
	json_object_set_new(to, "read_only", json_boolean(p->fixed));
	json_object_set_new(to, "vgpus", json_integer(p->n_slots));
	json_object_set_new(to, "vms", json_integer(p->n_vms));
	json_object_set_new(to, "policy", given);
}

static void list_called(struct control_call *c)
{
	json_t *rows = json_array();
	struct profile *p;

	for (p = profile_after(c->mediator, NULL); p; p = profile_after(c->mediator, p)) {
		json_t *o = json_object();

		describe(o, p);
		json_array_append_new(rows, o);
	}
	json_object_set_new(c->answer, "profiles", rows);
}

static void get_called(struct control_call *c)
{
	struct profile *p = control_profile(c, "profile");

	if (p)
		describe(c->answer, p);
}

static void add_called(struct control_call *c)
{
	char why[INVENTORY_WHY_BYTES];
	int r = profile_add(c->mediator, control_text(c, "profile"), &c->policy, why);

	control_inventory_did(c, r, why);
}

static void set_called(struct control_call *c)
{
	struct profile *p = control_profile(c, "profile");
	char why[INVENTORY_WHY_BYTES];

	if (p)
		control_inventory_did(c, profile_set(c->mediator, p, &c->policy, why), why);
}

static void remove_called(struct control_call *c)
{
	struct profile *p = control_profile(c, "profile");
	char why[INVENTORY_WHY_BYTES];

	if (p)
		control_inventory_did(c, profile_remove(c->mediator, p, why), why);
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field name_only[] = { { "profile", CONTROL_NAME, true, "Its name." }, { 0 } };

const struct control_operation control_profile_operations[] = {
	{ "profile.list",
	  "All profiles: \"policy\" is what was said of each. Those of the settings are read only.",
	  no_fields, 0, false, list_called },
	{ "profile.get", "One profile.", name_only, 0, false, get_called },
	{ "profile.add", "Makes a profile, a size that vGPUs can have.", name_only, POLICY_FOR_PROFILE, true,
	  add_called },
	{ "profile.set",
	  "Changes what is given, at once also for the VMs that have a vGPU of it (but for what was set by "
	  "hand for "
	  "their tenants). More memory is refused where the card has no room for all its vGPUs then.",
	  name_only, POLICY_FOR_PROFILE, true, set_called },
	{ "profile.remove", "Removes a profile that no VM or vGPU names.", name_only, 0, true,
	  remove_called },
	{ 0 },
};
