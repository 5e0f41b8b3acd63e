// SPDX-License-Identifier: Apache-2.0
// What was set by hand, by owner: the loop's own copy of it, so that a tenant that comes is served without
// waiting for the disk. Runs in the mediator's loop.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "mediator/complain.h"
#include "mediator/record/record.h"

static int compare_kept(const struct kept *a, const struct kept *b)
{
	if (a->scope != b->scope)
		return a->scope < b->scope ? -1 : 1;
	return strcmp(a->key, b->key);
}

RB_GENERATE_INTERNAL(kept_tree, kept, link, compare_kept, __attribute__((unused)) static)

struct kept *kept_find(struct record *r, enum store_scope scope, const char *key)
{
	struct kept wanted = { .scope = scope };

	snprintf(wanted.key, sizeof(wanted.key), "%s", key);
	return RB_FIND(kept_tree, &r->kept, &wanted);
}

struct kept *kept_after(struct record *r, struct kept *k)
{
	return k ? RB_NEXT(kept_tree, &r->kept, k) : RB_MIN(kept_tree, &r->kept);
}

struct kept *kept_get(struct record *r, enum store_scope scope, const char *key)
{
	struct kept *k = kept_find(r, scope, key);

	if (k)
		return k;
	k = r->n_kept < VGPU_MAX_STORED_TENANTS ? calloc(1, sizeof(*k)) : NULL;
	if (!k) {
		complain("no room to keep more tenants in mind (VGPU_MAX_STORED_TENANTS)");
		return NULL;
	}
	k->scope = scope;
	snprintf(k->key, sizeof(k->key), "%s", key);
	policy_init(&k->policy);
	RB_INSERT(kept_tree, &r->kept, k);
	r->n_kept++;
	return k;
}

void kept_drop(struct record *r, struct kept *k)
{
	RB_REMOVE(kept_tree, &r->kept, k);
	r->n_kept--;
	free(k->book);
	free(k);
}

void kept_clear(struct record *r)
{
	struct kept *k;

	while ((k = RB_MIN(kept_tree, &r->kept)))
		kept_drop(r, k);
}

void record_told(struct record *r, int result)
{
	if (result == 0)
		r->changes++;
	else
		complain("a change will not outlive this process: the store has no room for it (%s)",
			 strerror(-result));
}

static void fill_limits(const struct kept *k, struct store_limits *l)
{
	memset(l, 0, sizeof(*l));
	l->scope = k->scope;
	memcpy(l->owner, k->key, sizeof(l->owner));
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		struct store_limit *limit = &l->list[l->n];

		if (!(k->policy.given & 1u << i))
			continue;
		snprintf(limit->name, sizeof(limit->name), "%s", policy_name(i));
		// Beyond this there are no bytes to be had: it means the same.
		limit->value = k->policy.value[i] < INT64_MAX ? k->policy.value[i] : INT64_MAX;
		l->n++;
	}
}
_Static_assert(POLICY_ITEMS <= STORE_MOST_LIMITS && POLICY_ITEMS <= 32, "one bit and one place each");

void record_pool_row(struct record *r, const char *name)
{
	struct store_row row = { .kind = STORE_POOL };
	struct kept *k = kept_get(r, STORE_OF_POOL, name);

	if (!k || k->row)
		return;
	k->row = true;
	snprintf(row.key, sizeof(row.key), "%s", name);
	record_told(r, store_put(r->store, record_who(r), &row, NULL, NULL, NULL));
}

void kept_tell(struct record *r, const struct kept *k)
{
	struct store_row row = { .kind = k->scope == STORE_OF_POOL ? STORE_POOL : STORE_TENANT };
	struct store_limits limits;

	memcpy(row.key, k->key, sizeof(row.key));
	if (row.kind == STORE_POOL) {
		memcpy(row.pool.gpu, k->gpu, sizeof(row.pool.gpu));
		if (k->gpu[0])
			record_gpu(r);
	} else {
		memcpy(row.tenant.pool, k->pool, sizeof(row.tenant.pool));
		if (k->pool[0])
			record_pool_row(r, k->pool);
	}
	fill_limits(k, &limits);
	record_told(r, store_put(r->store, record_who(r), &row, &limits, NULL, NULL));
}
