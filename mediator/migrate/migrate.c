// SPDX-License-Identifier: Apache-2.0
// The run's life: made of rows of the store, told to it, and the timer that has it looked at. See the header.
// Runs in the mediator's loop.
#include "mediator/migrate/migrate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/mediator.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

static const char *const states[MIGRATE_STATES] = { "planned",	  "waiting", "observed",   "good",
						    "not judged", "failed",  "rolled back" };
static const char *const run_states[MIGRATE_RUN_STATES] = { "planned",	  "moving", "good",
							    "not judged", "done",   "stopped" };
static const char *const reports[] = { "none", "passed", "failed", "waived" };

const char *migrate_state_name(enum migrate_state s)
{
	return states[s];
}

const char *migrate_run_state_name(enum migrate_run_state s)
{
	return run_states[s];
}

const char *migrate_report_name(enum migrate_report_state s)
{
	return reports[s];
}

// n: none of them.
static unsigned find_word(const char *const *words, unsigned n, const char *word)
{
	unsigned i = 0;

	while (i < n && strcmp(words[i], word) != 0)
		i++;
	return i;
}

const char *migrate_target(const struct migrate *g)
{
	return g->to_nvidia ? MIGRATE_NVIDIA : MIGRATE_CUSTOM;
}

const char *migrate_origin(const struct migrate *g)
{
	return g->to_nvidia ? MIGRATE_CUSTOM : MIGRATE_NVIDIA;
}

bool migrate_goes_on(const struct migrate *g)
{
	return g->there && !g->ended_s;
}

bool migrate_is_moved(const struct migrate_vm *v)
{
	return v->state != MIGRATE_PLANNED && v->state != MIGRATE_BACK;
}

int64_t migrate_now_s(void)
{
	return time(NULL);
}

bool migrate_vm_is_there(const struct vm *vm)
{
	return vm->tenant && session_vm_is_there(vm->tenant);
}

// ---- its VMs ----

struct migrate_vm *migrate_vm_new(const char *uuid)
{
	struct migrate_vm *v = calloc(1, sizeof(*v));

	if (v)
		snprintf(v->uuid, sizeof(v->uuid), "%.36s", uuid);
	return v;
}

void migrate_vms_clear(struct migrate_vms *list)
{
	struct migrate_vm *v;

	while ((v = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, v, link);
		free(v);
	}
}

struct migrate_vm *migrate_vm_find(struct mediator *m, const char *uuid)
{
	struct migrate_vm *v;

	TAILQ_FOREACH (v, &m->migrate.vms, link)
		if (strcmp(v->uuid, uuid) == 0)
			break;
	return v;
}

// ---- to the store ----

void migrate_tell_run(struct mediator *m)
{
	const struct migrate *g = &m->migrate;
	struct store_row row = { .kind = STORE_MIGRATION, .key = STORE_MIGRATION_KEY };

	if (!m->record.store)
		return;
	snprintf(row.migration.target, sizeof(row.migration.target), "%s", migrate_target(g));
	snprintf(row.migration.state, sizeof(row.migration.state), "%s", run_states[g->state]);
	row.migration.began_s = (uint64_t)g->began_s;
	row.migration.ended_s = (uint64_t)g->ended_s;
	row.migration.groups = g->groups;
	row.migration.begun = g->begun;
	snprintf(row.migration.why, sizeof(row.migration.why), "%s", g->why);
	record_told(&m->record, store_put(m->record.store, record_who(&m->record), &row, NULL, NULL, NULL));
}

void migrate_tell_vm(struct mediator *m, const struct migrate_vm *v)
{
	struct store_row row = { .kind = STORE_MIGRATION_VM };

	if (!m->record.store)
		return;
	snprintf(row.key, sizeof(row.key), "%s", v->uuid);
	snprintf(row.migration_vm.was, STORE_NAME_BYTES, "%s", v->was);
	row.migration_vm.group = v->group;
	snprintf(row.migration_vm.state, STORE_NAME_BYTES, "%s", states[v->state]);
	row.migration_vm.since_s = (uint64_t)v->since_s;
	row.migration_vm.moved_s = (uint64_t)v->moved_s;
	row.migration_vm.started_s = (uint64_t)v->started_s;
	row.migration_vm.strikes_before = v->strikes_before;
	row.migration_vm.strikes_at_start = v->strikes_at_start;
	snprintf(row.migration_vm.report, STORE_NAME_BYTES, "%s", reports[v->report]);
	row.migration_vm.report_s = (uint64_t)v->report_s;
	snprintf(row.migration_vm.machine, STORE_NAME_BYTES, "%s", v->machine);
	snprintf(row.migration_vm.report_why, STORE_TEXT_BYTES, "%s", v->report_why);
	snprintf(row.migration_vm.why, STORE_TEXT_BYTES, "%s", v->why);
	record_told(&m->record, store_put(m->record.store, record_who(&m->record), &row, NULL, NULL, NULL));
}

void migrate_forget_vms(struct mediator *m)
{
	struct record *r = &m->record;
	struct migrate_vm *v;

	TAILQ_FOREACH (v, &m->migrate.vms, link)
		record_told(r,
			    store_remove(r->store, record_who(r), STORE_MIGRATION_VM, v->uuid, NULL, NULL));
	migrate_vms_clear(&m->migrate.vms);
	m->migrate.n_vms = 0;
}

