// SPDX-License-Identifier: Apache-2.0
// Operations on tenants: tenant.set, tenant.disconnect, tenant.kill. Runs in the mediator's loop.
#include <stdint.h>

#include "common/clock.h"
#include "mediator/adopt/keep.h"
#include "mediator/control/operations.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

static void tenant_list_called(struct control_call *c)
{
	uint64_t now = clock_now_ns();
	json_t *rows = json_array();
	struct tenant *t;

	turns_refresh(&c->mediator->turns);
	for (t = tenant_from_id(c->mediator, 0); t; t = tenant_after(t)) {
		if (!t->removed)
			json_array_append_new(rows, control_describe_tenant(t, now));
	}
	json_object_set_new(c->answer, "tenants", rows);
}

static void tenant_get_called(struct control_call *c)
{
	struct tenant *t = control_tenant(c, "tenant");
	json_t *o, *policy;

	if (!t)
		return;
	turns_refresh(&c->mediator->turns);
	o = control_describe_tenant(t, clock_now_ns());
	json_object_update(c->answer, o);
	json_decref(o);
	// Two items have the names of other things in the tenant's row.
	policy = json_object();
	control_add_policy(policy, &t->policy, POLICY_FOR_TENANT);
	json_object_set_new(c->answer, "policy", policy);
}

static void tenant_set_called(struct control_call *c)
{
	const char *profile = control_text(c, "profile");
	struct tenant *t = control_tenant(c, "tenant");
	const struct profile *named = NULL;
	struct pool *pool = NULL;

	if (!t)
		return;
	if (control_text(c, "pool")) {
		pool = control_pool(c, "pool");
		if (!pool)
			return;
	}
	if (profile) {
		named = profile_find(c->mediator, profile);
		if (!named) {
			control_fail(c, CONTROL_E_UNKNOWN, "there is no profile '%.64s'", profile);
			return;
		}
	}
	if (named) {
		struct policy given = named->policy;

		policy_merge(&given, &c->policy);
		c->policy = given;
	}
	tenant_set_by_hand(t, &c->policy, pool);
	record_tenant_set(t, &c->policy, pool);
	keep_tenant(t);
}

static void tenant_disconnect_called(struct control_call *c)
{
	struct tenant *t = control_tenant(c, "tenant");

	if (!t)
		return;
	json_object_set_new(c->answer, "channels", json_integer(t->n_channels));
	tenant_disconnect(t, false);
}

static void tenant_kill_called(struct control_call *c)
{
	struct tenant *t = control_tenant(c, "tenant");

	if (!t)
		return;
	json_object_set_new(c->answer, "channels", json_integer(t->n_channels));
	tenant_disconnect(t, true);
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field set_fields[] = {
	{ "tenant", CONTROL_TENANT, true, "Its name or id." },
	{ "pool", CONTROL_NAME, false, "The pool that it is in from now on." },
	{ "profile", CONTROL_NAME, false, "A profile; what it says is set first, then what is given here." },
	{ 0 },
};
static const struct control_field tenant_only[] = { { "tenant", CONTROL_TENANT, true, "Its name or id." },
						    { 0 } };

const struct control_operation control_tenant_operations[] = {
	{ "tenant.list", "All tenants with their channels, as status shows them.", no_fields, 0, false,
	  tenant_list_called },
	{ "tenant.get", "One tenant, and all items of its policy in \"policy\".", tenant_only, 0, false,
	  tenant_get_called },
	{ "tenant.set", "Changes what is given, at once, also for programs that run.", set_fields,
	  POLICY_FOR_TENANT, true, tenant_set_called },
	{ "tenant.disconnect",
	  "Ends its programs' channels and connections in order; executors that do not end are killed "
	  "(executor.stop). It may connect again. \"channels\" in the answer: how many there were.",
	  tenant_only, 0, true, tenant_disconnect_called },
	{ "tenant.kill", "The same, and its executors are killed at once.", tenant_only, 0, true,
	  tenant_kill_called },
	{ 0 },
};
