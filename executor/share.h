// SPDX-License-Identifier: Apache-2.0
// What this executor shares with others of its tenant, and what it has from them (docs/decisions/0012). The
// mediator brings both together: it is asked over the link and answers at once, so asking waits for it, and
// for nobody else.
#ifndef VGPU_EXECUTOR_SHARE_H
#define VGPU_EXECUTOR_SHARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct executor;
struct event;
struct share_owned;

struct share_state {
	LIST_HEAD(, share_owned) owned; // mappings of allocations that others may take
	uint32_t cookie;		// of the last question
};

void share_init(struct executor *x);
// The event goes: the mediator forgets it, or that we have it.
void share_event_gone(struct executor *x, struct event *e);

#endif
