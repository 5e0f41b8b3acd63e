// SPDX-License-Identifier: Apache-2.0
// Operations migrate.status, .plan, .preflight, .canary, .apply, .rollback. Runs in the mediator's loop.
#include <errno.h>
#include <string.h>

#include "mediator/control/inventory.h"
#include "mediator/mediator.h"
#include "mediator/migrate/migrate.h"
#include "protocol/control/control.h"

#define DEFAULT_CANARY "10%"
#define DEFAULT_WAVE   10

static void refuse(struct control_call *c, int error, const char *why)
{
	control_fail(c,
		     error == -ENOENT  ? CONTROL_E_UNKNOWN
		     : error == -EBUSY ? CONTROL_E_STATE
				       : CONTROL_E_VALUE,
		     "%s", why);
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *when(int64_t at_s)
{
	return at_s ? json_integer(at_s) : json_null();
}

static json_t *group_of(const struct migrate_vm *v)
{
	return v->group ? json_sprintf("wave %u", v->group) : json_string("canary");
}

// ---- status ----

static json_t *figures(const struct migrate_summary *s, bool known, uint64_t strikes)
{
	json_t *o;

	if (!known)
		return json_null();
	o = json_object();
	control_set_count(o, "minutes", s->minutes);
	control_set_count(o, "errors", s->faults + strikes);
	json_object_set_new(o, "errors_per_hour",
			    json_real((double)migrate_errors_per_hour(s, strikes) / 100));
	control_set_count(o, "gpu_ns", s->gpu_ns);
	control_set_count(o, "launches", s->launches);
	if (s->launching)
		control_set_count(o, "gpu_ns_per_launch", s->per_launch);
	else
		json_object_set_new(o, "gpu_ns_per_launch", json_null());
	json_object_set_new(o, "launches_per_gpu_s",
			    s->launching && s->per_launch ? json_real(1e9 / (double)s->per_launch)
							  : json_null());
	json_object_set_new(o, "gpu_percent", s->minutes ? json_real((double)s->held / 100) : json_null());
	return o;
}

static json_t *describe(struct mediator *m, const struct migrate_vm *v)
{
	char why[MIGRATE_WHY_BYTES], next[MIGRATE_WHY_BYTES];
	const struct vm *vm = vm_find(m, v->uuid);
	bool may = migrate_may_move(m, v, why, next);
	json_t *o = json_object();

	migrate_next_step(m, v, next);
	json_object_set_new(o, "vm", json_string(v->uuid));
	json_object_set_new(o, "name", vm ? json_string(vm->name) : json_null());
	json_object_set_new(o, "personality",
			    vm ? json_string(vm_word(vm, POLICY_PERSONALITY)) : json_null());
	json_object_set_new(o, "protocol", vm ? json_string(vm_word(vm, POLICY_PROTOCOL)) : json_null());
	json_object_set_new(o, "libraries", vm ? control_vm_libraries(vm) : json_array());
	json_object_set_new(o, "from", json_string(migrate_origin(&m->migrate)));
	json_object_set_new(o, "to", json_string(migrate_target(&m->migrate)));
	json_object_set_new(o, "group", group_of(v));
	json_object_set_new(o, "preflight",
			    json_string(may				   ? "passed"
					: v->report == MIGRATE_REPORT_NONE ? "missing"
									   : "failed"));
	json_object_set_new(o, "preflight_why", text_or_null(why));
	json_object_set_new(o, "report", json_string(migrate_report_name(v->report)));
	json_object_set_new(o, "report_at", when(v->report_s));
	json_object_set_new(o, "report_why", text_or_null(v->report_why));
	json_object_set_new(o, "state", json_string(migrate_state_name(v->state)));
	json_object_set_new(o, "since", when(v->since_s));
	json_object_set_new(o, "why", text_or_null(v->why));
	json_object_set_new(o, "moved", when(v->moved_s));
	json_object_set_new(o, "started", when(v->started_s));
	json_object_set_new(o, "before", figures(&v->before, v->before_known, v->strikes_before));
	json_object_set_new(o, "after", figures(&v->after, v->after_known, migrate_strikes_after(m, v)));
	json_object_set_new(o, "next", text_or_null(next));
	return o;
}

static void add_run(json_t *to, const struct migrate *g)
{
	json_object_set_new(to, "run", json_boolean(g->there));
	json_object_set_new(to, "to", g->there ? json_string(migrate_target(g)) : json_null());
	json_object_set_new(to, "state",
			    g->there ? json_string(migrate_run_state_name(g->state)) : json_null());
	json_object_set_new(to, "why", text_or_null(g->why));
	json_object_set_new(to, "began", when(g->began_s));
	json_object_set_new(to, "ended", when(g->ended_s));
	json_object_set_new(to, "groups", json_integer(g->groups));
	json_object_set_new(to, "begun", json_integer(g->begun));
}

static void add_counts(json_t *to, struct mediator *m, const struct migrate_vms *vms)
{
	unsigned n[MIGRATE_STATES] = { 0 }, custom = 0, nvidia = 0;
	json_t *counts = json_object();
	struct migrate_vm *v;
	struct vm *vm;

	TAILQ_FOREACH (v, vms, link)
		n[v->state]++;
	for (unsigned i = 0; i < MIGRATE_STATES; i++)
		json_object_set_new(counts, migrate_state_name(i), json_integer(n[i]));
	for (vm = vm_after(m, NULL); vm; vm = vm_after(m, vm))
		*(vm_item(vm, POLICY_PERSONALITY) ? &nvidia : &custom) += 1;
	json_object_set_new(to, "counts", counts);
	json_object_set_new(to, "host",
			    json_pack("{s:i, s:i}", MIGRATE_CUSTOM, custom, MIGRATE_NVIDIA, nvidia));
}

static void answer_status(struct control_call *c)
{
	struct mediator *m = c->mediator;
	json_t *rows = json_array();
	struct migrate_vm *v;

	add_run(c->answer, &m->migrate);
	TAILQ_FOREACH (v, &m->migrate.vms, link)
		json_array_append_new(rows, describe(m, v));
	json_object_set_new(c->answer, "vms", rows);
	add_counts(c->answer, m, &m->migrate.vms);
}

// ---- plan ----

static void answer_plan(struct control_call *c, const struct migrate_plan *p, const char *target)
{
	json_t *rows = json_array();
	const struct migrate_vm *v;

	TAILQ_FOREACH (v, &p->vms, link) {
		const struct vm *vm = vm_find(c->mediator, v->uuid);

		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:o}", "vm", v->uuid,
						      "name", vm->name, "from",
						      vm_word(vm, POLICY_PERSONALITY), "to", target, "group",
						      group_of(v), "protocol", vm_word(vm, POLICY_PROTOCOL),
						      "libraries", control_vm_libraries(vm)));
	}
	json_object_set_new(c->answer, "vms", rows);
	json_object_set_new(c->answer, "groups", json_integer(p->groups));
}

