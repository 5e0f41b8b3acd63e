// SPDX-License-Identifier: Apache-2.0
// Objects that a program holds handles of, for both libraries. A handle is a number
// (protocol/guest/channel.h: kind, generation, index), never a pointer, and the same on the wire. Looking one
// up takes two loads and no lock. While its table lives an object's memory is never unmapped and its header
// never cleared, so a stale handle, even one that another thread destroys this moment, is refused or meets
// the old object's bytes, but cannot crash. Thread-safe.
#ifndef VGPU_CLIENT_OBJECTS_H
#define VGPU_CLIENT_OBJECTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/guest/channel.h"

#define VGPU_OBJECT_CHUNK_SHIFT	  7
#define VGPU_OBJECT_CHUNK	  (1u << VGPU_OBJECT_CHUNK_SHIFT)
#define VGPU_OBJECT_CHUNKS(limit) (((limit) + VGPU_OBJECT_CHUNK - 1) / VGPU_OBJECT_CHUNK)

// First member of every object. What lies behind it is zero at first, later as the place's last user left it:
// makers set every field but what belongs to the place (a lock, a fence), which goes on.
struct vgpu_object {
	_Atomic uint64_t handle; // 0: free or not yet published
	uint32_t index;
	uint32_t generation;
	struct vgpu_object *next; // free list
};

// One kind's objects. Who has the table sets the first three and, to a mutex's initializer, the lock.
struct vgpu_objects {
	_Atomic(char *) *chunks; // VGPU_OBJECT_CHUNKS(limit) of them
	uint32_t limit;		 // of objects; may be lowered before the first one
	uint32_t object_bytes;
	uint8_t kind; // on the wire
	pthread_mutex_t lock;
	struct vgpu_object *first, *last; // free, oldest first
	uint32_t made;			  // indices below this exist
};

// A new object, not yet to be found under its handle (which vgpu_object_handle tells): NULL when there is no
// memory or the limit is reached.
void *vgpu_object_new(struct vgpu_objects *t);
// The same at a place that the function accepts, looking at what its last user left there.
void *vgpu_object_new_if(struct vgpu_objects *t, bool (*accepts)(const void *object, const void *arg),
			 const void *arg);
// Makes the object known under its handle.
void vgpu_object_publish(const struct vgpu_objects *t, void *object);
// The object's handle is refused from here on; its memory goes back to the table.
void vgpu_object_free(struct vgpu_objects *t, void *object);
// Takes the handle away so that only one of several threads destroys the object: 1 for the one that may.
int vgpu_object_claim(void *object, uint64_t handle);
// Calls fn for every place that an object ever had; live: only where there is one now. fn may free it.
void vgpu_object_each(struct vgpu_objects *t, int live, void (*fn)(void *object, void *arg), void *arg);
// Frees the memory of all objects; no other call may be running or follow.
void vgpu_objects_done(struct vgpu_objects *t);

static inline uint64_t vgpu_object_handle(const struct vgpu_objects *t, const void *object)
{
	const struct vgpu_object *o = object;

	return handle_make(t->kind, o->generation, o->index);
}

// The live object under this handle, or NULL.
static inline void *vgpu_object_find(const struct vgpu_objects *t, uint64_t handle)
{
	uint32_t index = handle_index(handle);
	struct vgpu_object *o;
	char *chunk;

	if (handle_kind(handle) != t->kind || index >= t->limit)
		return NULL;
	chunk = atomic_load_explicit(&t->chunks[index >> VGPU_OBJECT_CHUNK_SHIFT], memory_order_acquire);
	if (!chunk)
		return NULL;
	o = (struct vgpu_object *)(void *)(chunk +
					   (size_t)(index & (VGPU_OBJECT_CHUNK - 1)) * t->object_bytes);
	return atomic_load_explicit(&o->handle, memory_order_acquire) == handle ? o : NULL;
}

#endif
