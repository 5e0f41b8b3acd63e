// SPDX-License-Identifier: Apache-2.0
// The store of the mediator: opened, its answers taken, what was kept put in force. Runs in the mediator's
// loop.
#include "mediator/record/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "mediator/control/uuid.h"
#include "mediator/pool.h"
#include "mediator/tenant.h"

#define SELF "vgpu-mediator"

const char *record_who(const struct record *r)
{
	return r->who[0] ? r->who : SELF;
}

void record_by(struct mediator *m, const char *who)
{
	snprintf(m->record.who, sizeof(m->record.who), "%s", who ? who : "");
}

int record_settled(struct mediator *m, store_done *done, void *opaque)
{
	return m->record.store ? store_settled(m->record.store, done, opaque) : -ENOENT;
}

void record_tenant_name(const struct tenant *t, char *ret)
{
	// Made tenants choose their names: none of them shall be that of a user's tenant.
	if (t->vm[0])
		snprintf(ret, STORE_NAME_BYTES, RECORD_NAME_OF_VM "%s", t->vm); // whatever it is called now
	else
		snprintf(ret, STORE_NAME_BYTES, "%s%s", t->for_uid ? "" : RECORD_NAME_OF_REST, t->name);
}

void record_gpu(struct record *r)
{
	const struct board *b = &r->mediator->sensor.board;
	struct store_row row = { .kind = STORE_GPU };
	char pci[BOARD_PCI_BYTES];
	bool placed = board_place(b, pci);

	if (!b->known || (r->gpu_known && r->gpu_placed == placed))
		return;
	uuid_print(b->identity.uuid, row.key);
	snprintf(row.gpu.name, sizeof(row.gpu.name), "%.*s", (int)sizeof(row.gpu.name) - 1, b->identity.name);
	row.gpu.memory_bytes = b->identity.total_memory;
	if (placed) {
		snprintf(row.gpu.pci, sizeof(row.gpu.pci), "%s", pci);
		row.gpu.pci_id = b->values.value[DEVICE_PCI_ID];
	}
	record_told(r, store_put(r->store, SELF, &row, NULL, NULL, NULL));
	r->gpu_known = true;
	r->gpu_placed = placed;
}

// ---- what was kept ----

static void on_said(void *opaque, enum store_level level, const char *text)
{
	(void)opaque;
	if (level == STORE_SAYS_ERROR)
		log_error("%s", text);
	else if (level == STORE_SAYS_WARNING)
		log_warning("%s", text);
	else
		log_info("%s", text);
}

static void on_loading(void *opaque)
{
	struct record *r = opaque;
	struct kept *k;

	for (k = kept_after(r, NULL); k; k = kept_after(r, k))
		k->row = false; // in this file, as far as is known
	inventory_loading(r->mediator);
	migrate_loading(r->mediator);
}

static void on_row(void *opaque, const struct store_row *row)
{
	struct record *r = opaque;
	struct kept *k;

	if (row->kind == STORE_PROFILE || row->kind == STORE_VM || row->kind == STORE_SLOT)
		inventory_row(r->mediator, row);
	if (row->kind == STORE_MIGRATION || row->kind == STORE_MIGRATION_VM)
		migrate_row(r->mediator, row);
	if (row->kind != STORE_POOL && row->kind != STORE_TENANT)
		return;
	k = kept_get(r, row->kind == STORE_POOL ? STORE_OF_POOL : STORE_OF_TENANT, row->key);
	if (!k)
		return;
	k->row = true;
	if (row->kind == STORE_POOL)
		memcpy(k->gpu, row->pool.gpu, sizeof(k->gpu));
	else
		memcpy(k->pool, row->tenant.pool, sizeof(k->pool));
}

