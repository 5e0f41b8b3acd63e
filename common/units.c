// SPDX-License-Identifier: Apache-2.0
// Numbers with units; see the header. Runs in the mediator, vgpu-run and vgpu-demo while they read their
// options.
#include "common/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"

const struct unit unit_sizes[] = {
	{ "T", VGPU_TIB(1) }, { "G", VGPU_GIB(1) }, { "M", VGPU_MIB(1) }, { "K", VGPU_KIB(1) }, { "", 1 },
	{ NULL, 0 },
};

const struct unit unit_times[] = {
	{ "s", NSEC_PER_SEC }, { "ms", NSEC_PER_MSEC }, { "us", NSEC_PER_USEC }, { "ns", 1 }, { NULL, 0 },
};

const struct unit unit_none[] = { { "", 1 }, { NULL, 0 } };

int unit_parse(const char *text, int base, const struct unit *units, uint64_t *ret)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, base);
	if (errno)
		return -EINVAL;
	while (*end == ' ')
		end++;
	for (; units->suffix; units++) {
		uint64_t value;

		if (strcmp(end, units->suffix) != 0)
			continue;
		if (__builtin_mul_overflow((uint64_t)n, units->factor, &value))
			return -EINVAL;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

void unit_print(char *ret, size_t n, const struct unit *units, uint64_t value)
{
	while (units[1].suffix && (!value || value % units->factor))
		units++;
	snprintf(ret, n, "%" PRIu64 "%s", value / units->factor, units->suffix);
}
