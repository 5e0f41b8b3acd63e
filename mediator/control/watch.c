// SPDX-License-Identifier: Apache-2.0
// Operations of the watch: strike.list, quarantine.list, quarantine.add, quarantine.release. Runs in the
// mediator's loop.
#include "common/clock.h"
#include "common/units.h"
#include "mediator/control/operations.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

static void set_count(json_t *to, const char *name, uint64_t value)
{
	json_object_set_new(to, name, json_integer((json_int_t)(value <= INT64_MAX ? value : INT64_MAX)));
}

static json_t *counts_of(const struct strike_book *b)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < STRIKE_OPERATOR; i++)
		set_count(o, strike_cause_text(i), b->counts[i]);
	return o;
}

static void strike_list_called(struct control_call *c)
{
	json_t *rows = json_array();
	uint64_t now = clock_now_ns();
	struct tenant *t;

	for (t = tenant_from_id(c->mediator, 0); t; t = tenant_after(t)) {
		const struct strike_rules *rules = &t->watch.rules.strikes;
		const struct strike_book *b = &t->watch.book;
		json_t *o, *recent;
		uint32_t n = strikes_counting(b, rules, now);
		bool some = n;

		for (unsigned i = 0; i < STRIKE_CAUSES; i++)
			some |= b->counts[i] != 0;
		if (t->removed || !some)
			continue;
		o = json_object();
		recent = json_array();
		set_count(o, "tenant", t->id);
		json_object_set_new(o, "name", json_string(t->name));
		set_count(o, "counting", n);
		set_count(o, "most", rules->most);
		json_object_set_new(o, "counts", counts_of(b));
		for (uint32_t i = 0; i < n; i++) {
			const struct strike *s = strikes_recent(b, i);
			json_t *r = json_object();

			set_count(r, "age_ns", now > s->at_ns ? now - s->at_ns : 0);
			json_object_set_new(r, "cause", json_string(strike_cause_text(s->cause)));
			json_array_append_new(recent, r);
		}
		json_object_set_new(o, "recent", recent);
		json_array_append_new(rows, o);
	}
	json_object_set_new(c->answer, "tenants", rows);
}

static void add_row(void *rows, const struct quarantine_row *r)
{
	json_t *o = json_object();

	set_count(o, "tenant", r->tenant->id);
	json_object_set_new(o, "name", json_string(r->tenant->name));
	json_object_set_new(o, "cause", json_string(strike_cause_text(r->cause)));
	if (r->left_ns == STRIKES_FOREVER)
		json_object_set_new(o, "left_ns", json_null());
	else
		set_count(o, "left_ns", r->left_ns);
	json_array_append_new(rows, o);
}

static void quarantine_list_called(struct control_call *c)
{
	json_t *rows = json_array();

	quarantine_list(c->mediator, add_row, rows);
	json_object_set_new(c->answer, "tenants", rows);
}

static void quarantine_add_called(struct control_call *c)
{
	const char *text = control_text(c, "for");
	struct tenant *t = control_tenant(c, "tenant");
	uint64_t for_ns = 0;

	if (!t)
		return;
	if (text && unit_parse(text, 10, unit_times, &for_ns) < 0) {
		control_fail(c, CONTROL_E_VALUE, "for: '%.40s' is not a time with its unit (ns, us, ms, s)",
			     text);
		return;
	}
	set_count(c->answer, "channels", t->n_channels);
	quarantine_add(t, for_ns);
}

static void quarantine_release_called(struct control_call *c)
{
	struct tenant *t = control_tenant(c, "tenant");

	if (t && !quarantine_release(t))
		control_fail(c, CONTROL_E_STATE, "tenant '%.64s' is not in quarantine", t->name);
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field tenant_only[] = { { "tenant", CONTROL_TENANT, true, "Its name or id." },
						    { 0 } };
static const struct control_field add_fields[] = {
	{ "tenant", CONTROL_TENANT, true, "Its name or id." },
	{ "for", CONTROL_STRING, false, "For how long (\"600 s\"); without it until it is released." },
	{ 0 },
};

const struct control_operation control_watch_operations[] = {
	{ "strike.list",
	  "Tenants with strikes: how many of each cause ever, and those that count towards quarantine now, "
	  "newest first.",
	  no_fields, 0, false, strike_list_called },
	{ "quarantine.list",
	  "Tenants in quarantine, why, and for how much longer (null: until they are released).", no_fields,
	  0, false, quarantine_list_called },
	{ "quarantine.add",
	  "Puts a tenant into quarantine, or changes the time of one: its channels end and none opens. "
	  "\"channels\" in "
	  "the answer: how many there were.",
	  add_fields, 0, true, quarantine_add_called },
	{ "quarantine.release", "Ends a tenant's quarantine and forgets its recent strikes.", tenant_only, 0,
	  true, quarantine_release_called },
	{ 0 },
};
