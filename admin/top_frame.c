// SPDX-License-Identifier: Apache-2.0
// A frame of top as lines of text; see top_model.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "admin/format.h"
#include "admin/text.h"
#include "admin/top_model.h"
#include "common/clock.h"

// A tenant with what it did between two readings.
struct row {
	const struct top_tenant *now, *before; // before: NULL if it was not there
	double seconds;			       // between the two; 0: nothing to count from
	double latency_s;		       // 99th percentile of launch to start; negative: not known
};

static const struct {
	const char *name;
	char key;
} orders[TOP_ORDERS] = {
	[TOP_BY_ACHIEVED] = { "achieved", 'a' }, [TOP_BY_TARGET] = { "target", 't' },
	[TOP_BY_GPU_TIME] = { "GPU time", 'g' }, [TOP_BY_LAUNCHES] = { "launches", 'l' },
	[TOP_BY_MEMORY] = { "memory", 'm' },	 [TOP_BY_LATENCY] = { "latency", 'p' },
	[TOP_BY_NAME] = { "name", 'n' },	 [TOP_BY_ID] = { "id", 'i' },
};

const char *top_order_name(enum top_order o)
{
	return orders[o].name;
}

char top_order_key(enum top_order o)
{
	return orders[o].key;
}

static double grown(const struct row *r, uint64_t now, uint64_t before)
{
	return r->before && r->seconds > 0 && now > before ? (double)(now - before) / r->seconds : 0;
}

static double launch_rate(const struct row *r)
{
	return grown(r, r->now->launches, r->before ? r->before->launches : 0);
}

// ---- order ----

static double key_of(const struct row *r, enum top_order order)
{
	switch (order) {
	case TOP_BY_ACHIEVED: return r->now->achieved;
	case TOP_BY_TARGET: return r->now->target;
	case TOP_BY_GPU_TIME: return (double)r->now->gpu_ns;
	case TOP_BY_LAUNCHES: return launch_rate(r);
	case TOP_BY_MEMORY: return (double)r->now->memory_used;
	case TOP_BY_LATENCY: return r->latency_s;
	default: return -(double)r->now->id;
	}
}

// The greatest first, names and ids the least; equal ones by id.
static int compare(const void *a, const void *b, void *opaque)
{
	const struct row *x = a, *y = b;
	const struct top_look *look = opaque;
	double kx = key_of(x, look->order), ky = key_of(y, look->order);
	int r = look->order == TOP_BY_NAME ? strcmp(x->now->name, y->now->name) : (kx < ky) - (kx > ky);

	if (r == 0)
		return (x->now->id > y->now->id) - (x->now->id < y->now->id);
	return look->reverse ? -r : r;
}

// ---- cells ----

