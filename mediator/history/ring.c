// SPDX-License-Identifier: Apache-2.0
#include "mediator/history/ring.h"

#include <string.h>

#define WHOLE 10000 // hundredths of a percent

void history_init(struct history *h, uint64_t charged_ns, uint64_t now_ns)
{
	*h = (struct history){ .step = now_ns / HISTORY_STEP_NS, .charged_ns = charged_ns };
}

static struct history_entry close_step(const struct history *h, uint64_t charged_ns)
{
	// A hold that began before this step is charged when it ends, so more than a step can come at once.
	uint64_t ns = charged_ns > h->charged_ns ? charged_ns - h->charged_ns : 0;
	uint64_t achieved = ns >= HISTORY_STEP_NS ? WHOLE : ns * WHOLE / HISTORY_STEP_NS;
	uint64_t target = h->looks ? h->target_sum / h->looks : 0;

	return (struct history_entry){ (uint16_t)(target < WHOLE ? target : WHOLE), (uint16_t)achieved };
}

void history_look(struct history *h, unsigned target, uint64_t charged_ns, uint64_t now_ns)
{
	uint64_t step = now_ns / HISTORY_STEP_NS;

	if (step > h->step) {
		h->entries[h->step % HISTORY_STEPS] = close_step(h, charged_ns);
		if (step - h->step >= HISTORY_STEPS)
			memset(h->entries, 0, sizeof(h->entries));
		else
			for (uint64_t n = h->step + 1; n < step; n++)
				h->entries[n % HISTORY_STEPS] = (struct history_entry){ 0 };
		h->step = step;
		h->charged_ns = charged_ns;
		h->target_sum = h->looks = 0;
	}
	h->target_sum += target;
	h->looks++;
}

struct history_entry history_entry(const struct history *h, uint64_t n)
{
	if (n >= h->step || h->step - n >= HISTORY_STEPS)
		return (struct history_entry){ 0 };
	return h->entries[n % HISTORY_STEPS];
}
