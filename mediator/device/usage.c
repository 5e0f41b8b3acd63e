// SPDX-License-Identifier: Apache-2.0
// See the header. Called by answer.c in the mediator's loop and by the unit tests.
#include "mediator/device/usage.h"

#include <stddef.h>

void usage_note(struct usage *u, uint64_t now_ns, uint64_t busy_ns)
{
	const struct usage_sample *last = &u->samples[(u->count - 1) % USAGE_SAMPLES];

	if (u->count && now_ns < last->at_ns + USAGE_SPACING_NS)
		return;
	u->samples[u->count++ % USAGE_SAMPLES] = (struct usage_sample){ now_ns, busy_ns };
}

// The newest that makes the window as long as wanted, else the oldest that is not too old.
static const struct usage_sample *choose(const struct usage *u, uint64_t now_ns)
{
	uint64_t kept = u->count < USAGE_SAMPLES ? u->count : USAGE_SAMPLES;
	const struct usage_sample *best = NULL;

	for (uint64_t i = 1; i <= kept; i++) {
		const struct usage_sample *s = &u->samples[(u->count - i) % USAGE_SAMPLES];

		if (now_ns - s->at_ns > USAGE_LONGEST_NS)
			break;
		best = s;
		if (now_ns - s->at_ns >= USAGE_WANTED_NS)
			break;
	}
	return best && now_ns - best->at_ns >= USAGE_LEAST_NS ? best : NULL;
}

bool usage_share(const struct usage *u, uint64_t now_ns, uint64_t busy_ns, uint32_t *ret)
{
	const struct usage_sample *s = choose(u, now_ns);
	uint64_t window, busy;

	if (!s || busy_ns < s->busy_ns)
		return false;
	window = now_ns - s->at_ns;
	busy = busy_ns - s->busy_ns;
	*ret = busy >= window ? USAGE_WHOLE : (uint32_t)(busy * USAGE_WHOLE / window);
	return true;
}
