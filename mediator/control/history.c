// SPDX-License-Identifier: Apache-2.0
// The operation history: each tenant's share of the GPU over the last minutes. Runs in the mediator's loop.
#include "mediator/control/operations.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

static bool is_any(const struct history *h, uint64_t from, uint64_t to)
{
	for (uint64_t n = from; n < to; n++) {
		struct history_entry e = history_entry(h, n);

		if (e.target | e.achieved)
			return true;
	}
	return false;
}

static json_t *describe(const struct tenant *t, uint64_t from, uint64_t to)
{
	json_t *target = json_array(), *achieved = json_array();

	for (uint64_t n = from; n < to; n++) {
		struct history_entry e = history_entry(&t->history, n);

		json_array_append_new(target, json_integer(e.target));
		json_array_append_new(achieved, json_integer(e.achieved));
	}
	return json_pack("{s:I, s:s, s:s, s:o, s:o}", "tenant", (json_int_t)t->id, "name", t->name, "pool",
			 t->pool->name, "target", target, "achieved", achieved);
}

static void history_called(struct control_call *c)
{
	const json_t *most = json_object_get(c->request, "most");
	json_int_t steps = most ? json_integer_value(most) : HISTORY_STEPS - 1;
	uint64_t now = clock_now_ns(), to = now / HISTORY_STEP_NS, from;
	json_t *tenants;

	if (steps < 1 || steps >= HISTORY_STEPS) {
		control_fail(c, CONTROL_E_VALUE, "most: not 1 to %d", HISTORY_STEPS - 1);
		return;
	}
	from = to > (uint64_t)steps ? to - (uint64_t)steps : 0;
	tenants = json_array();
	for (struct tenant *t = tenant_from_id(c->mediator, 0); t; t = tenant_after(t))
		if (!t->removed && is_any(&t->history, from, to))
			json_array_append_new(tenants, describe(t, from, to));
	json_object_set_new(c->answer, "step_ns", json_integer((json_int_t)HISTORY_STEP_NS));
	json_object_set_new(c->answer, "from_step", json_integer((json_int_t)from));
	json_object_set_new(c->answer, "age_ns", json_integer((json_int_t)(now % HISTORY_STEP_NS)));
	json_object_set_new(c->answer, "tenants", tenants);
}

static const struct control_field fields[] = {
	{ "most", CONTROL_INTEGER, false, "The most steps, up to now (all that are kept)." },
	{ 0 },
};

const struct control_operation control_history_operations[] = {
	{ "history",
	  "What tenants were to have of the GPU and had, oldest first, in hundredths of a percent, for each "
	  "step "
	  "of the last ten minutes; age_ns: how long ago the newest ended. Tenants that had nothing are left "
	  "out.",
	  fields, 0, false, history_called },
	{ 0 },
};
