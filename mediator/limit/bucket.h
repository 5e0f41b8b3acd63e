// SPDX-License-Identifier: Apache-2.0
// Rate limits: a bucket holds one second's worth of tokens, so a second's worth may come at once. Pure; time
// is a parameter.
#ifndef VGPU_MEDIATOR_LIMIT_BUCKET_H
#define VGPU_MEDIATOR_LIMIT_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"

struct bucket {
	uint64_t filled_ns; // at most one second
	uint64_t at_ns;
};

static inline void bucket_init(struct bucket *b, uint64_t now_ns)
{
	*b = (struct bucket){ .filled_ns = NSEC_PER_SEC, .at_ns = now_ns };
}

// Takes one token of per_second a second; false: there is none.
static inline bool bucket_take(struct bucket *b, uint32_t per_second, uint64_t now_ns)
{
	uint64_t cost = NSEC_PER_SEC / per_second;

	b->filled_ns += now_ns - b->at_ns;
	b->at_ns = now_ns;
	if (b->filled_ns > NSEC_PER_SEC)
		b->filled_ns = NSEC_PER_SEC;
	if (b->filled_ns < cost)
		return false;
	b->filled_ns -= cost;
	return true;
}

#endif
