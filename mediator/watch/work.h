// SPDX-License-Identifier: Apache-2.0
// When does GPU work hang: it is in flight, and nothing of it has been seen complete for longer than its
// tenant may take. Pure: what the executor shows and the time come in. The executor's word counts only
// against itself here: one that lies about its progress still has to give its turn back (turn.watchdog).
#ifndef VGPU_MEDIATOR_WATCH_WORK_H
#define VGPU_MEDIATOR_WATCH_WORK_H

#include <stdbool.h>
#include <stdint.h>

#define WORK_NEVER UINT64_MAX

struct work_watch {
	bool runs;	   // at the last look something was in flight
	uint64_t progress; // the executor's counter at that look
	uint64_t since_ns; // the look from which on it has not moved
};

// Takes in what the executor shows now.
void work_look(struct work_watch *w, bool in_flight, uint64_t progress, uint64_t now_ns);

// Whether it has stood still for limit_ns (0: there is no limit) at the last look.
bool work_hangs(const struct work_watch *w, uint64_t limit_ns, uint64_t now_ns);

// How often to look for a limit to be found out at most an eighth late; WORK_NEVER: no limit.
uint64_t work_interval_ns(uint64_t limit_ns);

#endif
