// SPDX-License-Identifier: Apache-2.0
/*
 * The table of texture and surface objects; see the header. A value is a place and a generation, so that one
 * that is gone is not taken for another. Executor process; changes on the loop thread, look-ups on any.
 */
#include "executor/backends/cpu/ptx/ptx_texture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/limits.h"

#define PLACES (VGPU_MAX_TEXTURES + VGPU_MAX_SURFACES)

struct place {
	struct ptx_texture *_Atomic texture; // NULL: free
	_Atomic uint32_t generation;
};

static struct place places[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // of changes
static uint32_t next;					 // where the search for a free place begins

static uint64_t value_of(uint32_t place, uint32_t generation)
{
	return (uint64_t)generation << 32 | (place + 1);
}

static struct place *place_of(uint64_t object)
{
	uint32_t place = (uint32_t)object;
	struct place *p;

	if (!place || place > PLACES)
		return NULL;
	p = &places[place - 1];
	return atomic_load_explicit(&p->generation, memory_order_acquire) == object >> 32 ? p : NULL;
}

uint64_t ptx_texture_add(const struct ptx_texture *t)
{
	struct ptx_texture *copy = malloc(sizeof(*copy));
	uint64_t object = 0;

	if (!copy)
		return 0;
	*copy = *t;
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < PLACES && !object; i++) {
		struct place *p = &places[next];

		if (!atomic_load_explicit(&p->texture, memory_order_relaxed)) {
			uint32_t generation = atomic_load_explicit(&p->generation, memory_order_relaxed) + 1;

			atomic_store_explicit(&p->generation, generation, memory_order_relaxed);
			atomic_store_explicit(&p->texture, copy, memory_order_release);
			object = value_of(next, generation);
		}
		next = (next + 1) % PLACES;
	}
	pthread_mutex_unlock(&lock);
	if (!object)
		free(copy);
	return object;
}

void ptx_texture_remove(uint64_t object)
{
	struct place *p = place_of(object);

	if (!p)
		return;
	pthread_mutex_lock(&lock);
	free(atomic_exchange_explicit(&p->texture, NULL, memory_order_relaxed));
	pthread_mutex_unlock(&lock);
}

const struct ptx_texture *ptx_texture_find(uint64_t object, bool is_surface)
{
	const struct place *p = place_of(object);
	const struct ptx_texture *t = p ? atomic_load_explicit(&p->texture, memory_order_acquire) : NULL;

	return t && t->is_surface == is_surface ? t : NULL;
}
