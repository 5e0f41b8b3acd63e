// SPDX-License-Identifier: Apache-2.0
// How long to wait before asking once more. Time and chance are the caller's.
#ifndef VGPU_ADMIN_CLOUDSTACK_API_BACKOFF_H
#define VGPU_ADMIN_CLOUDSTACK_API_BACKOFF_H

#include <stdint.h>

// The wait after the attempt (from 0 on): first_ms, twice that, ... up to most_ms, of which between half and
// all by chance, so that many who were refused together do not come back together.
static inline unsigned api_backoff_ms(unsigned first_ms, unsigned most_ms, unsigned attempt, uint32_t chance)
{
	uint64_t whole = (uint64_t)first_ms << (attempt < 32 ? attempt : 32);
	uint64_t half;

	if (whole > most_ms)
		whole = most_ms;
	half = whole / 2;
	return (unsigned)(whole - half + ((half + 1) * chance >> 32));
}

#endif
