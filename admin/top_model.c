// SPDX-License-Identifier: Apache-2.0
// Readings of the API for top; see the header. What is printed of them is in top_frame.c.
#include "admin/top_model.h"

#include <stdlib.h>
#include <string.h>

#include "admin/format.h"
#include "admin/text.h"
#include "admin/view.h"
#include "common/cleanup.h"

#define START_METRIC "vgpu_tenant_launch_delay_seconds_bucket"
#define WAIT_METRIC  "vgpu_tenant_wait_seconds_bucket"
#define QUEUE_METRIC "vgpu_tenant_queue_records"

static uint64_t number(const json_t *object, const char *path)
{
	const json_t *value = view_at(object, path);
	json_int_t n = json_integer_value(value);

	return n > 0 ? (uint64_t)n : 0;
}

static char *word(const json_t *object, const char *path)
{
	const char *text = json_string_value(view_at(object, path));

	return text_clean(text && text[0] ? text : "-");
}

// The state of the program that is nearest to the GPU.
static const char *state_of(const json_t *channels)
{
	static const char *const states[] = {
		"holding", "closing", "lingering", "capped", "waiting", "idle"
	};
	size_t best = sizeof(states) / sizeof(states[0]), i;
	json_t *channel;

	json_array_foreach(channels, i, channel)
	{
		const char *turn = json_string_value(json_object_get(channel, "turn"));

		for (size_t s = 0; turn && s < best; s++) {
			if (strcmp(states[s], turn) == 0)
				best = s;
		}
	}
	return best < sizeof(states) / sizeof(states[0]) ? states[best] : "-";
}

static void read_tenant(struct top_tenant *t, const json_t *o)
{
	static const char *const held[TOP_HELDS] = { "held_ns.turn", "held_ns.launches_per_s",
						     "held_ns.copy_per_s", "held_ns.queue_depth",
						     "capped_ns" };
	const json_t *channels = json_object_get(o, "channels");

	t->id = (uint32_t)number(o, "tenant");
	t->name = word(o, "name");
	t->pool = word(o, "pool");
	t->state = state_of(channels);
	t->in_demand = json_is_true(json_object_get(o, "in_demand"));
	t->quarantine = json_is_true(json_object_get(o, "quarantine"));
	t->target = json_number_value(json_object_get(o, "share_target"));
	t->achieved = json_number_value(json_object_get(o, "share_achieved"));
	t->gpu_ns = number(o, "gpu_ns");
	t->launches = number(o, "launches");
	t->copy_bytes = number(o, "copy_bytes");
	t->memory_used = number(o, "memory_used");
	t->memory_quota = number(o, "memory");
	t->faults = number(o, "faults");
	t->programs = json_array_size(channels);
	t->queue = -1;
	for (unsigned i = 0; i < TOP_HELDS; i++)
		t->held_ns[i] = number(o, held[i]);
}

static int by_id(const void *a, const void *b)
{
	const struct top_tenant *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static void on_sample(void *opaque, const struct metrics_sample *m)
{
	struct top_sample *s = opaque;
	const char *id = metrics_label(m, "id");
	struct top_tenant wanted, *t;

	if (!id || strncmp(m->name, "vgpu_tenant_", 12) != 0)
		return;
	wanted.id = (uint32_t)strtoul(id, NULL, 10);
	t = bsearch(&wanted, s->tenants, s->n_tenants, sizeof(wanted), by_id);
	if (!t)
		return;
	if (strcmp(m->name, START_METRIC) == 0)
		metrics_buckets_add(&t->start, m);
	else if (strcmp(m->name, WAIT_METRIC) == 0)
		metrics_buckets_add(&t->wait, m);
	else if (strcmp(m->name, QUEUE_METRIC) == 0)
		t->queue = m->value;
}

// What is known of the card; NULL: nothing.
static char *describe_card(const json_t *gpus)
{
	static const struct {
		const char *name, *before, *after;
		enum format format;
	} parts[] = {
		{ "memory_used", "", " used", FORMAT_BYTES },
		{ "memory", "", " in all", FORMAT_BYTES },
		{ "utilisation", "load ", "", FORMAT_PERCENT },
		{ "temperature_c", "", "", FORMAT_CELSIUS },
		{ "power_w", "", "", FORMAT_WATT },
	};
	const json_t *gpu = json_array_get(json_object_get(gpus, "gpus"), 0);
	char *line = NULL;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const json_t *value = json_object_get(gpu, parts[i].name);
		cleanup_free char *text = format_value(value, parts[i].format, NULL);
		char *longer;

		if (!json_is_number(value))
			continue;
		longer = text_print("%s%s%s%s%s", line ? line : "", line ? ", " : "", parts[i].before, text,
				    parts[i].after);
		free(line);
		line = longer;
	}
	return line;
}

struct top_sample *top_read(const json_t *status, const json_t *gpus, char *metrics)
{
	struct top_sample *s = text_memory(calloc(1, sizeof(*s)));
	const json_t *tenants = json_object_get(status, "tenants");
	json_t *o;
	size_t i;

	s->now_ns = number(status, "now_ns");
	s->device = word(status, "device");
	s->backend = word(status, "backend");
	s->health = word(status, "health");
	s->card = describe_card(gpus);
	s->n_tenants = json_array_size(tenants);
	s->tenants = text_memory(calloc(s->n_tenants + 1, sizeof(*s->tenants)));
	json_array_foreach(tenants, i, o) read_tenant(&s->tenants[i], o);
	qsort(s->tenants, s->n_tenants, sizeof(*s->tenants), by_id);
	if (metrics)
		metrics_each(metrics, on_sample, s);
	return s;
}

void top_sample_free(struct top_sample *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_tenants; i++) {
		free(s->tenants[i].name);
		free(s->tenants[i].pool);
	}
	free(s->tenants);
	free(s->device);
	free(s->backend);
	free(s->health);
	free(s->card);
	free(s);
}
