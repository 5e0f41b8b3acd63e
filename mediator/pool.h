// SPDX-License-Identifier: Apache-2.0
// Pools: named groups of tenants with a weight or a fixed share of this mediator's GPU. "default" is always
// there; others come from [pool NAME] sections and the control socket. In the mediator's loop.
#ifndef VGPU_MEDIATOR_POOL_H
#define VGPU_MEDIATOR_POOL_H

#include <bsd/sys/queue.h>

#include "common/limits.h"
#include "mediator/limit/policy.h"
#include "mediator/limit/window.h"
#include "mediator/sched/wfq.h"

#define POOL_DEFAULT "default"

struct mediator;

struct pool {
	struct mediator *mediator;
	TAILQ_ENTRY(pool) link;
	char name[VGPU_MAX_POLICY_NAME + 1];
	char gpu[VGPU_MAX_POLICY_NAME + 1]; // uuid that its maker named; empty: none. It is ours.
	struct policy policy;
	uint64_t
	    id; // for the next mediator, once the control socket made or changed it; 0: as the settings say
	bool kept; // with the keeper
	struct wfq_node group;
	unsigned n_tenants;
	struct window window; // of group.charged_ns, for STATUS
};
TAILQ_HEAD(pool_list, pool);

// Those of the settings. 0 or -errno, which was logged.
int pools_init(struct mediator *m);
void pools_done(struct mediator *m); // no tenants left

struct pool *pool_find(struct mediator *m, const char *name); // NULL: there is none

// Errors of both: -ERANGE when the shares of all pools would be too much, -EEXIST, -ENOSPC, -ENOMEM.
int pool_add(struct mediator *m, const char *name, const struct policy *given, struct pool **ret);
int pool_set(struct pool *p, const struct policy *change);
// -EBUSY: it has tenants, or is the default one.
int pool_remove(struct pool *p);

#endif
