// SPDX-License-Identifier: Apache-2.0
// VMs go over and come back, and what follows from it for the run. Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/mediator.h"
#include "mediator/migrate/migrate.h"
#include "mediator/tenant.h"

#define GROUP_NAME_BYTES 24

static const char *group_name(uint32_t group, char ret[static GROUP_NAME_BYTES])
{
	if (group)
		snprintf(ret, GROUP_NAME_BYTES, "wave %u", group);
	else
		snprintf(ret, GROUP_NAME_BYTES, "the canary");
	return ret;
}

static json_t *group_field(uint32_t group)
{
	char name[GROUP_NAME_BYTES];

	return json_string(group ? group_name(group, name) : "canary");
}

static uint64_t strikes_ever(const struct tenant *t)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < STRIKE_CAUSES; i++)
		if (i != STRIKE_OPERATOR)
			n += t->watch.book.counts[i];
	return n;
}

static uint64_t not_opened(const struct tenant *t)
{
	return t->metrics ? t->metrics->ended[METRICS_END_NOT_STARTED] : 0;
}

static uint64_t strikes_within(const struct tenant *t, uint64_t within_ns)
{
	const struct strike_book *b = &t->watch.book;
	uint64_t now = clock_now_ns(), n = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		const struct strike *s = strikes_recent(b, i);

		n += s->cause != STRIKE_OPERATOR && (s->at_ns >= now || now - s->at_ns <= within_ns);
	}
	return n;
}

