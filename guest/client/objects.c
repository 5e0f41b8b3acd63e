// SPDX-License-Identifier: Apache-2.0
// The tables behind the handles: a lock a table for making and freeing, none for looking up. Called by
// libcuda and libvgpu; runs in the guest program.
#include "guest/client/objects.h"

#include <stdlib.h>

static struct vgpu_object *place(const struct vgpu_objects *t, uint32_t index)
{
	char *chunk =
	    atomic_load_explicit(&t->chunks[index >> VGPU_OBJECT_CHUNK_SHIFT], memory_order_acquire);

	return (struct vgpu_object *)(void *)(chunk +
					      (size_t)(index & (VGPU_OBJECT_CHUNK - 1)) * t->object_bytes);
}

// A place that was never used, under the kind's lock; NULL: no memory or no more places.
static struct vgpu_object *grow(struct vgpu_objects *t)
{
	uint32_t index = t->made;
	struct vgpu_object *o;

	if (index >= t->limit)
		return NULL;
	if (!(index & (VGPU_OBJECT_CHUNK - 1))) {
		char *chunk = calloc(VGPU_OBJECT_CHUNK, t->object_bytes);

		if (!chunk)
			return NULL;
		atomic_store_explicit(&t->chunks[index >> VGPU_OBJECT_CHUNK_SHIFT], chunk,
				      memory_order_release);
	}
	t->made++;
	o = place(t, index);
	o->index = index;
	o->generation = 0;
	return o;
}

void *vgpu_object_new(struct vgpu_objects *t)
{
	struct vgpu_object *o;

	pthread_mutex_lock(&t->lock);
	o = t->first;
	// Old places rest a while, so that a handle's number comes back late.
	if (o && (t->made >= VGPU_OBJECT_CHUNK || t->made == t->limit)) {
		t->first = o->next;
		if (!t->first)
			t->last = NULL;
	} else {
		o = grow(t);
	}
	pthread_mutex_unlock(&t->lock);
	if (!o)
		return NULL;
	if (++o->generation == 0)
		o->generation = 1;
	o->next = NULL;
	return o;
}

void *vgpu_object_new_if(struct vgpu_objects *t, bool (*accepts)(const void *object, const void *arg),
			 const void *arg)
{
	struct vgpu_object *refused = NULL, *o;

	while ((o = vgpu_object_new(t)) && !accepts(o, arg)) {
		o->next = refused;
		refused = o;
	}
	while (refused) {
		struct vgpu_object *next = refused->next;

		vgpu_object_free(t, refused);
		refused = next;
	}
	return o;
}

void vgpu_object_publish(const struct vgpu_objects *t, void *object)
{
	struct vgpu_object *o = object;

	atomic_store_explicit(&o->handle, vgpu_object_handle(t, o), memory_order_release);
}

int vgpu_object_claim(void *object, uint64_t handle)
{
	struct vgpu_object *o = object;

	return atomic_compare_exchange_strong(&o->handle, &handle, 0);
}

void vgpu_object_free(struct vgpu_objects *t, void *object)
{
	struct vgpu_object *o = object;

	atomic_store_explicit(&o->handle, 0, memory_order_release);
	pthread_mutex_lock(&t->lock);
	o->next = NULL;
	if (t->last)
		t->last->next = o;
	else
		t->first = o;
	t->last = o;
	pthread_mutex_unlock(&t->lock);
}

void vgpu_object_each(struct vgpu_objects *t, int live, void (*fn)(void *object, void *arg), void *arg)
{
	uint32_t made;

	pthread_mutex_lock(&t->lock);
	made = t->made;
	pthread_mutex_unlock(&t->lock);
	for (uint32_t i = 0; i < made; i++) {
		struct vgpu_object *o = place(t, i);

		if (!live || atomic_load_explicit(&o->handle, memory_order_acquire))
			fn(o, arg);
	}
}

void vgpu_objects_done(struct vgpu_objects *t)
{
	for (uint32_t i = 0; i < VGPU_OBJECT_CHUNKS(t->made); i++)
		free(t->chunks[i]);
}
