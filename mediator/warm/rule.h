// SPDX-License-Identifier: Apache-2.0
// When executors are started ahead, and when one that waits is given up: pure, time is a parameter. Used by
// mediator/warm/pool.c and by tests/unit/mediator/test_warm.c.
#ifndef VGPU_MEDIATOR_WARM_RULE_H
#define VGPU_MEDIATOR_WARM_RULE_H

#include <stdbool.h>
#include <stdint.h>

#define WARM_NEVER UINT64_MAX
// Failures in a row make the pause twice as long each, up to this.
#define WARM_LONGEST_PAUSE_NS 60000000000ull

struct warm_rule {
	unsigned count;	   // that shall wait for tenants
	uint64_t pause_ns; // between two starts, and from a tenant's arrival to the next
	uint64_t age_ns;   // one that has waited for so long is replaced; 0: never
	unsigned failures; // in a row
	uint64_t not_before_ns;
};

// What there is now.
struct warm_facts {
	unsigned starting, ready;
	uint64_t oldest_ns; // since when the oldest ready one waits
	bool short_of_memory;
};

enum warm_step {
	WARM_WAIT,
	WARM_START,  // one more
	WARM_RETIRE, // the oldest ready one
};

void warm_rule_init(struct warm_rule *r, unsigned count, uint64_t pause_ns, uint64_t age_ns, uint64_t now_ns);

// What to do now; to be asked again until it says WARM_WAIT, then at *ret_wake_ns at the latest.
enum warm_step warm_rule_step(const struct warm_rule *r, const struct warm_facts *f, uint64_t now_ns,
			      uint64_t *ret_wake_ns);

void warm_rule_started(struct warm_rule *r, uint64_t now_ns);
void warm_rule_ready(struct warm_rule *r);
void warm_rule_failed(struct warm_rule *r, uint64_t now_ns); // to start, or died while it waited
void warm_rule_taken(struct warm_rule *r, uint64_t now_ns);
// The device wants its memory: nothing is started for a while.
void warm_rule_hold(struct warm_rule *r, uint64_t until_ns);

#endif
