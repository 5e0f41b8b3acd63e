// SPDX-License-Identifier: Apache-2.0
#include "mediator/history/history.h"

#include "mediator/tenant.h"

#define LOOK_NS (HISTORY_STEP_NS / 10)

static void look(struct mediator *m)
{
	uint64_t now = clock_now_ns();
	struct tenant *t;

	turns_refresh(&m->turns);
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t)) {
		const struct wfq_node *group = &t->account.group;

		history_look(&t->history, group->in_demand ? wfq_share(group) : 0, group->charged_ns, now);
	}
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct mediator *m = userdata;

	(void)usec;
	look(m);
	if (LIST_EMPTY(&m->channels)) // the look that saw the last of it
		return 0;
	sd_event_source_set_time(source, (clock_now_ns() + LOOK_NS) / NSEC_PER_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void history_wake(struct mediator *m)
{
	int enabled;

	if (sd_event_source_get_enabled(m->history_tick, &enabled) < 0 || enabled != SD_EVENT_OFF)
		return;
	sd_event_source_set_time(m->history_tick, (clock_now_ns() + LOOK_NS) / NSEC_PER_USEC);
	sd_event_source_set_enabled(m->history_tick, SD_EVENT_ONESHOT);
}

int history_start(struct mediator *m)
{
	int r = sd_event_add_time(m->event, &m->history_tick, CLOCK_MONOTONIC,
				  (clock_now_ns() + LOOK_NS) / NSEC_PER_USEC, 50000, on_look, m);

	return r < 0 ? r : sd_event_source_set_priority(m->history_tick, SD_EVENT_PRIORITY_NORMAL + 2);
}