void migrate_set_state(struct mediator *m, struct migrate_vm *v, enum migrate_state s, const char *format,
		       ...)
{
	va_list args;

	v->state = s;
	v->since_s = migrate_now_s();
	va_start(args, format);
	vsnprintf(v->why, sizeof(v->why), format, args);
	va_end(args);
	migrate_tell_vm(m, v);
}

void migrate_set_run(struct mediator *m, enum migrate_run_state s, const char *format, ...)
{
	struct migrate *g = &m->migrate;
	va_list args;

	g->state = s;
	va_start(args, format);
	vsnprintf(g->why, sizeof(g->why), format, args);
	va_end(args);
	if (s >= MIGRATE_RUN_DONE)
		g->ended_s = migrate_now_s();
	migrate_tell_run(m);
}

// ---- from the store ----

static void take_run(struct migrate *g, const struct store_row *row)
{
	unsigned state = find_word(run_states, MIGRATE_RUN_STATES, row->migration.state);

	if (state == MIGRATE_RUN_STATES) {
		log_warning("store: the migration's state '%s' is not known here, and it is left out",
			    row->migration.state);
		return;
	}
	g->there = true;
	g->to_nvidia = strcmp(row->migration.target, MIGRATE_NVIDIA) == 0;
	g->state = state;
	g->began_s = (int64_t)row->migration.began_s;
	g->ended_s = (int64_t)row->migration.ended_s;
	g->groups = (uint32_t)row->migration.groups;
	g->begun = (uint32_t)row->migration.begun;
	snprintf(g->why, sizeof(g->why), "%s", row->migration.why);
}

static void insert(struct migrate *g, struct migrate_vm *v)
{
	struct migrate_vm *at;

	TAILQ_FOREACH (at, &g->vms, link) // rows come by uuid
		if (at->group > v->group)
			break;
	if (at)
		TAILQ_INSERT_BEFORE(at, v, link);
	else
		TAILQ_INSERT_TAIL(&g->vms, v, link);
	g->n_vms++;
}

static void take_vm(struct migrate *g, const struct store_row *row)
{
	unsigned state = find_word(states, MIGRATE_STATES, row->migration_vm.state);
	unsigned report = find_word(reports, MIGRATE_REPORT_WAIVED + 1, row->migration_vm.report);
	struct migrate_vm *v;

	if (state == MIGRATE_STATES || report > MIGRATE_REPORT_WAIVED || g->n_vms >= VGPU_MAX_VMS)
		return;
	v = migrate_vm_new(row->key);
	if (!v)
		return;
	snprintf(v->was, sizeof(v->was), "%.7s", row->migration_vm.was);
	v->group = (uint32_t)row->migration_vm.group;
	v->state = state;
	v->since_s = (int64_t)row->migration_vm.since_s;
	v->moved_s = (int64_t)row->migration_vm.moved_s;
	v->started_s = (int64_t)row->migration_vm.started_s;
	v->strikes_before = row->migration_vm.strikes_before;
	v->strikes_at_start = row->migration_vm.strikes_at_start;
	v->report = report;
	v->report_s = (int64_t)row->migration_vm.report_s;
	snprintf(v->machine, sizeof(v->machine), "%.16s", row->migration_vm.machine);
	snprintf(v->report_why, sizeof(v->report_why), "%s", row->migration_vm.report_why);
	snprintf(v->why, sizeof(v->why), "%s", row->migration_vm.why);
	insert(g, v);
}

// Once more, if what was being loaded was broken.
void migrate_loading(struct mediator *m)
{
	struct migrate *g = &m->migrate;

	if (g->is_new)
		return;
	migrate_vms_clear(&g->vms);
	g->n_vms = 0;
	g->there = false;
}

// What is here already is newer than a row.
void migrate_row(struct mediator *m, const struct store_row *row)
{
	struct migrate *g = &m->migrate;

	if (g->is_new)
		return;
	if (row->kind == STORE_MIGRATION)
		take_run(g, row);
	else
		take_vm(g, row);
}

void migrate_loaded(struct mediator *m, bool fresh)
{
	struct migrate *g = &m->migrate;
	struct migrate_vm *v;

	if (fresh && g->is_new && g->there) { // a file that was broken, or replaced
		migrate_tell_run(m);
		TAILQ_FOREACH (v, &g->vms, link)
			migrate_tell_vm(m, v);
	}
	g->is_new = true;
}

// ---- the timer ----

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct mediator *m = userdata;

	(void)usec;
	migrate_look(m);
	sd_event_source_set_time(source, (clock_now_ns() + m->settings->migrate_look) / NSEC_PER_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int migrate_init(struct mediator *m)
{
	struct migrate *g = &m->migrate;
	int r;

	g->mediator = m;
	g->init_ns = clock_now_ns();
	TAILQ_INIT(&g->vms);
	if (!m->settings->store_path[0])
		return 0;
	r = sd_event_add_time(m->event, &g->timer, CLOCK_MONOTONIC,
			      (clock_now_ns() + m->settings->migrate_look) / NSEC_PER_USEC, 100000, on_timer,
			      m);
	return r < 0 ? r : sd_event_source_set_priority(g->timer, SD_EVENT_PRIORITY_NORMAL + 2);
}

void migrate_give_up_question(struct mediator *m)
{
	m->migrate.asking = false;
}

void migrate_done(struct mediator *m)
{
	struct migrate *g = &m->migrate;

	if (!g->mediator)
		return;
	g->timer = sd_event_source_disable_unref(g->timer);
	migrate_vms_clear(&g->vms);
	*g = (struct migrate){ 0 };
}
