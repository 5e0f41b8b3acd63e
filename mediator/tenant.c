// SPDX-License-Identifier: Apache-2.0
// Tenants and their shared pages; see the header. Runs in the mediator's loop.
#include "mediator/tenant.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "mediator/about.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/channel.h"
#include "mediator/memory.h"
#include "mediator/session/session.h"
#include "mediator/tenant_policy.h"

#define TENANT_PAGE_BYTES 4096u

struct tenant_books {
	struct turn_books turns;
	struct tenant_watch strikes;
	struct told_usage usage;
	struct tenant_metrics metrics;
	struct tenant_use use;
};
#define TENANT_BOOKS_BYTES 65536u // of which what was never written takes no memory
static_assert(sizeof(struct tenant_books) <= TENANT_BOOKS_BYTES, "one file");

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

struct tenant *tenant_after(const struct tenant *t)
{
	return t->id == UINT32_MAX ? NULL : tenant_from_id(t->mediator, t->id + 1);
}

static void unmap(struct tenant *t)
{
	if (t->page)
		munmap(t->page, TENANT_PAGE_BYTES);
	if (t->books)
		munmap(t->books, TENANT_BOOKS_BYTES);
	close_fd(&t->page_fd);
	close_fd(&t->books_fd);
}

static void tenant_free(struct tenant *t)
{
	struct mediator *m = t->mediator;

	event_publish(m, EVENT_TENANT_WENT, t, NULL, "tenant '%s' is gone", t->name);
	keep_tenant_gone(t);
	record_tenant_gone(t);
	inventory_tenant_gone(t);
	listener_done(&t->listener);
	turn_account_done(&t->account);
	t->pool->n_tenants--;
	unmap(t);
	RB_REMOVE(tenant_tree, &m->tenants, t);
	m->n_tenants--;
	free(t);
}

