// SPDX-License-Identifier: Apache-2.0
// What is counted; see the header. The hooks are called by sessions, channels and the control socket, all in
// the mediator's loop.
#include "mediator/metrics/metrics.h"

#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "mediator/channel.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

// ---- the loop ----

// Called before the loop waits: what came since the last wait ended is done.
static int on_wait(sd_event_source *source, void *userdata)
{
	struct mediator *m = userdata;
	uint64_t woken_us, now_ns = clock_now_ns();

	(void)source;
	if (sd_event_now(m->event, CLOCK_MONOTONIC, &woken_us) == 0 && now_ns / NSEC_PER_USEC >= woken_us)
		delay_counts_note(&m->metrics.steps, now_ns - woken_us * NSEC_PER_USEC);
	return 0;
}

static int on_never(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	return 0;
}

int metrics_init(struct mediator *m)
{
	struct timespec now;
	int r;

	memset(&m->metrics, 0, sizeof(m->metrics));
	clock_gettime(CLOCK_REALTIME, &now);
	m->metrics.started_ns = (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
	r = sd_event_add_time(m->event, &m->metrics.step, CLOCK_MONOTONIC, UINT64_MAX, 0, on_never, m);
	return r < 0 ? r : sd_event_source_set_prepare(m->metrics.step, on_wait);
}

void metrics_done(struct mediator *m)
{
	m->metrics.step = sd_event_source_disable_unref(m->metrics.step);
}

// ---- messages ----

const char *metrics_door_text(unsigned door)
{
	static const char *const texts[METRICS_DOORS] = {
		[METRICS_FROM_CLIENT] = "client",
		[METRICS_FROM_EXECUTOR] = "executor",
		[METRICS_FROM_OPERATOR] = "operator",
	};

	return texts[door];
}

static const struct refusal {
	const char *text;   // as CONTROL_E_* where that has it
	uint32_t link_code; // 0: the host link has none
} refusals[METRICS_REFUSALS] = {
	{ "other", 0 },
	{ "version", LINK_E_VERSION },
	{ "protocol", LINK_E_PROTOCOL },
	{ CONTROL_E_PERMISSION, LINK_E_PERMISSION },
	{ CONTROL_E_LIMIT, LINK_E_LIMIT },
	{ "backend", LINK_E_BACKEND },
	{ CONTROL_E_INTERNAL, LINK_E_INTERNAL },
	{ "shutdown", LINK_E_SHUTDOWN },
	{ "quarantined", LINK_E_QUARANTINED },
	{ "device_lost", LINK_E_DEVICE_LOST },
	{ CONTROL_E_UNKNOWN, LINK_E_UNKNOWN },
	{ CONTROL_E_JSON, 0 },
	{ CONTROL_E_OPERATION, 0 },
	{ CONTROL_E_FIELD, 0 },
	{ CONTROL_E_VALUE, 0 },
	{ CONTROL_E_STATE, 0 },
	{ CONTROL_E_GPU, 0 },
};

const char *metrics_refusal_text(unsigned refusal)
{
	return refusals[refusal].text;
}

void metrics_refused_link(struct mediator *m, uint32_t code)
{
	unsigned i = METRICS_REFUSALS - 1;

	while (i && refusals[i].link_code != code)
		i--;
	m->metrics.refused[i]++;
}

void metrics_refused_control(struct mediator *m, const char *error)
{
	unsigned i = METRICS_REFUSALS - 1;

	while (i && strcmp(refusals[i].text, error) != 0)
		i--;
	m->metrics.refused[i]++;
}

// ---- executors ----

const char *metrics_end_text(unsigned end)
{
	static const char *const texts[METRICS_ENDS] = {
		[METRICS_END_CLOSED] = "closed",
		[METRICS_END_NOT_STARTED] = "not_started",
		[METRICS_END_DIED] = "died",
		[METRICS_END_HANG] = "hang",
		[METRICS_END_MALFORMED] = "malformed",
		[METRICS_END_QUARANTINE] = "quarantine",
		[METRICS_END_DEVICE_LOST] = "device_lost",
		[METRICS_END_OTHER] = "other",
	};

	return texts[end];
}

static enum metrics_end end_of(uint32_t reason)
{
	switch (reason) {
	case LINK_E_SHUTDOWN: return METRICS_END_CLOSED;
	case LINK_E_BACKEND: return METRICS_END_NOT_STARTED;
	case LINK_E_EXECUTOR_DIED: return METRICS_END_DIED;
	case LINK_E_WATCHDOG: return METRICS_END_HANG;
	case LINK_E_BAD_RECORD: return METRICS_END_MALFORMED;
	case LINK_E_QUARANTINED: return METRICS_END_QUARANTINE;
	case LINK_E_DEVICE_LOST: return METRICS_END_DEVICE_LOST;
	default: return METRICS_END_OTHER;
	}
}

const struct delay_counts *metrics_channel_delays(struct channel *c)
{
	struct delay_counts *delays;

	if (!c->seat.books)
		return NULL;
	delays = c->tenant->metrics->seats[turn_seat_place(&c->seat)].delays;
	turn_seat_raise_delays(&c->seat, delays);
	return delays;
}

void metrics_channel_ended(struct channel *c)
{
	struct tenant_metrics *t = c->tenant->metrics;
	const struct delay_counts *delays = metrics_channel_delays(c);

	t->ended[end_of(c->reason)]++;
	if (!delays)
		return;
	for (unsigned i = 0; i < VGPU_DELAYS; i++)
		delay_counts_add(&t->past[i], &delays[i]);
	memset(&t->seats[turn_seat_place(&c->seat)], 0, sizeof(t->seats[0]));
}
