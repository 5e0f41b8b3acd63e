// SPDX-License-Identifier: Apache-2.0
// Where the values of metrics.def come from: rows that write.c gathers once for each text.
#ifndef VGPU_MEDIATOR_METRICS_VALUES_H
#define VGPU_MEDIATOR_METRICS_VALUES_H

#include "mediator/mediator.h"
#include "mediator/metrics/text.h"
#include "mediator/use/use.h"

// One thing of a metric's scope; what other scopes need is zero. Borrowed pointers, good while the text is
// written.
struct metric_row {
	char labels[METRIC_LABELS_BYTES];
	uint64_t achieved; // pool, tenant: 1/10000 of the GPU

	// mediator
	struct mediator *m;
	uint64_t sessions, channels, assigned, left_out, keeper;
	struct warm_count warm;
	bool has_store;
	struct store_status store;

	// GPU
	const struct board *board;
	const struct health *health;
	uint64_t age_ns; // of its readings
	bool readable;	 // they are not too old

	struct pool *pool;

	struct tenant *tenant;
	const struct wfq_node *group;
	struct turn_meters meters;		 // of all its executors ever
	struct delay_counts delays[VGPU_DELAYS]; // of the same
	struct use_library use[LINK_LIBRARIES];
	uint64_t in_flight, parked_bytes;
	uint64_t contended_ns, quarantined;
};

// As in metrics_table, in the same order.
struct metric_value {
	unsigned n; // samples in a row
	const char *(*label)(const struct metric_row *r, unsigned i);
	uint64_t (*value)(const struct metric_row *r, unsigned i); // NULL: a histogram
	const struct delay_counts *(*counts)(const struct metric_row *r, unsigned i);
};

extern const struct metric_value metrics_values[];

#endif
