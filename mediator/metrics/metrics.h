// SPDX-License-Identifier: Apache-2.0
// What the mediator counts for operators beside what it knows anyway, and all of it as Prometheus text. The
// table is metrics.def; docs/metrics.md, docs/decisions/0026. In the mediator's loop.
#ifndef VGPU_MEDIATOR_METRICS_METRICS_H
#define VGPU_MEDIATOR_METRICS_METRICS_H

#include <stdbool.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "common/limits.h"
#include "mediator/metrics/delays.h"
#include "protocol/host/turn_page.h"

struct channel;
struct mediator;

// Who sent a message.
enum metrics_door { METRICS_FROM_CLIENT, METRICS_FROM_EXECUTOR, METRICS_FROM_OPERATOR, METRICS_DOORS };

// Why something was refused: the words of the host link's and the control socket's errors.
#define METRICS_REFUSALS 17

// What ended an executor.
enum metrics_end {
	METRICS_END_CLOSED, // as its client, its tenant's operator or the mediator's end wanted
	METRICS_END_NOT_STARTED,
	METRICS_END_DIED,
	METRICS_END_HANG,
	METRICS_END_MALFORMED,
	METRICS_END_QUARANTINE,
	METRICS_END_DEVICE_LOST,
	METRICS_END_OTHER,
	METRICS_ENDS
};

// Of the mediator's process.
struct metrics {
	uint64_t started_ns; // since 1970
	bool adopted;
	uint64_t text_ns;	   // what the last text took
	struct delay_counts steps; // of the loop
	sd_event_source *step;
	uint64_t messages[METRICS_DOORS], refused[METRICS_REFUSALS];
};

// Of a tenant: in its books, so the next mediator goes on with them.
struct tenant_metrics {
	uint64_t ended[METRICS_ENDS];	       // executors
	struct delay_counts past[VGPU_DELAYS]; // of executors that have ended
	struct {
		struct delay_counts delays[VGPU_DELAYS]; // as seen last
	} seats[VGPU_MAX_CHANNELS_PER_TENANT];		 // by turn_seat_place()
};

// 0 or -errno.
int metrics_init(struct mediator *m);
void metrics_done(struct mediator *m); // accepts one that was never initialised (all zero)

void metrics_refused_link(struct mediator *m, uint32_t code);	     // enum link_error_code
void metrics_refused_control(struct mediator *m, const char *error); // CONTROL_E_*
// What its executor counted until now: NULL if it has no place in its tenant's books.
const struct delay_counts *metrics_channel_delays(struct channel *c); // VGPU_DELAYS of them
// Its executor has ended; once for each channel, before its seat is given up.
void metrics_channel_ended(struct channel *c);

const char *metrics_door_text(unsigned door);
const char *metrics_refusal_text(unsigned refusal);
const char *metrics_end_text(unsigned end);

// All metrics as Prometheus text. 0 or -errno (of out, or -ENOMEM).
int metrics_write(struct mediator *m, FILE *out);

#endif
