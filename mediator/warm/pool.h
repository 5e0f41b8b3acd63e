// SPDX-License-Identifier: Apache-2.0
// Executors that were started ahead: backend open, context made, in their sandbox, without a tenant. A
// channel that is opened takes one instead of starting one; none is ever used twice. What becomes of one that
// dies or hangs is the pool's business alone; no client waits for it.
//
//   start ──> STARTING ──WARM──> READY ──taken──> (a channel's, not ours any more)
//                │ ends, too slow   │ ends, too old, memory is wanted
//                └──────> KILLED <──┘ ──reaped──> (gone)
#ifndef VGPU_MEDIATOR_WARM_POOL_H
#define VGPU_MEDIATOR_WARM_POOL_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "mediator/spawn.h"
#include "mediator/warm/rule.h"

struct mediator;
struct warm_executor;

LIST_HEAD(warm_list, warm_executor);

struct warm_pool {
	struct mediator *mediator; // NULL: never initialised
	struct warm_rule rule;
	struct warm_list executors; // newest first
	sd_event_source *timer;
};

// Starts an executor for a channel, or (warm) one ahead. 0 and *ret, or -errno.
int executor_spawn(const struct mediator *m, bool warm, struct spawned *ret);

// Begins to fill itself in the background. 0 or -errno.
int warm_pool_init(struct warm_pool *p, struct mediator *m);
// Ends all of them. Accepts one that was never initialised (all zero).
void warm_pool_done(struct warm_pool *p);

// Puts all with a new keeper: they end with the mediator, whoever of both lives longer.
void warm_pool_keep_all(struct warm_pool *p);

struct warm_count {
	unsigned starting, ready;
};
struct warm_count warm_pool_count(const struct warm_pool *p);

// Hands over the process that has waited longest; its four fields are the caller's then, and nobody watches
// it. false: none waits.
bool warm_pool_take(struct warm_pool *p, struct spawned *ret);

// One that was taken did not serve: it died, or did not answer.
void warm_pool_bad(struct warm_pool *p);

// Device memory is wanted by a tenant: the pool gives up what it has, and starts nothing until until_ns. How
// many executors go.
unsigned warm_pool_yield(struct warm_pool *p, uint64_t until_ns);

#endif
