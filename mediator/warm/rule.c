// SPDX-License-Identifier: Apache-2.0
// See the header. One start at a time: a start loads the machine, and what it finds out (no device, no
// memory) holds for the next as well.
#include "mediator/warm/rule.h"

void warm_rule_init(struct warm_rule *r, unsigned count, uint64_t pause_ns, uint64_t age_ns, uint64_t now_ns)
{
	*r = (struct warm_rule){
		.count = count, .pause_ns = pause_ns, .age_ns = age_ns, .not_before_ns = now_ns
	};
}

static void not_before(struct warm_rule *r, uint64_t ns)
{
	if (ns > r->not_before_ns)
		r->not_before_ns = ns;
}

enum warm_step warm_rule_step(const struct warm_rule *r, const struct warm_facts *f, uint64_t now_ns,
			      uint64_t *ret_wake_ns)
{
	uint64_t ages = r->age_ns && f->ready ? f->oldest_ns + r->age_ns : WARM_NEVER;
	bool old = now_ns >= ages;

	*ret_wake_ns = WARM_NEVER;
	// An old one stays until its successor is there, unless memory is short.
	if (f->ready > r->count || (old && f->short_of_memory))
		return WARM_RETIRE;
	if (f->starting)
		return WARM_WAIT;
	if (f->ready >= r->count && !old) {
		*ret_wake_ns = ages;
		return WARM_WAIT;
	}
	if (now_ns < r->not_before_ns) {
		*ret_wake_ns = r->not_before_ns;
		return WARM_WAIT;
	}
	if (f->short_of_memory) {
		*ret_wake_ns = now_ns + WARM_LONGEST_PAUSE_NS / 60;
		return WARM_WAIT;
	}
	return WARM_START;
}

void warm_rule_started(struct warm_rule *r, uint64_t now_ns)
{
	not_before(r, now_ns + r->pause_ns);
}

void warm_rule_ready(struct warm_rule *r)
{
	r->failures = 0;
}

void warm_rule_failed(struct warm_rule *r, uint64_t now_ns)
{
	uint64_t pause = r->pause_ns ? r->pause_ns : 1;

	for (unsigned i = 0; i < r->failures && pause < WARM_LONGEST_PAUSE_NS; i++)
		pause *= 2;
	r->failures++;
	not_before(r, now_ns + (pause < WARM_LONGEST_PAUSE_NS ? pause : WARM_LONGEST_PAUSE_NS));
}

void warm_rule_taken(struct warm_rule *r, uint64_t now_ns)
{
	not_before(r, now_ns + r->pause_ns);
}

void warm_rule_hold(struct warm_rule *r, uint64_t until_ns)
{
	not_before(r, until_ns);
}
