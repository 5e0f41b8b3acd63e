// SPDX-License-Identifier: Apache-2.0
// What moved VMs did before and do now, asked from the store one by one, and judged. Runs in the mediator's
// loop.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/mediator.h"
#include "mediator/migrate/migrate.h"

#define MINUTE_S 60

static void ask_from(struct mediator *m, struct migrate_vm *v);

static struct migrate_config config_of(const struct settings *s)
{
	return (struct migrate_config){
		.minutes = s->migrate_minutes,
		.errors = s->migrate_errors,
		.slower = s->migrate_slower,
		.fall = s->migrate_fall,
		.deadline_s = s->migrate_deadline / NSEC_PER_SEC,
	};
}

// ---- what is asked ----

static bool is_judged(const struct migrate_vm *v)
{
	return v->state != MIGRATE_OBSERVED;
}

static bool wants_before(const struct migrate_vm *v)
{
	return v->moved_s && !v->before_known;
}

// Of one that is judged once more, for status.
static bool wants_after(const struct migrate_vm *v)
{
	return v->started_s && !v->last_look;
}

// The minute of a change is neither before nor after it.
static struct store_usage_ask question(const struct mediator *m, const struct migrate_vm *v, bool before)
{
	struct store_usage_ask ask = { .step = STORE_BY_MINUTE, .most = STORE_MOST_USAGE };

	snprintf(ask.tenant, sizeof(ask.tenant), RECORD_NAME_OF_VM "%s", v->uuid);
	if (before) {
		ask.to_s = v->moved_s - v->moved_s % MINUTE_S;
		ask.from_s = v->moved_s - (int64_t)(m->settings->migrate_baseline / NSEC_PER_SEC);
		// The newest: there may be more minutes than can be asked for at once.
		if (ask.to_s - ask.from_s > (int64_t)STORE_MOST_USAGE * MINUTE_S)
			ask.from_s = ask.to_s - (int64_t)STORE_MOST_USAGE * MINUTE_S;
	} else {
		ask.from_s = v->started_s - v->started_s % MINUTE_S + MINUTE_S;
		ask.to_s = is_judged(v) ? v->since_s : INT64_MAX;
	}
	return ask;
}

// ---- what follows ----

static void explain_bad(const struct migrate_judgement *j, const struct migrate_evidence *e, char *why,
			size_t n)
{
	switch (j->cause) {
	case MIGRATE_ERRORS:
		snprintf(why, n,
			 "%" PRIu64 " faults, strikes and channels that did not open in %" PRIu64
			 " minutes of use, %" PRIu64 " are allowed (migrate.errors)",
			 j->errors, e->after.minutes, j->allowed);
		break;
	case MIGRATE_SLOWER:
		snprintf(why, n,
			 "a launch takes %" PRIu64 " ns of GPU time, before %" PRIu64 " (migrate.slower)",
			 e->after.per_launch, e->before.per_launch);
		break;
	case MIGRATE_HELD_FALLS:
		snprintf(why, n,
			 "it has %" PRIu64 ".%02" PRIu64 " %% of the GPU when it uses it, before %" PRIu64
			 ".%02" PRIu64 " (migrate.fall)",
			 e->after.held / 100, e->after.held % 100, e->before.held / 100,
			 e->before.held % 100);
		break;
	default: why[0] = 0;
	}
}

static void judge(struct mediator *m, struct migrate_vm *v)
{
	struct migrate_config config = config_of(m->settings);
	struct migrate_evidence e = { .before = v->before,
				      .after = v->after,
				      .strikes_before = v->strikes_before,
				      .strikes_after = migrate_strikes_after(m, v),
				      .started_s = v->started_s };
	struct migrate_judgement j = migrate_judge(&config, &e, migrate_now_s());
	char why[MIGRATE_WHY_BYTES];

	explain_bad(&j, &e, why, sizeof(why));
	switch (j.verdict) {
	case MIGRATE_WAIT: return;
	case MIGRATE_BAD: migrate_set_state(m, v, MIGRATE_FAILED, "%s", why); break;
	case MIGRATE_GOOD:
		migrate_set_state(m, v, MIGRATE_WELL, "%s",
				  j.compared ? "" : "too little history to compare its speed with");
		break;
	case MIGRATE_UNJUDGED:
		migrate_set_state(m, v, MIGRATE_NOT_JUDGED,
				  "%" PRIu64 " minutes of use until the deadline, %" PRIu64
				  " are needed (migrate.minutes)",
				  e.after.minutes, config.minutes);
		break;
	}
	migrate_settle(m);
}

static void take(struct mediator *m, struct migrate_vm *v, bool before, const struct store_usage *rows,
		 size_t n)
{
	struct migrate_minute *minutes = calloc(n ? n : 1, sizeof(*minutes));
	struct migrate_summary *to = before ? &v->before : &v->after;

	if (!minutes)
		return;
	for (size_t i = 0; i < n; i++)
		minutes[i] = (struct migrate_minute){ rows[i].gpu_ns, rows[i].launches, rows[i].faults };
	migrate_summarize(minutes, n, to);
	free(minutes);
	if (before) {
		v->before_known = true;
		return;
	}
	v->after_known = true;
	v->last_look = is_judged(v);
	if (v->state == MIGRATE_OBSERVED && v->before_known && migrate_goes_on(&m->migrate))
		judge(m, v);
}

// ---- one question after the other ----

static void on_usage(void *opaque, int result, const struct store_usage *rows, size_t n)
{
	struct mediator *m = opaque;
	struct migrate *g = &m->migrate;
	struct migrate_vm *v = migrate_vm_find(m, g->asked);
	bool before = g->asking_before;

	g->asking = false;
	if (!v || result < 0)
		return; // with the next look
	take(m, v, before, rows, n);
	v = migrate_vm_find(m, g->asked); // it may have been judged, not freed
	ask_from(m, before && v ? v : v ? TAILQ_NEXT(v, link) : NULL);
}

// The first question of v or those behind it.
static void ask_from(struct mediator *m, struct migrate_vm *v)
{
	struct migrate *g = &m->migrate;
	struct store_usage_ask ask;

	while (v && !wants_before(v) && !wants_after(v))
		v = TAILQ_NEXT(v, link);
	if (!v || g->asking || !m->record.store)
		return;
	g->asking_before = wants_before(v);
	ask = question(m, v, g->asking_before);
	snprintf(g->asked, sizeof(g->asked), "%s", v->uuid);
	g->asking = store_ask_usage(m->record.store, &ask, on_usage, m) == 0;
}

void migrate_look(struct mediator *m)
{
	struct migrate *g = &m->migrate;
	struct migrate_vm *v;

	TAILQ_FOREACH (v, &g->vms, link) {
		const struct vm *vm = vm_find(m, v->uuid);

		if (!m->inventory.started)
			return;
		if (v->state == MIGRATE_OBSERVED && !v->not_opened_known)
			migrate_count_from_now(m, v, false); // the last mediator's counts began elsewhere
		if (vm)
			migrate_see(m, v, vm);
		else if (migrate_goes_on(g) && (v->state == MIGRATE_WAITING || v->state == MIGRATE_OBSERVED))
			migrate_set_state(m, v, MIGRATE_NOT_JUDGED, "the VM is no longer known");
	}
	migrate_settle(m);
	ask_from(m, TAILQ_FIRST(&g->vms));
}
