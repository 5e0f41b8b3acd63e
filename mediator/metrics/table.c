// SPDX-License-Identifier: Apache-2.0
// See the header. Used by write.c in the mediator's loop, by --help-metrics and by the unit tests.
#include "mediator/metrics/table.h"

#include <stddef.h>

#define METRIC(scope, name, type, unit, label, n, label_value, value, help, source) \
	{ #name, METRIC_OF_##scope, METRIC_##type, METRIC_##unit, label, help, source },
#define HISTOGRAM(scope, name, label, n, label_value, counts, help, source) \
	{ #name, METRIC_OF_##scope, METRIC_HISTOGRAM, METRIC_SECONDS, label, help, source },

const struct metric metrics_table[] = {
#include "mediator/metrics/metrics.def"
};

#undef METRIC
#undef HISTOGRAM

const unsigned metrics_count = sizeof(metrics_table) / sizeof(metrics_table[0]);

const char *metric_type_text(enum metric_type type)
{
	switch (type) {
	case METRIC_COUNTER: return "counter";
	case METRIC_HISTOGRAM: return "histogram";
	default: return "gauge";
	}
}

const char *metric_unit_text(enum metric_unit unit)
{
	static const char *const texts[METRIC_UNITS] = {
		[METRIC_ONE] = "",	  [METRIC_BYTES] = "bytes",	[METRIC_SECONDS] = "seconds",
		[METRIC_RATIO] = "ratio", [METRIC_WATTS] = "watts",	[METRIC_JOULES] = "joules",
		[METRIC_HERTZ] = "hertz", [METRIC_CELSIUS] = "celsius",
	};

	return texts[unit];
}

const char *metric_scope_labels(enum metric_scope scope)
{
	static const char *const labels[METRIC_SCOPES] = { [METRIC_OF_MEDIATOR] = "",
							   [METRIC_OF_GPU] = "gpu",
							   [METRIC_OF_POOL] = "pool",
							   [METRIC_OF_TENANT] = "tenant, id" };

	return labels[scope];
}

static void print_labels(FILE *out, const struct metric *m)
{
	const char *scope = metric_scope_labels(m->scope);

	fprintf(out, "%s%s%s", scope, scope[0] && m->label[0] ? ", " : "", m->label);
}

void metrics_print_help(FILE *out)
{
	static const char *const titles[METRIC_SCOPES] = { [METRIC_OF_MEDIATOR] = "The mediator",
							   [METRIC_OF_GPU] = "The GPU",
							   [METRIC_OF_POOL] = "Pools",
							   [METRIC_OF_TENANT] = "Tenants" };

	for (unsigned scope = 0; scope < METRIC_SCOPES; scope++) {
		fprintf(out,
			"%s### %s\n\n| name | type | unit | labels | what it is | where it comes from |\n",
			scope ? "\n" : "", titles[scope]);
		fprintf(out, "|---|---|---|---|---|---|\n");
		for (unsigned i = 0; i < metrics_count; i++) {
			const struct metric *m = &metrics_table[i];

			if (m->scope != scope)
				continue;
			fprintf(out, "| `%s` | %s | %s | ", m->name, metric_type_text(m->type),
				metric_unit_text(m->unit));
			print_labels(out, m);
			fprintf(out, " | %s | %s |\n", m->help, m->source);
		}
	}
}
