// SPDX-License-Identifier: Apache-2.0
// See the header. Called by mediator/watch/watch.c and the unit tests.
#include "mediator/watch/work.h"

#include "common/clock.h"

#define SHORTEST_INTERVAL_NS (5 * NSEC_PER_MSEC)

void work_look(struct work_watch *w, bool in_flight, uint64_t progress, uint64_t now_ns)
{
	// A counter that goes back is as good as one that goes on: the executor may write anything.
	if (!in_flight || !w->runs || progress != w->progress)
		w->since_ns = now_ns;
	w->runs = in_flight;
	w->progress = progress;
}

bool work_hangs(const struct work_watch *w, uint64_t limit_ns, uint64_t now_ns)
{
	return limit_ns && w->runs && now_ns >= w->since_ns && now_ns - w->since_ns >= limit_ns;
}

uint64_t work_interval_ns(uint64_t limit_ns)
{
	uint64_t interval = limit_ns / 8;

	if (!limit_ns)
		return WORK_NEVER;
	return interval > SHORTEST_INTERVAL_NS ? interval : SHORTEST_INTERVAL_NS;
}
