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

// copy.c: whether memory of that space (enum memory_space) is there and may be used so.
bool space_contains(const struct executor *x, uint32_t space, uint64_t address, uint64_t bytes,
		    enum vm_access access);

// words.c: whether one of these operations (the tail of a `words` record) is a wait.
bool words_wait(const uint8_t *tail, uint32_t bytes);

// Freeing objects of a kind with their handle (visitors of handle_each).
void stream_free(struct executor *x, void *object);
void event_free(struct executor *x, void *object);
void module_free(struct executor *x, void *object);
void blob_free(struct executor *x, void *object);
void physical_free(struct executor *x, void *object);
void array_free(struct executor *x, void *object); // with its parts; a part alone only ends its name
void mipmap_free(struct executor *x, void *object);
void texture_free(struct executor *x, void *object);
void surface_free(struct executor *x, void *object);

#endif
