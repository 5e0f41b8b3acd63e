// SPDX-License-Identifier: Apache-2.0
// What a tenant was to have of the GPU and what it had, for each step of the last minutes. Pure: time is a
// parameter. Steps are numbered from the clock's zero, so that those of all tenants are the same.
#ifndef VGPU_MEDIATOR_HISTORY_RING_H
#define VGPU_MEDIATOR_HISTORY_RING_H

#include <stdint.h>

#include "common/clock.h"

#define HISTORY_STEP_NS (2 * NSEC_PER_SEC)
#define HISTORY_STEPS	300 // ten minutes

// Hundredths of a percent of the GPU.
struct history_entry {
	uint16_t target, achieved;
};

struct history {
	struct history_entry entries[HISTORY_STEPS]; // step n at n % HISTORY_STEPS
	uint64_t step;				     // the one under way; 0: none yet
	uint64_t charged_ns;			     // when it began
	uint64_t target_sum;			     // of the looks in it
	uint32_t looks;
};

// Nobody used anything so far. charged_ns: the counter of GPU time now, which may have grown before.
void history_init(struct history *h, uint64_t charged_ns, uint64_t now_ns);
// target: in hundredths of a percent, now. Steps without a look are zero, so nobody needs to look while
// nothing happens; what was charged meanwhile counts for the step of the last look.
void history_look(struct history *h, unsigned target, uint64_t charged_ns, uint64_t now_ns);
// The entry of step n, zero if it is not one of the last HISTORY_STEPS that are over.
struct history_entry history_entry(const struct history *h, uint64_t n);

#endif