static void plan_called(struct control_call *c)
{
	const char *to = control_text(c, "to"), *canary = control_text(c, "canary");
	json_t *wave = json_object_get(c->request, "wave");
	struct migrate_wish wish = {
		.to_nvidia = !to || strcmp(to, MIGRATE_NVIDIA) == 0,
		.vms = control_text(c, "vms"),
		.pool = control_text(c, "pool"),
		.profile = control_text(c, "profile"),
		.canary = canary ? canary : DEFAULT_CANARY,
		.dry = json_is_true(json_object_get(c->request, "dry_run")),
		.end = json_is_true(json_object_get(c->request, "end")),
	};
	json_int_t n = wave ? json_integer_value(wave) : DEFAULT_WAVE;
	char why[MIGRATE_WHY_BYTES];
	struct migrate_plan plan;
	int r;

	if (!wish.to_nvidia && strcmp(to, MIGRATE_CUSTOM) != 0) {
		control_fail(c, CONTROL_E_VALUE, "to: custom or nvidia");
		return;
	}
	if ((wish.pool && !control_pool(c, "pool")) || (wish.profile && !control_profile(c, "profile")))
		return;
	wish.wave = n > 0 && n <= VGPU_MAX_VMS ? (uint32_t)n : 0;
	r = migrate_plan(c->mediator, &wish, &plan, why);
	if (r < 0)
		refuse(c, r, why);
	else if (wish.dry)
		answer_plan(c, &plan, wish.to_nvidia ? MIGRATE_NVIDIA : MIGRATE_CUSTOM);
	else
		answer_status(c);
	if (r == 0)
		json_object_set_new(c->answer, "there_already", json_integer(plan.there_already));
	migrate_plan_done(&plan);
}

// ---- the others ----

