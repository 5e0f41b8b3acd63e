// SPDX-License-Identifier: Apache-2.0
// Numbers with units as people write them: "512M", "8 ms". Used for settings and command lines of the host's
// programs.
#ifndef VGPU_COMMON_UNITS_H
#define VGPU_COMMON_UNITS_H

#include <stddef.h>
#include <stdint.h>

struct unit {
	const char *suffix; // NULL ends a table
	uint64_t factor;
};

// Greatest first. A time needs its unit; a size without one is bytes.
extern const struct unit unit_sizes[]; // T, G, M, K (1024), none
extern const struct unit unit_times[]; // s, ms, us, ns; in ns
extern const struct unit unit_none[];

// Digits in base (8 or 10) and a suffix of the table. 0, or -EINVAL (also when it does not fit) with *ret
// untouched.
int unit_parse(const char *text, int base, const struct unit *units, uint64_t *ret);

// The number in the greatest unit that divides it.
void unit_print(char *ret, size_t n, const struct unit *units, uint64_t value);

#endif
