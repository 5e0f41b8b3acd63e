// SPDX-License-Identifier: Apache-2.0
// What the demo judges: each tenant's part of the GPU time over the times in which all of them wanted it.
// Pure.
#ifndef VGPU_RUN_DEMO_SHARES_H
#define VGPU_RUN_DEMO_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#define DEMO_TENANTS 3

// Of one STATUS, in the demo's order of tenants.
struct demo_sample {
	uint64_t now_ns;
	struct {
		uint64_t gpu_ns, contended_gpu_ns, contended_ns, launches, memory, faults;
	} tenant[DEMO_TENANTS];
};

struct demo_shares {
	uint32_t weight[DEMO_TENANTS];
	bool started;
	struct demo_sample last;
	uint64_t gapless_ns;		      // up to the last sample, all were in demand for so long
	struct demo_sample since;	      // where that began
	uint64_t common_ns;		      // time in which all were in demand
	uint64_t common_gpu_ns[DEMO_TENANTS]; // what each got of it
};

// Takes the next sample. Times in which every tenant was in demand (nearly) always count when they are a
// second long: at their beginning what somebody who was away owes or is owed is still being settled.
void demo_shares_add(struct demo_shares *s, const struct demo_sample *sample);

// 0..1. achieved: 0 for all while nothing is known.
double demo_shares_target(const struct demo_shares *s, unsigned tenant);
double demo_shares_achieved(const struct demo_shares *s, unsigned tenant);

// Greatest distance between the two, in points (hundredths).
double demo_shares_error(const struct demo_shares *s);

#endif
