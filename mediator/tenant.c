// SPDX-License-Identifier: Apache-2.0
// Tenants and their shared pages; see the header. Runs in the mediator's loop.
#include "mediator/tenant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "mediator/channel.h"
#include "mediator/memory.h"
#include "mediator/session/session.h"

#define TENANT_PAGE_BYTES 4096u

static int compare_tenants(const struct tenant *a, const struct tenant *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_GENERATE_INTERNAL(tenant_tree, tenant, link, compare_tenants, __attribute__((unused)) static)

struct tenant *tenant_from_id(struct mediator *m, uint32_t id)
{
	struct tenant key = { .id = id };

	return RB_NFIND(tenant_tree, &m->tenants, &key);
}

static void tenant_free(struct tenant *t)
{
	struct mediator *m = t->mediator;

	listener_done(&t->listener);
	turn_account_done(&t->account);
	munmap(t->page, TENANT_PAGE_BYTES);
	close_fd(&t->page_fd);
	RB_REMOVE(tenant_tree, &m->tenants, t);
	m->n_tenants--;
	free(t);
}

// A tenant that only keeps old counters makes room for a new one.
static void evict_one(struct mediator *m)
{
	struct tenant *t;

	RB_FOREACH (t, tenant_tree, &m->tenants) {
		if (t->for_uid && !t->n_sessions && !t->n_channels) {
			tenant_free(t);
			return;
		}
	}
}

static uint32_t new_id(struct mediator *m)
{
	struct tenant key;

	// Ids come round after four thousand million tenants; one in use then is skipped.
	do {
		key.id = ++m->next_tenant_id;
	} while (!key.id || RB_FIND(tenant_tree, &m->tenants, &key));
	return key.id;
}

static int tenant_new(struct mediator *m, const char *name, uint32_t weight, uint64_t memory_quota,
		      struct tenant **ret)
{
	struct tenant *t;
	int r;

	if (m->n_tenants >= m->settings->limits_tenants)
		evict_one(m);
	if (m->n_tenants >= m->settings->limits_tenants)
		return -ENOSPC;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	r = memory_make("vgpu-tenant", TENANT_PAGE_BYTES, &t->page_fd, (void **)&t->page);
	if (r < 0) {
		free(t);
		return r;
	}
	atomic_store(&t->page->memory_quota, memory_quota);
	t->mediator = m;
	t->id = new_id(m);
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->weight = weight;
	t->memory_quota = memory_quota;
	turn_account_init(&t->account, &m->turns, weight);
	RB_INSERT(tenant_tree, &m->tenants, t);
	m->n_tenants++;
	*ret = t;
	return 0;
}

int tenant_for_uid(struct mediator *m, uid_t uid, struct tenant **ret)
{
	char name[LINK_NAME_BYTES];
	struct tenant *t;
	int r;

	RB_FOREACH (t, tenant_tree, &m->tenants) {
		if (t->for_uid && t->uid == uid) {
			*ret = t;
			return 0;
		}
	}
	snprintf(name, sizeof(name), "uid-%u", uid);
	r = tenant_new(m, name, (uint32_t)m->settings->tenant_weight, m->settings->tenant_memory, &t);
	if (r < 0)
		return r;
	t->for_uid = true;
	t->uid = uid;
	*ret = t;
	return 0;
}

int tenant_make(struct mediator *m, struct session *maker, const char *name, uint32_t weight,
		uint64_t memory_quota, uid_t owner, struct tenant **ret)
{
	struct tenant *t;
	char path[128];
	int r;

	r = tenant_new(m, name, weight, memory_quota, &t);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%.100s/tenant-%" PRIu32 ".sock", m->settings->paths_run_directory,
		 t->id);
	r = listener_open(&t->listener, m, t, path, 0600, owner);
	if (r < 0) {
		tenant_free(t);
		return r;
	}
	t->maker = maker;
	session_made_tenant(maker, t);
	log_info("tenant %" PRIu32 " '%s': weight %" PRIu32 ", memory %" PRIu64 ", socket %s", t->id, t->name,
		 weight, memory_quota, path);
	*ret = t;
	return 0;
}

void tenant_remove(struct tenant *t)
{
	struct channel *c;

	t->maker = NULL;
	t->removed = true;
	listener_done(&t->listener);
	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant == t)
			channel_stop(c, LINK_E_SHUTDOWN, "the tenant was removed by its operator");
	}
	session_doom_tenant(t);
	mediator_reap(t->mediator);
}

static bool is_over(const struct tenant *t)
{
	if (t->n_sessions || t->n_channels)
		return false;
	return t->removed || (t->for_uid && (!t->used || t->mediator->stopping));
}

void tenants_reap(struct mediator *m)
{
	struct tenant *t, *next;

	RB_FOREACH_SAFE (t, tenant_tree, &m->tenants, next) {
		if (is_over(t))
			tenant_free(t);
	}
}

void tenant_uncharge(struct tenant *t, uint64_t bytes)
{
	uint64_t used = atomic_load(&t->page->memory_used), less;

	// Both numbers come from executors of this tenant: never below zero. Without any executor left
	// nothing is held, whatever the page says.
	do {
		less = t->n_channels && used > bytes ? used - bytes : 0;
	} while (!atomic_compare_exchange_weak(&t->page->memory_used, &used, less));
}
