// SPDX-License-Identifier: Apache-2.0
// Pools with a fixed share of the GPU beside pools with a weight, as weights for the scheduler. Pure.
#ifndef VGPU_MEDIATOR_LIMIT_SHARES_H
#define VGPU_MEDIATOR_LIMIT_SHARES_H

#include <errno.h>
#include <stdint.h>

#define SHARES_WHOLE   10000u	// shares are parts of this
#define SHARES_WEIGHTS 1000000u // all weights together, when there are shares

struct share_part {
	uint32_t share;	 // 0: by weight
	uint32_t weight; // >= 1
	uint32_t ret;	 // what the scheduler shall use
};

// Without any share the weights stay as they are. 0, or -ERANGE (nothing changed) when the shares leave
// nothing for those with weights, or are more than the whole.
static inline int shares_to_weights(struct share_part *parts, unsigned n)
{
	uint64_t shares = 0, weights = 0;

	for (unsigned i = 0; i < n; i++) {
		shares += parts[i].share;
		weights += parts[i].share ? 0 : parts[i].weight;
	}
	if (shares > SHARES_WHOLE || (weights && shares >= SHARES_WHOLE))
		return -ERANGE;
	for (unsigned i = 0; i < n; i++) {
		uint64_t w = parts[i].weight;

		if (parts[i].share)
			w = (uint64_t)parts[i].share * (SHARES_WEIGHTS / SHARES_WHOLE);
		else if (shares && weights)
			w = (SHARES_WHOLE - shares) * (SHARES_WEIGHTS / SHARES_WHOLE) * w / weights;
		parts[i].ret = w ? (uint32_t)w : 1;
	}
	return 0;
}

#endif
