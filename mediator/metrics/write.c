// SPDX-License-Identifier: Apache-2.0
// The text: rows are gathered in one walk over the mediator's lists, then told metric by metric, since a
// metric's samples stand together. In the mediator's loop; see docs/decisions/0026 for what it takes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/adopt/keep.h"
#include "mediator/channel.h"
#include "mediator/control/uuid.h"
#include "mediator/metrics/values.h"
#include "mediator/tenant.h"

// Readings of the card that are older are not told: nobody asked for a while, or it does not answer.
#define READING_MOST_NS (120 * NSEC_PER_SEC)
#define WHOLE		10000u

struct rows {
	struct metric_row mediator, gpu;
	struct metric_row *pools, *tenants;
	unsigned n_gpus, n_pools, n_tenants;
};

static uint64_t achieved(struct window *w, const struct wfq_node *group, uint64_t now_ns)
{
	uint64_t ns, grown = window_look(w, group->charged_ns, now_ns, &ns);

	return ns ? (uint64_t)((double)grown / (double)ns * WHOLE) : METRIC_ABSENT;
}

// ---- gathering ----

static void gather_mediator(struct mediator *m, struct metric_row *r)
{
	struct channel *c;

	r->m = m;
	LIST_FOREACH (c, &m->channels, link)
		r->channels++;
	for (struct tenant *t = tenant_from_id(m, 0); t; t = tenant_after(t))
		r->sessions += t->n_sessions;
	for (struct slot *s = slot_after(m, NULL); s; s = slot_after(m, s))
		r->assigned += s->vm != NULL;
	r->keeper = keep_is_on(m) ? m->keeping.custody.link >= 0 : METRIC_ABSENT;
	r->warm = warm_pool_count(&m->warm);
	r->has_store = m->record.store != NULL;
	if (r->has_store)
		store_status(m->record.store, &r->store);
}

static unsigned gather_gpu(struct mediator *m, struct metric_row *r, uint64_t now_ns)
{
	const struct board *b = &m->sensor.board;
	char uuid[UUID_TEXT_BYTES];

	sensor_want(&m->sensor, now_ns); // for the next text
	if (!b->known)
		return 0;
	r->board = b;
	r->health = &m->watch.health;
	r->age_ns = b->read_at_ns ? now_ns - b->read_at_ns : METRIC_ABSENT;
	r->readable = !b->lost && board_fresh(b, READING_MOST_NS, now_ns);
	uuid_print(b->identity.uuid, uuid);
	text_add_label(r->labels, "gpu", uuid);
	return 1;
}

static void gather_pools(struct mediator *m, struct rows *rows, uint64_t now_ns)
{
	struct pool *p;

	TAILQ_FOREACH (p, &m->pools, link) {
		struct metric_row *r = &rows->pools[rows->n_pools++];

		r->pool = p;
		r->achieved = achieved(&p->window, &p->group, now_ns);
		text_add_label(r->labels, "pool", p->name);
	}
}

static void gather_tenant(struct tenant *t, struct metric_row *r, uint64_t now_ns)
{
	char id[12];

	snprintf(id, sizeof(id), "%u", t->id);
	text_add_label(r->labels, "tenant", t->name);
	text_add_label(r->labels, "id", id);
	r->tenant = t;
	r->group = &t->account.group;
	r->meters = t->account.ended;
	memcpy(r->delays, t->metrics->past, sizeof(r->delays));
	memcpy(r->use, t->use->past, sizeof(r->use));
	r->contended_ns = wfq_contended_ns(&t->mediator->turns.wfq, r->group);
	r->quarantined = watch_tenant_kept(t);
	r->achieved = achieved(&t->window, r->group, now_ns);
}

