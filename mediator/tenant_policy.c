// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/tenant_policy.h"

#include "mediator/channel.h"
#include "mediator/tenant.h"

// What is owed at the old rate is forgiven.
static void set_rate(_Atomic uint64_t *per_s, _Atomic uint64_t *due_ns, uint64_t value)
{
	if (atomic_load(per_s) == value)
		return;
	atomic_store(due_ns, 0);
	atomic_store(per_s, value);
}

static void set_page(struct tenant *t)
{
	const uint64_t *v = t->policy.value;
	struct vgpu_tenant_page *p = t->page;
	struct channel *c;

	atomic_store(&p->memory_quota, v[POLICY_MEMORY]);
	set_rate(&p->launches_per_s, &p->launches_due_ns, v[POLICY_LAUNCHES_PER_S]);
	set_rate(&p->copy_bytes_per_s, &p->copies_due_ns, v[POLICY_COPY_PER_S]);
	atomic_store(&p->queue_depth, v[POLICY_QUEUE_DEPTH]);
	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant == t)
			turn_seat_nudge(&c->seat);
	}
}

void tenant_apply_policy(struct tenant *t)
{
	const uint64_t *v = t->policy.value;
	struct turn_policy turn = {
		.weight = (uint32_t)v[POLICY_WEIGHT],
		.latency = v[POLICY_CLASS] == POLICY_CLASS_LATENCY,
		.cap_per_10000 = (uint32_t)v[POLICY_GPU_CAP],
		.turn_ns = v[POLICY_TURN],
	};

	t->weight = turn.weight;
	t->memory_quota = v[POLICY_MEMORY];
	watch_apply_policy(t);
	set_page(t);
	turns_set_policy(&t->mediator->turns, &t->account.group, &turn);
}

uint64_t tenant_most_channels(const struct tenant *t)
{
	uint64_t own = t->policy.value[POLICY_CHANNELS];

	return own ? own : t->mediator->settings->limits_channels;
}

void tenant_set_policy(struct tenant *t, const struct policy *change)
{
	policy_merge(&t->policy, change);
	tenant_apply_policy(t);
}

void tenant_set_pool(struct tenant *t, struct pool *pool)
{
	if (pool == t->pool)
		return;
	t->pool->n_tenants--;
	t->pool = pool;
	pool->n_tenants++;
	turn_account_move(&t->account, &pool->group);
}

void tenant_set_by_hand(struct tenant *t, const struct policy *change, struct pool *pool)
{
	struct policy said;

	policy_init(&said);
	policy_merge(&said, change); // a priority is a weight from here on
	t->by_hand |= said.given | (pool ? TENANT_POOL_BY_HAND : 0);
	if (pool)
		tenant_set_pool(t, pool);
	tenant_set_policy(t, &said);
}