// What was set since the start is newer than what the first file to be had says, and older than one that
// replaced it.
static void on_limits(void *opaque, const struct store_limits *limits)
{
	const struct record *r = opaque;
	unsigned whom = limits->scope == STORE_OF_POOL ? POLICY_FOR_POOL : POLICY_FOR_TENANT;
	struct kept *k;

	if (limits->scope == STORE_OF_PROFILE) {
		inventory_limits(r->mediator, limits);
		return;
	}
	k = kept_get(opaque, limits->scope, limits->owner);
	for (uint32_t i = 0; k && i < limits->n; i++) {
		const struct store_limit *l = &limits->list[i];
		int item = policy_find(l->name, whom);

		if (item >= 0 && !r->loaded && (k->policy.given & 1u << item))
			continue;
		if (item < 0 || policy_set_value(&k->policy, (enum policy_item)item, l->value) < 0)
			log_warning("store: '%s' = %" PRIu64 " of %s is not known here, and left out",
				    l->name, l->value, limits->owner);
	}
}

static void on_book(void *opaque, const struct store_book *book)
{
	record_book_loaded(opaque, book);
}

static void apply_pool(struct mediator *m, const struct kept *k)
{
	struct pool *p = pool_find(m, k->key);
	int r = p ? pool_set(p, &k->policy) : pool_add(m, k->key, &k->policy, &p);

	if (r < 0)
		log_warning("pool '%s' of the store is not set up: %s", k->key,
			    r == -ERANGE ? "the shares of all pools would be too much" : strerror(-r));
	else if (k->gpu[0])
		snprintf(p->gpu, sizeof(p->gpu), "%.*s", (int)sizeof(p->gpu) - 1, k->gpu);
}

static void on_loaded(void *opaque, bool fresh, uint64_t usage_number)
{
	struct record *r = opaque;
	struct mediator *m = r->mediator;
	unsigned pools = 0, tenants = 0;
	struct tenant *t;
	struct kept *k;

	r->gpu_known = false;
	for (k = kept_after(r, NULL); k; k = kept_after(r, k)) {
		if (k->scope != STORE_OF_POOL) {
			tenants++;
			continue;
		}
		pools++;
		apply_pool(m, k);
	}
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t))
		record_tenant_made(t);
	if (fresh && r->loaded) {
		for (k = kept_after(r, NULL); k; k = kept_after(r, k)) {
			kept_tell(r, k);
			record_book_again(r, k);
		}
	}
	inventory_loaded(m);
	migrate_loaded(m, fresh);
	r->loaded = true;
	record_usage_loaded(r, usage_number);
	log_info("store %s: %s, %u pools and %u tenants with something kept", m->settings->store_path,
		 fresh ? "begun" : "open", pools, tenants);
}

static const struct store_ops ops = {
	.said = on_said,
	.loading = on_loading,
	.row = on_row,
	.limits = on_limits,
	.book = on_book,
	.loaded = on_loaded,
};

// ---- tenants ----

void record_tenant_made(struct tenant *t)
{
	struct record *r = &t->mediator->record;
	char name[STORE_NAME_BYTES];
	const struct kept *k;
	struct pool *pool;

	if (!r->store && !r->n_kept)
		return;
	record_tenant_name(t, name);
	k = kept_find(r, STORE_OF_TENANT, name);
	if (!k)
		return;
	pool = k->pool[0] ? pool_find(t->mediator, k->pool) : NULL;
	if (k->policy.given || pool)
		tenant_set_by_hand(t, &k->policy, pool);
	if (k->book)
		t->watch.book = *k->book;
	if (k->policy.given || k->book)
		log_info("tenant %" PRIu32 " '%s': what was set by hand or recorded of it holds on", t->id,
			 t->name);
}

void record_tenant_gone(struct tenant *t)
{
	if (t->mediator->record.store)
		record_usage_gone(&t->mediator->record, t);
}

void record_tenant_set(struct tenant *t, const struct policy *given, const struct pool *pool)
{
	struct record *r = &t->mediator->record;
	char name[STORE_NAME_BYTES];
	struct kept *k;

	if (!r->store || (!given->given && !pool))
		return;
	record_tenant_name(t, name);
	k = kept_get(r, STORE_OF_TENANT, name);
	if (!k)
		return;
	policy_merge(&k->policy, given);
	if (pool)
		snprintf(k->pool, sizeof(k->pool), "%s", pool->name);
	kept_tell(r, k);
	k->row = true;
}