// A tenant that only keeps old counters makes room for a new one.
static void evict_one(struct mediator *m)
{
	struct tenant *t;

	RB_FOREACH (t, tenant_tree, &m->tenants) {
		if (t->for_uid && !t->n_sessions && !t->n_channels && !watch_tenant_kept(t)) {
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

struct told_usage *tenant_told_usage(struct tenant *t)
{
	return &t->books->usage;
}

void tenant_note_strikes(struct tenant *t)
{
	t->books->strikes = t->watch;
}

// Its pages are there. restore: the books are a mediator's before this one.
static void enter(struct mediator *m, struct tenant *t, uint32_t id, const char *name,
		  const struct policy *policy, struct pool *pool, bool restore)
{
	t->mediator = m;
	t->metrics = &t->books->metrics;
	t->use = &t->books->use;
	t->id = id;
	snprintf(t->name, sizeof(t->name), "%s", name);
	bucket_init(&t->device_rate, clock_now_ns());
	RB_INIT(&t->shares.by_key);
	if (restore)
		t->watch.book = t->books->strikes.book;
	// The pool may have been removed over the control socket, or from the settings.
	t->pool = pool ? pool : pool_find(m, POOL_DEFAULT);
	t->pool->n_tenants++;
	turn_account_init(&t->account, &m->turns, &t->pool->group);
	t->policy = *policy;
	tenant_apply_policy(t);
	turn_books_open(&t->account, &t->books->turns, restore);
	window_init(&t->window, t->account.group.charged_ns, clock_now_ns());
	history_init(&t->history, t->account.group.charged_ns, clock_now_ns());
	if (!restore)
		tenant_note_strikes(t);
	RB_INSERT(tenant_tree, &m->tenants, t);
	m->n_tenants++;
	if (!restore)
		event_publish(m, EVENT_TENANT_CAME, t, NULL, "tenant '%s' is there", t->name);
}

// What holds for a tenant until somebody says otherwise.
static void first_policy(struct mediator *m, uint32_t weight, uint64_t memory_quota, const char *profile,
			 struct policy *ret)
{
	const struct profile *p = profile[0] ? profile_find(m, profile) : NULL;

	policy_init(ret);
	ret->value[POLICY_WEIGHT] = weight;
	ret->value[POLICY_MEMORY] = memory_quota;
	if (p)
		policy_merge(ret, &p->policy);
}

static int tenant_new(struct mediator *m, const char *name, const struct policy *policy, struct tenant **ret)
{
	struct pool *pool = pool_find(m, m->settings->tenant_pool);
	struct tenant *t;
	int r;

	if (m->n_tenants >= m->settings->limits_tenants)
		evict_one(m);
	if (m->n_tenants >= m->settings->limits_tenants)
		return -ENOSPC;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->page_fd = t->books_fd = -1;
	r = memory_make("vgpu-tenant", TENANT_PAGE_BYTES, &t->page_fd, (void **)&t->page);
	if (r == 0)
		r = memory_make("vgpu-books", TENANT_BOOKS_BYTES, &t->books_fd, (void **)&t->books);
	if (r < 0) {
		unmap(t);
		free(t);
		return r;
	}
	enter(m, t, new_id(m), name, policy, pool, false);
	keep_daemon(m);
	*ret = t;
	return 0;
}

// A file of a mediator before this one; whoever keeps it does not know what it is.
static int map_again(int fd, uint64_t bytes, void **ret)
{
	struct stat st;
	void *map;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size != bytes)
		return -EPROTO;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret = map;
	return 0;
}

int tenant_adopt(struct mediator *m, const struct deposit_tenant *record, int page_fd, int books_fd,
		 struct tenant **ret)
{
	struct tenant *t, key = { .id = record->id };
	int r;

	if (RB_FIND(tenant_tree, &m->tenants, &key))
		return -EEXIST;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->page_fd = t->books_fd = -1;
	r = map_again(page_fd, TENANT_PAGE_BYTES, (void **)&t->page);
	if (r == 0)
		r = map_again(books_fd, TENANT_BOOKS_BYTES, (void **)&t->books);
	if (r < 0) {
		unmap(t);
		free(t);
		return r;
	}
	t->page_fd = page_fd;
	t->books_fd = books_fd;
	t->for_uid = record->flags & DEPOSIT_TENANT_FOR_UID;
	t->removed = record->flags & DEPOSIT_TENANT_REMOVED;
	t->fresh = record->flags & DEPOSIT_TENANT_FRESH;
	t->used = record->flags & DEPOSIT_TENANT_USED;
	t->uid = record->uid;
	t->by_hand = record->by_hand;
	memcpy(t->vm, record->vm, sizeof(t->vm));
	t->cookie = record->cookie;
	t->kept = true;
	enter(m, t, record->id, record->name, &record->policy, pool_find(m, record->pool), true);
	*ret = t;
	return 0;
}

int tenant_for_uid(struct mediator *m, uid_t uid, struct tenant **ret)
{
	char name[LINK_NAME_BYTES];
	struct policy policy;
	struct tenant *t;
	int r;

	RB_FOREACH (t, tenant_tree, &m->tenants) {
		if (t->for_uid && t->uid == uid) {
			*ret = t;
			return 0;
		}
	}
	snprintf(name, sizeof(name), "uid-%u", uid);
	first_policy(m, (uint32_t)m->settings->tenant_weight, m->settings->tenant_memory,
		     m->settings->tenant_profile, &policy);
	r = tenant_new(m, name, &policy, &t);
	if (r < 0)
		return r;
	t->for_uid = true;
	t->uid = uid;
	record_tenant_made(t);
	keep_tenant(t);
	*ret = t;
	return 0;
}

int tenant_make(struct mediator *m, struct session *maker, const char *name, uint32_t weight,
		uint64_t memory_quota, uid_t owner, struct tenant **ret)
{
	struct policy policy;
	struct tenant *t;
	char path[128];
	int r;

	first_policy(m, weight, memory_quota, "", &policy);
	r = tenant_new(m, name, &policy, &t);
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
	record_tenant_made(t);
	keep_tenant(t);
	ABOUT_TENANT(t);
	log_info("tenant %" PRIu32 " '%s': weight %" PRIu32 ", memory %" PRIu64 ", socket %s", t->id, t->name,
		 t->weight, t->memory_quota, path);
	*ret = t;
	return 0;
}

int tenant_make_for_vm(struct mediator *m, const char *uuid, const char *name, const struct policy *policy,
		       struct pool *pool, struct tenant **ret)
{
	const struct inventory *v = &m->inventory;
	char path[sizeof(m->listener.path)];
	struct tenant *t;
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/vm-%s.sock", m->settings->paths_run_directory, uuid) >=
	    sizeof(path))
		return -ENAMETOOLONG;
	r = tenant_new(m, name, policy, &t);
	if (r < 0)
		return r;
	snprintf(t->vm, sizeof(t->vm), "%s", uuid);
	tenant_set_pool(t, pool);
	r = listener_open(&t->listener, m, t, path, 0600, (uid_t)-1);
	if (r == 0)
		r = listener_give(&t->listener, v->stub_user, v->stub_group);
	if (r < 0) {
		t->vm[0] = 0; // it was never the VM's
		tenant_free(t);
		return r;
	}
	record_tenant_made(t);
	keep_tenant(t);
	log_info("tenant %" PRIu32 " '%s' of the VM %s: weight %" PRIu32 ", memory %" PRIu64, t->id, t->name,
		 t->vm, t->weight, t->memory_quota);
	*ret = t;
	return 0;
}

static void stop_channels(struct tenant *t, const char *why, bool at_once)
{
	struct channel *c;

	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant != t)
			continue;
		channel_stop(c, LINK_E_SHUTDOWN, why);
		if (at_once)
			channel_kill(c);
	}
	session_doom_tenant(t);
	mediator_reap(t->mediator);
}

void tenant_disconnect(struct tenant *t, bool at_once)
{
	stop_channels(t, "disconnected by the operator", at_once);
}

void tenant_remove(struct tenant *t)
{
	t->maker = NULL;
	t->removed = true;
	listener_done(&t->listener);
	t->kept = false; // without its socket
	keep_tenant(t);
	stop_channels(t, "the tenant was removed by its operator", false);
}

static bool is_over(const struct tenant *t)
{
	if (t->n_sessions || t->n_channels)
		return false;
	if (t->mediator->stopping)
		return t->removed || t->for_uid || t->vm[0];
	return t->removed || (t->for_uid && !t->used && !watch_tenant_kept(t));
}

void tenants_reap(struct mediator *m)
{
	struct tenant *t, *next;

	RB_FOREACH_SAFE (t, tenant_tree, &m->tenants, next) {
		if (is_over(t))
			tenant_free(t);
	}
}

// Both numbers come from executors of this tenant: never below zero. Without any executor left nothing is
// held, whatever the page says.
static void take_off(const struct tenant *t, _Atomic uint64_t *counter, uint64_t bytes)
{
	uint64_t used = atomic_load(counter), less;

	do {
		less = t->n_channels && used > bytes ? used - bytes : 0;
	} while (!atomic_compare_exchange_weak(counter, &used, less));
}

void tenant_uncharge(struct tenant *t, uint64_t memory, uint64_t pinned)
{
	take_off(t, &t->page->memory_used, memory);
	take_off(t, &t->page->pinned_used, pinned);
}
