// SPDX-License-Identifier: Apache-2.0
// The table of metrics (metrics.def) without their values: for the text, the documentation and the tests.
// Pure.
#ifndef VGPU_MEDIATOR_METRICS_TABLE_H
#define VGPU_MEDIATOR_METRICS_TABLE_H

#include <stdint.h>
#include <stdio.h>

enum metric_scope {
	METRIC_OF_MEDIATOR,
	METRIC_OF_GPU,	  // label gpu: its uuid
	METRIC_OF_POOL,	  // label pool: its name
	METRIC_OF_TENANT, // labels tenant: its name, and id: a number of which no other tenant has the same
	METRIC_SCOPES
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_INFO, METRIC_HISTOGRAM };

// What a metric is told in, and, behind it, what its value is handed over as.
enum metric_unit {
	METRIC_ONE,
	METRIC_BYTES,
	METRIC_SECONDS, // nanoseconds
	METRIC_RATIO,	// 1/10000
	METRIC_WATTS,	// milliwatts
	METRIC_JOULES,	// millijoules
	METRIC_CELSIUS,
	METRIC_HERTZ, // megahertz
	METRIC_UNITS
};

struct metric {
	const char *name;
	enum metric_scope scope;
	enum metric_type type;
	enum metric_unit unit;
	const char *label; // "": none beside the scope's
	const char *help, *source;
};

extern const struct metric metrics_table[];
extern const unsigned metrics_count;

const char *metric_type_text(enum metric_type type); // as in "# TYPE"
const char *metric_unit_text(enum metric_unit unit); // "": a number without one
const char *metric_scope_labels(enum metric_scope scope);

// The table as Markdown, as it stands in docs/metrics.md.
void metrics_print_help(FILE *out);

#endif
