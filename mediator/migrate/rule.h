// SPDX-License-Identifier: Apache-2.0
// Whether a VM that was moved to another personality is as well as before: pure, time is a parameter. What it
// did is told by minute, of before the move and of after its start with the new personality. Used by
// mediator/migrate/judge.c and tests/unit/mediator/test_migrate_rule.c.
//
//   errors   at once: more than its history lets expect, and migrate.errors beyond that
//   speed    once there are enough minutes of both: the middle minute is worse than before by more than a
//            percentage, and worse than nine in ten minutes of before. One odd minute decides nothing.
#ifndef VGPU_MEDIATOR_MIGRATE_RULE_H
#define VGPU_MEDIATOR_MIGRATE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct migrate_minute {
	uint64_t gpu_ns, launches, faults;
};

// Of minutes in which the GPU was used.
struct migrate_summary {
	uint64_t minutes, launching; // launching: with launches in them
	uint64_t gpu_ns, launches, faults;
	// GPU time of a launch, in ns: of the middle minute, and what nine in ten do not exceed.
	uint64_t per_launch, per_launch_high;
	// GPU time in a minute, in hundredths of a percent: of the middle one, and what nine in ten reach.
	uint64_t held, held_low;
};

struct migrate_config {
	uint64_t minutes;      // of both before speed is judged
	uint64_t errors;       // beyond what is expected
	uint64_t slower, fall; // percent: of GPU time for a launch, of GPU time in a minute; 0: not judged
	uint64_t deadline_s;   // from the start, for enough minutes
};

struct migrate_evidence {
	struct migrate_summary before, after;
	uint64_t strikes_before, strikes_after; // and channels that did not open
	int64_t started_s;
};

enum migrate_verdict { MIGRATE_WAIT, MIGRATE_GOOD, MIGRATE_BAD, MIGRATE_UNJUDGED };
enum migrate_cause { MIGRATE_NO_CAUSE, MIGRATE_ERRORS, MIGRATE_SLOWER, MIGRATE_HELD_FALLS };

struct migrate_judgement {
	enum migrate_verdict verdict;
	enum migrate_cause cause; // of MIGRATE_BAD
	uint64_t errors, allowed; // of after
	bool compared;		  // its speed with that of before
};

// Sorts the minutes. Those without use of the GPU count for their faults only.
void migrate_summarize(struct migrate_minute *minutes, size_t n, struct migrate_summary *ret);

struct migrate_judgement migrate_judge(const struct migrate_config *c, const struct migrate_evidence *e,
				       int64_t now_s);

// Faults and strikes for an hour of use, in hundredths; 0 where there was no use.
uint64_t migrate_errors_per_hour(const struct migrate_summary *s, uint64_t strikes);

#endif
