// SPDX-License-Identifier: Apache-2.0
// Numbers in hostile bytes: little-endian, perhaps not aligned, and never read before inside() said that they
// are there.
#ifndef VGPU_IMAGE_BYTES_H
#define VGPU_IMAGE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether n bytes at that place are within so many.
static inline bool inside(uint64_t bytes, uint64_t at, uint64_t n)
{
	return at <= bytes && n <= bytes - at;
}

static inline uint64_t read_le(const unsigned char *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

#endif
