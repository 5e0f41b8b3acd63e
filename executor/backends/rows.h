// SPDX-License-Identifier: Apache-2.0
// Copies and fills done by the processor, in the shapes of backend.h: all work of the cpu backend, and what
// the cuda backend does between two pieces of host memory. Caller: a thread that may touch the memory; the
// shapes were validated by the executor. Also the extent of a shape, for whoever checks that memory is there.
#ifndef VGPU_EXECUTOR_BACKENDS_ROWS_H
#define VGPU_EXECUTOR_BACKENDS_ROWS_H

#include <string.h>

#include "executor/backends/backend.h"

// Bytes from the first to behind the last one touched. false: more than 64 bits can say. No extent is 0.
static inline bool rows_extent(uint64_t width, uint64_t height, uint64_t depth, uint64_t pitch,
			       uint64_t slice, uint64_t *ret)
{
	uint64_t rows, slices;

	return !__builtin_mul_overflow(height - 1, pitch, &rows) &&
	       !__builtin_mul_overflow(depth - 1, slice, &slices) &&
	       !__builtin_add_overflow(rows, slices, &rows) && !__builtin_add_overflow(rows, width, ret);
}

static inline void rows_copy(const struct backend_copy *c)
{
	for (uint64_t z = 0; z < c->depth; z++)
		for (uint64_t y = 0; y < c->height; y++)
			memmove((char *)(uintptr_t)c->dst + z * c->dst_slice + y * c->dst_pitch,
				(const char *)(uintptr_t)c->src + z * c->src_slice + y * c->src_pitch,
				c->width);
}

// element is 1, 2 or 4 bytes, dst and pitch multiples of it.
static inline void rows_set(const struct backend_set *s)
{
	for (uint64_t y = 0; y < s->height; y++) {
		void *row = (char *)(uintptr_t)s->dst + y * s->pitch;

		if (s->element == 1)
			memset(row, (int)(s->value & 0xff), s->width);
		else if (s->element == 2)
			for (uint64_t x = 0; x < s->width; x++)
				((uint16_t *)row)[x] = (uint16_t)s->value;
		else
			for (uint64_t x = 0; x < s->width; x++)
				((uint32_t *)row)[x] = s->value;
	}
}

static inline bool rows_set_valid(const struct backend_set *s)
{
	return (s->element == 1 || s->element == 2 || s->element == 4) && s->width && s->height &&
	       s->dst % s->element == 0 && (s->height == 1 || s->pitch % s->element == 0);
}

#endif
