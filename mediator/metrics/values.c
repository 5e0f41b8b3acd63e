// SPDX-License-Identifier: Apache-2.0
// metrics.def's expressions as functions. Called by write.c in the mediator's loop.
#include "mediator/metrics/values.h"

#include "common/clock.h"
#include "mediator/tenant.h"
#include "mediator/watch/health.h"
#include "protocol/guest/calls.h"

#define HEALTH_STATES (DEVICE_HEALTH_LOST + 1)

static uint64_t if_store(const struct metric_row *r, uint64_t value)
{
	return r->has_store ? value : METRIC_ABSENT;
}

static const char *backend_name(const struct mediator *m)
{
	return m->backend_name[0] ? m->backend_name : m->backend;
}

// A reading of the card times what its unit takes; not one of a card that is lost, nor an old one.
static uint64_t reading(const struct metric_row *r, enum device_value which, uint64_t times)
{
	if (!r->readable || !device_value_known(&r->board->values, which))
		return METRIC_ABSENT;
	return r->board->values.value[which] * times;
}

// No limit is told as no sample.
static uint64_t or_absent(uint64_t value)
{
	return value ? value : METRIC_ABSENT;
}

// Of what executors write.
static uint64_t bounded(uint64_t value)
{
	return value < INT64_MAX ? value : INT64_MAX;
}

static uint64_t of_library(const struct metric_row *r, unsigned library, uint64_t value)
{
	return r->use[library].channels || r->use[library].refused ? value : METRIC_ABSENT;
}

static uint64_t last_use(const struct metric_row *r, unsigned feature)
{
	uint64_t at_s = (uint64_t)r->tenant->use->features[feature].last_s;

	return at_s ? at_s * NSEC_PER_SEC : METRIC_ABSENT;
}

static const char *held_text(unsigned i)
{
	static const char *const texts[VGPU_HELD_BY] = {
		[VGPU_HELD_BY_TURN] = "turn",
		[VGPU_HELD_BY_LAUNCHES] = "launches_per_s",
		[VGPU_HELD_BY_COPIES] = "copy_per_s",
		[VGPU_HELD_BY_QUEUE] = "queue_depth",
	};

	return texts[i];
}

#define METRIC(scope, name, type, unit, label, n, label_value, value, help, source) \
	static const char *label_of_##name(const struct metric_row *r, unsigned i)  \
	{                                                                           \
		(void)r;                                                            \
		(void)i;                                                            \
		return label_value;                                                 \
	}                                                                           \
	static uint64_t value_of_##name(const struct metric_row *r, unsigned i)     \
	{                                                                           \
		(void)r;                                                            \
		(void)i;                                                            \
		return value;                                                       \
	}
#define HISTOGRAM(scope, name, label, n, label_value, counts, help, source)                        \
	static const char *label_of_##name(const struct metric_row *r, unsigned i)                 \
	{                                                                                          \
		(void)r;                                                                           \
		(void)i;                                                                           \
		return label_value;                                                                \
	}                                                                                          \
	static const struct delay_counts *counts_of_##name(const struct metric_row *r, unsigned i) \
	{                                                                                          \
		(void)i;                                                                           \
		return counts;                                                                     \
	}

#include "mediator/metrics/metrics.def"

#undef METRIC
#undef HISTOGRAM

#define METRIC(scope, name, type, unit, label, n, label_value, value, help, source) \
	{ n, label_of_##name, value_of_##name, NULL },
#define HISTOGRAM(scope, name, label, n, label_value, counts, help, source) \
	{ n, label_of_##name, NULL, counts_of_##name },

const struct metric_value metrics_values[] = {
#include "mediator/metrics/metrics.def"
};