static void gather_tenants(struct mediator *m, struct rows *rows, uint64_t now_ns)
{
	struct tenant *t;

	for (t = tenant_from_id(m, 0); t; t = tenant_after(t)) {
		if (t->removed)
			continue;
		if (rows->n_tenants < VGPU_MAX_METRIC_TENANTS)
			gather_tenant(t, &rows->tenants[rows->n_tenants++], now_ns);
		else
			rows->mediator.left_out++;
	}
}

// NULL: it is left out. Rows are in the order of ids.
static struct metric_row *row_of(struct rows *rows, const struct tenant *t)
{
	unsigned low = 0, high = rows->n_tenants;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (rows->tenants[middle].tenant->id < t->id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < rows->n_tenants && rows->tenants[low].tenant == t ? &rows->tenants[low] : NULL;
}

static void gather_channels(struct mediator *m, struct rows *rows)
{
	struct channel *c;

	LIST_FOREACH (c, &m->channels, link) {
		struct metric_row *r = row_of(rows, c->tenant);
		const struct delay_counts *delays;
		struct turn_gauges g;

		if (!r)
			continue;
		delays = metrics_channel_delays(c);
		for (unsigned i = 0; delays && i < VGPU_DELAYS; i++)
			delay_counts_add(&r->delays[i], &delays[i]);
		turn_seat_refresh(&c->seat);
		turn_seat_gauges(&c->seat, &g);
		turn_meters_add(&r->meters, &c->seat.meters);
		use_look(c);
		use_add_channel(r->use, c);
		r->in_flight += g.in_flight;
		r->parked_bytes += g.parked_bytes;
	}
}

static int gather(struct mediator *m, struct rows *rows)
{
	uint64_t now = clock_now_ns();
	unsigned most = m->n_tenants < VGPU_MAX_METRIC_TENANTS ? m->n_tenants : VGPU_MAX_METRIC_TENANTS;

	rows->pools = calloc(m->n_pools + 1, sizeof(*rows->pools));
	rows->tenants = calloc(most + 1, sizeof(*rows->tenants));
	if (!rows->pools || !rows->tenants)
		return -ENOMEM;
	turns_refresh(&m->turns);
	gather_mediator(m, &rows->mediator);
	rows->n_gpus = gather_gpu(m, &rows->gpu, now);
	gather_pools(m, rows, now);
	gather_tenants(m, rows, now);
	gather_channels(m, rows);
	return 0;
}

// ---- telling ----

static const struct metric_row *rows_of(const struct rows *rows, enum metric_scope scope, unsigned *ret_n)
{
	switch (scope) {
	case METRIC_OF_GPU: *ret_n = rows->n_gpus; return &rows->gpu;
	case METRIC_OF_POOL: *ret_n = rows->n_pools; return rows->pools;
	case METRIC_OF_TENANT: *ret_n = rows->n_tenants; return rows->tenants;
	default: *ret_n = 1; return &rows->mediator;
	}
}

static void tell(FILE *out, const struct metric *m, const struct metric_value *v,
		 const struct metric_row *row)
{
	for (unsigned i = 0; i < v->n; i++) {
		if (v->value)
			text_sample(out, m, row->labels, v->label(row, i), v->value(row, i));
		else
			text_histogram(out, m, row->labels, v->label(row, i), v->counts(row, i));
	}
}

int metrics_write(struct mediator *m, FILE *out)
{
	uint64_t begun_ns = clock_now_ns();
	struct rows rows = { 0 };
	int r = gather(m, &rows);

	for (unsigned i = 0; r == 0 && i < metrics_count; i++) {
		unsigned n;
		const struct metric_row *row = rows_of(&rows, metrics_table[i].scope, &n);

		text_begin(out, &metrics_table[i]);
		for (unsigned j = 0; j < n; j++)
			tell(out, &metrics_table[i], &metrics_values[i], &row[j]);
	}
	free(rows.pools);
	free(rows.tenants);
	m->metrics.text_ns = clock_now_ns() - begun_ns;
	if (r == 0 && ferror(out))
		r = -EIO;
	return r;
}