static void preflight_called(struct control_call *c)
{
	const char *text = control_text(c, "vm"), *report = control_text(c, "report");
	const char *reason = control_text(c, "without_report");
	char uuid[VM_UUID_BYTES], why[MIGRATE_WHY_BYTES];
	int r = 0;

	if (text && !vm_uuid_parse(text, uuid)) {
		control_fail(c, CONTROL_E_VALUE, "vm: '%.40s' is not a uuid", text);
		return;
	}
	if ((report && reason) || (reason && !text)) {
		control_fail(c, CONTROL_E_VALUE, "without_report: a reason, for one VM that is named");
		return;
	}
	if (report)
		r = migrate_take_report(c->mediator, text ? uuid : NULL, report, strlen(report), why);
	else if (reason)
		r = migrate_waive_report(c->mediator, uuid, reason, why);
	if (r < 0)
		refuse(c, r, why);
	else
		answer_status(c);
}

static void begin(struct control_call *c, bool canary)
{
	bool force = json_is_true(json_object_get(c->request, "force"));
	char why[MIGRATE_WHY_BYTES];
	unsigned moved, left;
	int r = migrate_begin(c->mediator, canary, force, &moved, &left, why);

	if (r < 0) {
		refuse(c, r, why);
		return;
	}
	answer_status(c);
	json_object_set_new(c->answer, "moved", json_integer(moved));
	json_object_set_new(c->answer, "left", json_integer(left));
}

static void canary_called(struct control_call *c)
{
	begin(c, true);
}

static void apply_called(struct control_call *c)
{
	begin(c, false);
}

static void rollback_called(struct control_call *c)
{
	char why[MIGRATE_WHY_BYTES];
	unsigned n;
	int r = migrate_rollback(c->mediator, control_text(c, "vms"), &n, why);

	if (r < 0) {
		refuse(c, r, why);
		return;
	}
	answer_status(c);
	json_object_set_new(c->answer, "rolled_back", json_integer(n));
}

#define VMS_FIELD(help) { "vms", CONTROL_STRING, false, help }

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field plan_fields[] = {
	{ "to", CONTROL_STRING, false,
	  "nvidia (if it is not said) or custom: the personality that they are to have." },
	VMS_FIELD("Uuids with commas between them. Without it: all."),
	{ "pool", CONTROL_NAME, false, "Only those whose tenant is in this pool." },
	{ "profile", CONTROL_NAME, false, "Only those with a vGPU of this profile." },
	{ "canary", CONTROL_STRING, false, "How many go first: a number or percent (10%)." },
	{ "wave", CONTROL_INTEGER, false, "How many go in each of the waves that follow (10)." },
	{ "dry_run", CONTROL_BOOLEAN, false, "Only tell; nothing is kept." },
	{ "end", CONTROL_BOOLEAN, false, "A run that goes on ends; what it moved stays as it is." },
	{ 0 },
};
static const struct control_field preflight_fields[] = {
	{ "vm", CONTROL_STRING, false, "Its uuid. Without it the report says whose it is." },
	{ "report", CONTROL_STRING, false,
	  "What vgpu-guest-check --json --for PERSONALITY printed in the VM, as text; up to 12288 bytes." },
	{ "without_report", CONTROL_STRING, false,
	  "Why the VM may move without one; it goes into the audit." },
	{ 0 },
};
static const struct control_field apply_fields[] = {
	{ "force", CONTROL_BOOLEAN, false, "Also when the group before is not judged, or could not be." },
	{ 0 },
};
static const struct control_field rollback_fields[] = {
	VMS_FIELD("Uuids with commas between them. Without it: all that were moved, and the run ends."),
	{ 0 },
};

const struct control_operation control_migrate_operations[] = {
	{ "migrate.status",
	  "The run that moves VMs from one personality to the other, and each of its VMs: what it was and is "
	  "to be, "
	  "whether it may move, how it did before and does now, what to do next.",
	  no_fields, 0, false, answer_status },
	{ "migrate.plan",
	  "Which VMs would move, the canary first and then in waves. It is the host's run from then on; "
	  "nothing "
	  "moves yet.",
	  plan_fields, 0, true, plan_called },
	{ "migrate.preflight",
	  "Takes what a VM's guest says of itself, or that it may move without that. Answers as "
	  "migrate.status.",
	  preflight_fields, 0, true, preflight_called },
	{ "migrate.canary",
	  "Gives the canary's VMs their new personality, which each has from its next start on. The mediator "
	  "judges "
	  "them, and takes it back if one is not as well as before.",
	  no_fields, 0, true, canary_called },
	{ "migrate.apply", "The same with the next wave, if the group before is well.", apply_fields, 0, true,
	  apply_called },
	{ "migrate.rollback", "VMs are again what they were before the run, from their next start on.",
	  rollback_fields, 0, true, rollback_called },
	{ 0 },
};
