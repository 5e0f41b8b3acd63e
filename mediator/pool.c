// SPDX-License-Identifier: Apache-2.0
// Pools; see the header. Runs in the mediator's loop.
#include "mediator/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/adopt/keep.h"
#include "mediator/limit/shares.h"
#include "mediator/mediator.h"

struct pool *pool_find(struct mediator *m, const char *name)
{
	struct pool *p;

	TAILQ_FOREACH (p, &m->pools, link) {
		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

// The weights that all pools have if `changed` (NULL: none) has that policy, and extra (NULL: none) comes as
// another one. ret: room for VGPU_MAX_POOLS. 0 or -ERANGE.
static int weigh(struct mediator *m, const struct pool *changed, const struct policy *policy,
		 const struct policy *extra, struct share_part *ret)
{
	unsigned n = 0;
	struct pool *p;

	TAILQ_FOREACH (p, &m->pools, link) {
		const struct policy *its = p == changed ? policy : &p->policy;

		ret[n++] = (struct share_part){ .share = (uint32_t)its->value[POLICY_SHARE],
						.weight = (uint32_t)its->value[POLICY_WEIGHT] };
	}
	if (extra)
		ret[n++] = (struct share_part){ .share = (uint32_t)extra->value[POLICY_SHARE],
						.weight = (uint32_t)extra->value[POLICY_WEIGHT] };
	return shares_to_weights(ret, n);
}

static void apply(struct mediator *m)
{
	struct share_part parts[VGPU_MAX_POOLS];
	struct pool *p;
	unsigned i = 0;

	weigh(m, NULL, NULL, NULL, parts);
	TAILQ_FOREACH (p, &m->pools, link) {
		struct turn_policy t = {
			.weight = parts[i++].ret,
			.cap_per_10000 = (uint32_t)p->policy.value[POLICY_GPU_CAP],
			.turn_ns = p->policy.value[POLICY_TURN],
		};

		turns_set_policy(&m->turns, &p->group, &t);
	}
}

int pool_add(struct mediator *m, const char *name, const struct policy *given, struct pool **ret)
{
	struct share_part parts[VGPU_MAX_POOLS];
	struct policy policy;
	struct pool *p;

	if (pool_find(m, name))
		return -EEXIST;
	if (m->n_pools >= VGPU_MAX_POOLS)
		return -ENOSPC;
	policy_init(&policy);
	policy_merge(&policy, given);
	if (weigh(m, NULL, NULL, &policy, parts) < 0)
		return -ERANGE;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->mediator = m;
	memcpy(p->name, name, strlen(name) + 1);
	p->policy = policy;
	turns_add_pool(&m->turns, &p->group);
	window_init(&p->window, 0, clock_now_ns());
	TAILQ_INSERT_TAIL(&m->pools, p, link);
	m->n_pools++;
	apply(m);
	*ret = p;
	return 0;
}

int pool_set(struct pool *p, const struct policy *change)
{
	struct share_part parts[VGPU_MAX_POOLS];
	struct policy policy = p->policy;

	policy_merge(&policy, change);
	if (weigh(p->mediator, p, &policy, NULL, parts) < 0)
		return -ERANGE;
	p->policy = policy;
	apply(p->mediator);
	return 0;
}

static void drop(struct pool *p)
{
	turns_remove_pool(&p->mediator->turns, &p->group);
	TAILQ_REMOVE(&p->mediator->pools, p, link);
	p->mediator->n_pools--;
	free(p);
}

int pool_remove(struct pool *p)
{
	struct mediator *m = p->mediator;

	if (p->n_tenants || strcmp(p->name, POOL_DEFAULT) == 0)
		return -EBUSY;
	keep_pool_gone(p);
	drop(p);
	apply(m);
	return 0;
}

static int add_configured(struct mediator *m, const struct named_policy *n)
{
	struct pool *p = pool_find(m, n->name);
	int r;

	r = p ? pool_set(p, &n->policy) : pool_add(m, n->name, &n->policy, &p);
	if (r == -ERANGE)
		log_error("pool %s: the shares of all pools leave nothing for those with weights (the pool "
			  "'" POOL_DEFAULT "' is one of them, unless it has a share)",
			  n->name);
	else if (r < 0)
		log_error("pool %s: %s", n->name, strerror(-r));
	return r;
}

int pools_init(struct mediator *m)
{
	struct policy nothing = { .given = 0 };
	struct pool *p;
	int r = pool_add(m, POOL_DEFAULT, &nothing, &p);

	for (unsigned i = 0; r == 0 && i < m->settings->n_pools; i++)
		r = add_configured(m, &m->settings->pools[i]);
	return r;
}

void pools_done(struct mediator *m)
{
	struct pool *p;

	while ((p = TAILQ_FIRST(&m->pools)))
		drop(p);
}
