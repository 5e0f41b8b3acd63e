// SPDX-License-Identifier: Apache-2.0
// Small things that the handlers of GPU work share.
#ifndef VGPU_EXECUTOR_WORK_H
#define VGPU_EXECUTOR_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "executor/objects.h"
#include "executor/track.h"

struct executor;

// A record's stream field: NULL is the legacy default stream.
static inline struct backend_stream *work_stream(const struct stream *s)
{
	return s ? s->backend : NULL;
}

static inline uint32_t work_lane(const struct stream *s)
{
	return s ? s->lane : TRACK_LEGACY;
}

// copy.c: the bytes between the first and the last one that a box touches; false: it is empty, does not fit
// 64 bits, or its rows or slices overlap.
bool box_span(uint64_t width, uint64_t height, uint64_t depth, uint64_t pitch, uint64_t slice, uint64_t *ret);

// Freeing objects of a kind with their handle (visitors of handle_each).
void stream_free(struct executor *x, void *object);
void event_free(struct executor *x, void *object);
void module_free(struct executor *x, void *object);
void blob_free(struct executor *x, void *object);

#endif