static const struct table_column columns[] = {
	{ "ID", .right = true, .drop = 7 },
	{ "TENANT", .cut = true },
	{ "POOL", .cut = true, .drop = 6 },
	{ "STATE", .drop = 5 },
	{ "TARGET", .right = true },
	{ "ACHIEVED", .right = true },
	{ "QUEUE", .right = true, .drop = 8 },
	{ "LAUNCH/S", .right = true },
	{ "COPY/S", .right = true, .drop = 9 },
	{ "MEMORY", .right = true },
	{ "QUOTA", .right = true, .drop = 4 },
	{ "WAITS", .right = true, .drop = 3 },
	{ "THROTTLED BY", .drop = 2 },
	{ "START 50/99 %", .right = true, .drop = 1 },
	{ "SYNC 50/99 %", .right = true, .drop = 10 },
	{ "FAULTS", .right = true, .drop = 11 },
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static char *quantiles(const struct metrics_buckets *now, const struct metrics_buckets *before)
{
	double median = metrics_quantile(now, before, 0.5), most = metrics_quantile(now, before, 0.99);
	char *a, *b, *both;

	if (median < 0)
		return text_print("-");
	a = format_ns((uint64_t)llround(median * 1e9));
	b = format_ns((uint64_t)llround(most * 1e9));
	both = text_print("%s/%s", a, b);
	free(a);
	free(b);
	return both;
}

// Percent of the time in which the cause held work of one of its programs back.
static double held(const struct row *r, enum top_held cause)
{
	return grown(r, r->now->held_ns[cause], r->before ? r->before->held_ns[cause] : 0) / 1e7;
}

static char *throttle(const struct row *r)
{
	static const char *const names[TOP_HELDS] = { [TOP_HELD_LAUNCHES] = "launches_per_s",
						      [TOP_HELD_COPIES] = "copy_per_s",
						      [TOP_HELD_QUEUE] = "queue_depth",
						      [TOP_HELD_CAP] = "gpu_cap" };
	unsigned worst = TOP_HELD_LAUNCHES;

	if (r->now->quarantine)
		return text_print("quarantine");
	for (unsigned i = worst; i < TOP_HELDS; i++) {
		if (held(r, i) > held(r, worst))
			worst = i;
	}
	return held(r, worst) >= 0.5 ? text_print("%s %.0f %%", names[worst], held(r, worst))
				     : text_print("-");
}

static void add_row(struct table *t, const struct row *r)
{
	const struct top_tenant *n = r->now, *b = r->before;
	char *cells[N_COLUMNS] = {
		text_print("%u", n->id),
		text_print("%s", n->name),
		text_print("%s", n->pool),
		text_print("%s", n->state),
		text_print("%.1f %%", n->target),
		text_print("%.1f %%", n->achieved),
		n->queue < 0 ? text_print("-") : format_count(n->queue),
		format_count(launch_rate(r)),
		format_bytes((uint64_t)grown(r, n->copy_bytes, b ? b->copy_bytes : 0)),
		format_bytes(n->memory_used),
		n->memory_quota ? format_bytes(n->memory_quota) : text_print("none"),
		text_print("%.0f %%", held(r, TOP_HELD_TURN)),
		throttle(r),
		quantiles(&n->start, b ? &b->start : NULL),
		quantiles(&n->wait, b ? &b->wait : NULL),
		format_count((double)n->faults),
	};

	for (size_t i = 0; i < N_COLUMNS; i++)
		table_add(t, cells[i], COLOUR_NONE);
}

// ---- the frame ----

static const struct top_tenant *find(const struct top_sample *s, uint32_t id)
{
	size_t low = 0, high = s ? s->n_tenants : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->tenants[middle].id == id)
			return &s->tenants[middle];
		if (s->tenants[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void print_head(const struct top_sample *s, const struct top_look *look, FILE *out)
{
	size_t in_demand = 0;

	for (size_t i = 0; i < s->n_tenants; i++)
		in_demand += s->tenants[i].in_demand;
	fprintf(out, "%s (%s), %s%s%s\n", s->device, s->backend, s->health, s->card ? ": " : "",
		s->card ? s->card : "");
	fprintf(out, "%zu tenants, %zu in demand; by %s%s\n", s->n_tenants, in_demand,
		orders[look->order].name, look->reverse ? ", reversed" : "");
}

void top_print(const struct top_sample *now, const struct top_sample *before, const struct top_look *look,
	       FILE *out)
{
	struct row *rows = text_memory(calloc(now->n_tenants + 1, sizeof(*rows)));
	struct table *t = table_new(columns, N_COLUMNS);

	print_head(now, look, out);
	for (size_t i = 0; i < now->n_tenants; i++) {
		struct row *r = &rows[i];

		r->now = &now->tenants[i];
		r->before = find(before, r->now->id);
		if (before && now->now_ns > before->now_ns)
			r->seconds = (double)(now->now_ns - before->now_ns) / 1e9;
		r->latency_s = metrics_quantile(&r->now->start, r->before ? &r->before->start : NULL, 0.99);
	}
	qsort_r(rows, now->n_tenants, sizeof(*rows), compare, (void *)look);
	for (size_t i = 0; i < now->n_tenants; i++)
		add_row(t, &rows[i]);
	table_print(t, out, look->width, false);
	table_free(t);
	free(rows);
}
