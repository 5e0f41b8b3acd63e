// SPDX-License-Identifier: Apache-2.0
// How fast a counter grew lately: since a mark that is at least WINDOW_LEAST_NS old, if somebody looks often,
// else since the last look but one. Pure; time is a parameter.
#ifndef VGPU_MEDIATOR_LIMIT_WINDOW_H
#define VGPU_MEDIATOR_LIMIT_WINDOW_H

#include <stdint.h>

#include "common/clock.h"

#define WINDOW_LEAST_NS NSEC_PER_SEC

struct window {
	uint64_t old_ns, old_count; // the mark
	uint64_t new_ns, new_count; // becomes the mark when it is old enough
};

static inline void window_init(struct window *w, uint64_t count, uint64_t now_ns)
{
	*w = (struct window){ now_ns, count, now_ns, count };
}

// The growth since the mark; *ret_ns: since when that is, 0 in the moment of the beginning.
static inline uint64_t window_look(struct window *w, uint64_t count, uint64_t now_ns, uint64_t *ret_ns)
{
	if (now_ns - w->new_ns >= WINDOW_LEAST_NS) {
		w->old_ns = w->new_ns;
		w->old_count = w->new_count;
		w->new_ns = now_ns;
		w->new_count = count;
	}
	*ret_ns = now_ns - w->old_ns;
	return count - w->old_count;
}

#endif
