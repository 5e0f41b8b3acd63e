// SPDX-License-Identifier: Apache-2.0
// Which share of about the last second a growing count of nanoseconds stands for: the utilisation of a tenant
// or of one executor. Pure; whoever owns one notes the count now and then (usage_note) while somebody wants
// to know.
#ifndef VGPU_MEDIATOR_DEVICE_USAGE_H
#define VGPU_MEDIATOR_DEVICE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#define USAGE_SAMPLES	 10
#define USAGE_SPACING_NS 150000000ull  // closer notes are not kept
#define USAGE_LEAST_NS	 100000000ull  // a shorter window says nothing
#define USAGE_WANTED_NS	 1000000000ull // the window's length when there are notes enough
#define USAGE_LONGEST_NS 1500000000ull
#define USAGE_WHOLE	 10000u // all of the time

struct usage {
	struct usage_sample {
		uint64_t at_ns, busy_ns;
	} samples[USAGE_SAMPLES];
	uint64_t count; // of samples ever kept
};

void usage_note(struct usage *u, uint64_t now_ns, uint64_t busy_ns);

// The share of USAGE_WHOLE; false: there is no note between USAGE_LEAST_NS and USAGE_LONGEST_NS old.
bool usage_share(const struct usage *u, uint64_t now_ns, uint64_t busy_ns, uint32_t *ret);

#endif