int record_forget(struct mediator *m, const char *name)
{
	struct record *r = &m->record;
	struct kept *k = r->store ? kept_find(r, STORE_OF_TENANT, name) : NULL;

	if (!r->store)
		return -ENOENT;
	if (k)
		kept_drop(r, k);
	record_told(r, store_remove(r->store, record_who(r), STORE_TENANT, name, NULL, NULL));
	return 0;
}

// ---- pools ----

void record_pool_set(struct pool *p, const struct policy *given)
{
	struct record *r = &p->mediator->record;
	struct kept *k = r->store ? kept_get(r, STORE_OF_POOL, p->name) : NULL;

	if (!k)
		return;
	policy_merge(&k->policy, given);
	snprintf(k->gpu, sizeof(k->gpu), "%s", p->gpu);
	kept_tell(r, k);
	k->row = true;
}

// Tenants that are not there now may have been put into it: they go where new ones go.
void record_pool_removed(struct mediator *m, const char *name)
{
	struct record *r = &m->record;
	struct kept *k;

	if (!r->store)
		return;
	for (k = kept_after(r, NULL); k; k = kept_after(r, k)) {
		if (k->scope != STORE_OF_TENANT || strcmp(k->pool, name) != 0)
			continue;
		k->pool[0] = 0;
		kept_tell(r, k);
	}
	k = kept_find(r, STORE_OF_POOL, name);
	if (!k)
		return; // of the settings, and never changed
	kept_drop(r, k);
	record_told(r, store_remove(r->store, record_who(r), STORE_POOL, name, NULL, NULL));
}

// ---- life ----

// Its disk began to fail, or works again.
static void publish_state(struct record *r)
{
	struct store_status status;

	store_status(r->store, &status);
	if (status.degraded == r->degraded)
		return;
	r->degraded = status.degraded;
	event_publish(r->mediator, status.degraded ? EVENT_STORE_DEGRADED : EVENT_STORE_GOOD, NULL, NULL,
		      "%s", status.degraded ? status.text : "the store's disk works again");
}

static int on_ready(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct record *r = userdata;

	(void)source;
	(void)fd;
	(void)events;
	store_dispatch(r->store);
	publish_state(r);
	return 0;
}

static int watch_store(struct record *r)
{
	struct mediator *m = r->mediator;
	int e = sd_event_add_io(m->event, &r->ready, store_fd(r->store), EPOLLIN, on_ready, r);

	if (e < 0)
		return e;
	// After all that concerns programs.
	e = sd_event_source_set_priority(r->ready, SD_EVENT_PRIORITY_NORMAL + 2);
	return e < 0 ? e : record_usage_init(r);
}

int record_init(struct record *r, struct mediator *m)
{
	const struct settings *s = m->settings;
	struct store_config config = {
		.path = s->store_path,
		.most_bytes = s->store_most,
		.retry_ns = s->store_retry,
		.minutes_days = (uint32_t)s->store_keep_minutes,
		.hours_days = (uint32_t)s->store_keep_hours,
		.days_days = (uint32_t)s->store_keep_days,
		.audit_days = (uint32_t)s->store_keep_audit,
	};
	char error[2 * STORE_TEXT_BYTES];
	int e;

	memset(r, 0, sizeof(*r));
	r->mediator = m;
	RB_INIT(&r->kept);
	if (!s->store_path[0])
		return 0;
	e = store_open(&config, &ops, r, &r->store, error, sizeof(error));
	if (e < 0) {
		log_error("%s", error);
		return e;
	}
	watch_listen(&m->watch, record_book_changed, r);
	return watch_store(r);
}

void record_done(struct record *r)
{
	if (!r->mediator)
		return;
	if (r->store)
		record_usage_last(r);
	r->ready = sd_event_source_disable_unref(r->ready);
	r->tick = sd_event_source_disable_unref(r->tick);
	watch_unlisten(&r->mediator->watch, record_book_changed);
	store_close(r->store);
	r->store = NULL;
	kept_clear(r);
	free(r->rows);
	free(r->uses.rows);
	r->rows = NULL;
}