static uint64_t grown(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

uint64_t migrate_strikes_after(struct mediator *m, const struct migrate_vm *v)
{
	const struct vm *vm = vm_find(m, v->uuid);
	const struct tenant *t = vm ? vm->tenant : NULL;

	if (!t || !v->started_s)
		return 0;
	return grown(strikes_ever(t), v->strikes_at_start) +
	       (v->not_opened_known ? grown(not_opened(t), v->not_opened_start) : 0);
}

// ---- one VM ----

static void set_personality(struct mediator *m, struct vm *vm, const char *personality)
{
	struct vm_wish wish = { .personality = personality };
	char why[INVENTORY_WHY_BYTES];

	if (vm_set(m, vm, &wish, why) < 0) // refuses other words only
		log_error("VM %s does not become '%s': %s", vm->uuid, personality, why);
}

void migrate_count_from_now(struct mediator *m, struct migrate_vm *v, bool strikes)
{
	const struct vm *vm = vm_find(m, v->uuid);

	if (!vm || !vm->tenant) // with a vGPU it has those of before again
		return;
	if (strikes)
		v->strikes_at_start = strikes_ever(vm->tenant);
	v->not_opened_start = not_opened(vm->tenant);
	v->not_opened_known = true;
}

static void start_seen(struct mediator *m, struct migrate_vm *v)
{
	v->started_s = migrate_now_s();
	v->after_known = v->last_look = false;
	migrate_count_from_now(m, v, true);
	migrate_set_state(m, v, MIGRATE_OBSERVED, "%s", "");
}

// Whether the VM has ended, or does not run: its next start is with the new personality. A stub that has not
// come back to this mediator yet, or has not said yet whether its monitor is there, says nothing of that.
static bool is_off(struct mediator *m, struct migrate_vm *v, const struct vm *vm)
{
	if (migrate_vm_is_there(vm)) {
		v->seen = true;
		return false;
	}
	return v->seen || clock_now_ns() - m->migrate.init_ns > m->settings->slot_grace;
}

void migrate_see(struct mediator *m, struct migrate_vm *v, const struct vm *vm)
{
	if (m->stopping) // its connections end, and no VM
		return;
	if (migrate_goes_on(&m->migrate) && v->state == MIGRATE_WAITING && is_off(m, v, vm))
		start_seen(m, v);
}

void migrate_vm_changed(struct mediator *m, const struct vm *vm)
{
	struct migrate_vm *v = migrate_goes_on(&m->migrate) ? migrate_vm_find(m, vm->uuid) : NULL;

	if (v)
		migrate_see(m, v, vm);
}

// One that may go.
static void move(struct mediator *m, struct migrate_vm *v)
{
	uint64_t within = m->settings->migrate_baseline;
	struct vm *vm = vm_find(m, v->uuid);

	set_personality(m, vm, migrate_target(&m->migrate));
	v->moved_s = migrate_now_s();
	v->started_s = 0;
	v->strikes_before = vm->tenant ? strikes_within(vm->tenant, within) : 0;
	v->before_known = v->after_known = v->seen = false;
	migrate_count_from_now(m, v, true);
	migrate_set_state(m, v, MIGRATE_WAITING, "%s", "");
	migrate_see(m, v, vm);
}

// What it was, from its next start on. One that is no longer known has nothing to go back to.
static void put_back(struct mediator *m, struct migrate_vm *v, const char *reason)
{
	struct vm *vm = vm_find(m, v->uuid);

	if (vm)
		set_personality(m, vm, v->was);
	migrate_set_state(m, v, MIGRATE_BACK, "%s", reason);
}

// ---- groups ----

struct group_count {
	unsigned moving;	       // of all that were begun
	unsigned good, unjudged, back; // of the last one
};

static struct group_count count(const struct migrate *g)
{
	struct group_count n = { 0 };
	struct migrate_vm *v;

	TAILQ_FOREACH (v, &g->vms, link) {
		n.moving += v->state == MIGRATE_WAITING || v->state == MIGRATE_OBSERVED;
		n.good += v->group + 1 == g->begun && v->state == MIGRATE_WELL;
		n.unjudged += v->group + 1 == g->begun && v->state == MIGRATE_NOT_JUDGED;
		n.back += v->group + 1 == g->begun && v->state == MIGRATE_BACK;
	}
	return n;
}

// Its group, and what nobody would judge any more.
static bool goes_back_with(const struct migrate_vm *v, const struct migrate_vm *failed)
{
	if (v == failed)
		return false;
	return v->state == MIGRATE_WAITING || v->state == MIGRATE_OBSERVED || v->state == MIGRATE_FAILED ||
	       (v->group == failed->group && migrate_is_moved(v));
}

// The one that failed comes last, so that whoever goes on after a mediator that died sees that there is
// something to do.
static void roll_group_back(struct mediator *m, struct migrate_vm *failed)
{
	char reason[MIGRATE_WHY_BYTES], name[GROUP_NAME_BYTES], cause[MIGRATE_WHY_BYTES];
	struct migrate_vm *v;

	group_name(failed->group, name);
	snprintf(cause, sizeof(cause), "%s", failed->why);
	log_warning("migration: VM %s is not as well as before (%s): %s goes back", failed->uuid, cause,
		    name);
	event_publish(m, EVENT_MIGRATE_ROLLED_BACK, NULL,
		      json_pack("{s:o, s:s}", "group", group_field(failed->group), "vm", failed->uuid), "%s",
		      cause);
	snprintf(reason, sizeof(reason), "with %s, since VM %s failed", name, failed->uuid);
	TAILQ_FOREACH (v, &m->migrate.vms, link)
		if (goes_back_with(v, failed))
			put_back(m, v, v->state == MIGRATE_FAILED ? v->why : reason);
	migrate_set_run(m, MIGRATE_RUN_STOPPED, "%s went back: VM %s: %.300s", name, failed->uuid, cause);
	put_back(m, failed, cause);
}

static bool is_all_done(struct mediator *m)
{
	struct migrate_vm *v;

	TAILQ_FOREACH (v, &m->migrate.vms, link)
		if (v->state == MIGRATE_PLANNED || v->state == MIGRATE_WAITING ||
		    v->state == MIGRATE_OBSERVED)
			return false;
	return true;
}

static void settle_group(struct mediator *m)
{
	struct migrate *g = &m->migrate;
	struct group_count n = count(g);
	char name[GROUP_NAME_BYTES];

	if (n.moving || g->state != MIGRATE_RUN_MOVING)
		return;
	group_name(g->begun - 1, name);
	if (n.good) {
		event_publish(m, EVENT_MIGRATE_GOOD, NULL,
			      json_pack("{s:o}", "group", group_field(g->begun - 1)), "%s is well", name);
		migrate_set_run(m, MIGRATE_RUN_GOOD, "%s is well", name);
	} else if (n.unjudged) {
		event_publish(m, EVENT_MIGRATE_UNJUDGED, NULL,
			      json_pack("{s:o}", "group", group_field(g->begun - 1)),
			      "%s did too little to be judged", name);
		migrate_set_run(m, MIGRATE_RUN_UNJUDGED, "%s did too little to be judged", name);
	} else if (n.back) {
		migrate_set_run(m, MIGRATE_RUN_STOPPED, "nothing of %s is left", name);
	} else { // the mediator that began it died before it came to its VMs
		g->begun--;
		migrate_set_run(m, g->begun ? MIGRATE_RUN_GOOD : MIGRATE_RUN_PLANNED, "%s was not moved",
				name);
	}
}

void migrate_settle(struct mediator *m)
{
	struct migrate *g = &m->migrate;
	struct migrate_vm *v;

	TAILQ_FOREACH (v, &g->vms, link) {
		if (v->state != MIGRATE_FAILED)
			continue;
		roll_group_back(m, v);
		return;
	}
	if (!migrate_goes_on(g) || !g->begun)
		return;
	settle_group(m);
	if ((g->state == MIGRATE_RUN_GOOD || g->state == MIGRATE_RUN_UNJUDGED) && is_all_done(m))
		migrate_set_run(m, MIGRATE_RUN_DONE, "%s",
				g->state == MIGRATE_RUN_GOOD
				    ? "no VM is left to move"
				    : "no VM is left to move; the last were not judged");
}

// ---- by operators ----

static int check_begin(struct mediator *m, bool canary, bool force, char *why)
{
	const struct migrate *g = &m->migrate;
	const char *text = NULL;

	if (!migrate_goes_on(g))
		text = "there is no run that goes on: migrate.plan begins one";
	else if (canary && g->begun)
		text = "the canary was begun already: migrate.apply goes on";
	else if (!canary && !g->begun)
		text = "the canary comes first: migrate.canary";
	else if (!canary && g->state == MIGRATE_RUN_MOVING && !force)
		text = "the group before is not judged yet (migrate.status); force goes on all the same";
	else if (!canary && g->state == MIGRATE_RUN_UNJUDGED && !force)
		text = "the group before did too little to be judged; force goes on all the same";
	snprintf(why, MIGRATE_WHY_BYTES, "%s", text ? text : "");
	return text ? -EBUSY : 0;
}

static bool may_go(struct mediator *m, const struct migrate_vm *v, uint32_t most_group)
{
	char why[MIGRATE_WHY_BYTES], next[MIGRATE_WHY_BYTES];

	return v->group <= most_group && v->state == MIGRATE_PLANNED && migrate_may_move(m, v, why, next);
}

int migrate_begin(struct mediator *m, bool canary, bool force, unsigned *ret_moved, unsigned *ret_left,
		  char *why)
{
	struct migrate *g = &m->migrate;
	uint32_t group = g->begun < g->groups ? g->begun : g->groups - 1;
	char name[GROUP_NAME_BYTES];
	struct migrate_vm *v;
	int r = check_begin(m, canary, force, why);

	if (r < 0)
		return r;
	*ret_moved = *ret_left = 0;
	TAILQ_FOREACH (v, &g->vms, link)
		if (v->group <= group && v->state == MIGRATE_PLANNED)
			++*(may_go(m, v, group) ? ret_moved : ret_left);
	if (!*ret_moved) {
		snprintf(why, MIGRATE_WHY_BYTES,
			 "none of the %u VMs of %s may move: migrate.status says what is missing", *ret_left,
			 group_name(group, name));
		return -EBUSY;
	}
	g->begun = group + 1;
	migrate_set_run(m, MIGRATE_RUN_MOVING, "%s is moved", group_name(group, name));
	TAILQ_FOREACH (v, &g->vms, link)
		if (may_go(m, v, group))
			move(m, v);
	return 0;
}

int migrate_rollback(struct mediator *m, const char *vms, unsigned *ret, char *why)
{
	struct migrate *g = &m->migrate;
	struct migrate_vm *v;
	bool any = false;
	int r;

	*ret = 0;
	if (!g->there) {
		snprintf(why, MIGRATE_WHY_BYTES, "there was no run");
		return -EBUSY;
	}
	r = migrate_check_names(m, vms, true, why);
	if (r < 0)
		return r;
	TAILQ_FOREACH (v, &g->vms, link) {
		if (migrate_names(vms, v->uuid) && migrate_is_moved(v)) {
			put_back(m, v, "by an operator");
			++*ret;
		}
		any |= migrate_is_moved(v);
	}
	if (!vms || (!any && g->begun))
		migrate_set_run(m, MIGRATE_RUN_STOPPED, "rolled back by an operator");
	else
		migrate_settle(m);
	return 0;
}

void migrate_next_step(struct mediator *m, const struct migrate_vm *v, char ret[static MIGRATE_WHY_BYTES])
{
	const struct vm *vm = vm_find(m, v->uuid);
	char why[MIGRATE_WHY_BYTES];

	ret[0] = 0;
	if (!vm)
		return;
	if (v->state == MIGRATE_PLANNED && migrate_goes_on(&m->migrate))
		migrate_may_move(m, v, why, ret);
	else if (v->state == MIGRATE_WAITING)
		snprintf(ret, MIGRATE_WHY_BYTES,
			 "stop and start the VM (a restart from within is not enough)");
	else if (v->state == MIGRATE_OBSERVED && !migrate_vm_is_there(vm))
		snprintf(ret, MIGRATE_WHY_BYTES, "start the VM");
	else if (v->state == MIGRATE_BACK && v->started_s && vm->tenant && migrate_vm_is_there(vm))
		snprintf(ret, MIGRATE_WHY_BYTES, "stop and start the VM, if it was not since");
}
