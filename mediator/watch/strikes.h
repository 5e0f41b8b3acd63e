// SPDX-License-Identifier: Apache-2.0
// What a tenant has done wrong lately, and whether it is kept out for it. Pure: time comes in as now_ns. A
// book is plain data without pointers, so that a store can keep it as it is; its times are CLOCK_MONOTONIC.
//
//   strike, strike, ... rules.most of them within rules.within_ns  ──>  quarantine
//   quarantine ends after rules.quarantine_ns (0: it does not by itself), or when an operator releases;
//   either way the tenant begins with a clean sheet, the counts by cause stay.
#ifndef VGPU_MEDIATOR_WATCH_STRIKES_H
#define VGPU_MEDIATOR_WATCH_STRIKES_H

#include <stdbool.h>
#include <stdint.h>

#define STRIKES_KEPT	64u	   // the most that a rule can ask for
#define STRIKES_FOREVER UINT64_MAX // until an operator releases

enum strike_cause {
	STRIKE_HANG,	 // GPU work took longer than it may; the executor was killed
	STRIKE_STREAM,	 // a channel carried something malformed
	STRIKE_SANDBOX,	 // an executor made a refused system call or broke the host link: it was taken over
	STRIKE_CRASH,	 // an executor died of a signal of its own (SIGSEGV, SIGABRT, ...)
	STRIKE_MEMORY,	 // a second full of refused allocations
	STRIKE_OPERATOR, // not a strike: an operator ordered the quarantine
	STRIKE_CAUSES,
};

struct strike_rules {
	uint32_t most;		// strikes within within_ns that bring quarantine; 0: strikes are only counted
	uint64_t within_ns;	// ... at most
	uint64_t quarantine_ns; // its length; 0: until released
};

struct strike {
	uint64_t at_ns;
	uint32_t cause; // enum strike_cause
	uint32_t reserved;
};

struct strike_book {
	uint64_t counts[STRIKE_CAUSES]; // ever; only grow
	struct strike recent[STRIKES_KEPT];
	uint32_t n, newest; // of recent
	uint32_t quarantine_cause;
	bool quarantined;
	uint64_t quarantined_ns; // when it began
	uint64_t until_ns;	 // STRIKES_FOREVER: until released
};

const char *strike_cause_text(enum strike_cause cause);

// Notes a strike. True: with this one quarantine begins (it was not in force).
bool strikes_add(struct strike_book *b, const struct strike_rules *rules, enum strike_cause cause,
		 uint64_t now_ns);

// How many recent ones count towards quarantine now.
uint32_t strikes_counting(const struct strike_book *b, const struct strike_rules *rules, uint64_t now_ns);

// The strike before which n newer ones are remembered; n is below strikes_counting.
const struct strike *strikes_recent(const struct strike_book *b, uint32_t n);

// Whether the tenant is kept out now, and for how much longer (STRIKES_FOREVER: until released).
bool strikes_keep_out(const struct strike_book *b, uint64_t now_ns, uint64_t *ret_left_ns);

// Ends a quarantine whose time is over. True: one ended just now.
bool strikes_expire(struct strike_book *b, uint64_t now_ns);

// By hand: for_ns 0: until released. Changes the length of one that is in force.
void strikes_quarantine(struct strike_book *b, uint64_t for_ns, uint64_t now_ns);
// True: there was a quarantine to end. The recent strikes are forgotten.
bool strikes_release(struct strike_book *b);

#endif
