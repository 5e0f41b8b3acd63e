// SPDX-License-Identifier: Apache-2.0
// Objects that a program holds handles of. A handle is a number (protocol/guest/channel.h: kind, generation,
// index), never a pointer; streams, events, modules, functions, executable graphs and arrays have the same
// handle on the wire. Looking one up takes two loads and no lock. An object's memory is never unmapped and
// its header never cleared, so a stale handle, even one that another thread destroys this moment, is refused
// or meets the old object's bytes, but cannot crash. Thread-safe.
#ifndef VGPU_LIBCUDA_HANDLES_H
#define VGPU_LIBCUDA_HANDLES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/guest/channel.h"

enum vc_kind {
	VC_STREAM = 1,
	VC_EVENT = 2,
	VC_MODULE = 3,
	VC_FUNCTION = 4,
	VC_BLOB = 5,
	VC_GEXEC = 6,
	VC_ARRAY = 7,
	VC_TEXTURE = 8,
	VC_SURFACE = 9,
	VC_MIPMAP = 10,
	VC_PHYSICAL = 13,
	VC_CONDITIONS = 14,
	VC_CONTEXT = 16, // the kinds from here on exist in the guest only
	VC_LIBRARY = 17,
	VC_KERNEL = 18,
	VC_LINK = 19,
	VC_GRAPH = 20,
	VC_GNODE = 21,
	VC_USER_OBJECT = 22,
	VC_POOL = 24,
	VC_KINDS = 25,
};

#define VC_CHUNK_SHIFT 7
#define VC_CHUNK       (1u << VC_CHUNK_SHIFT)

// First member of every object. What lies behind it is zero at first, later as the place's last user left it:
// makers set every field but the mutex and the fence, which go on.
struct vc_object {
	_Atomic uint64_t handle; // 0: free or not yet published
	uint32_t index;
	uint32_t generation;
	struct vc_object *next; // free list
};

struct vc_table {
	_Atomic(char *) *chunks;
	uint32_t limit; // of objects
	uint32_t object_bytes;
};

extern struct vc_table vc_tables[VC_KINDS];

// Takes over what the host allows this program, where that is less than there are places. Once, before the
// first object.
void vc_objects_limit(void);

// A new object of the kind, not yet to be found under its handle (which vc_object_handle tells): NULL when
// there is no memory or the kind's limit is reached.
void *vc_object_new(enum vc_kind kind);

// Makes the object known under its handle.
void vc_object_publish(enum vc_kind kind, void *object);

// The object's handle is refused from here on; its memory goes back to the table.
void vc_object_free(enum vc_kind kind, void *object);

// Takes the handle away so that only one of several threads destroys the object: 1 for the one that may.
int vc_object_claim(void *object, uint64_t handle);

// Calls fn for every published object of the kind. fn may free the object.
void vc_object_each(enum vc_kind kind, void (*fn)(void *object, void *arg), void *arg);

// Calls fn for every place that an object of the kind ever had, those of destroyed ones with what they left
// there too.
void vc_object_each_place(enum vc_kind kind, void (*fn)(void *object, void *arg), void *arg);

static inline uint64_t vc_object_handle(enum vc_kind kind, const void *object)
{
	const struct vc_object *o = object;

	return handle_make((uint8_t)kind, o->generation, o->index);
}

// The live object of the kind under this handle, or NULL.
static inline void *vc_object_find(enum vc_kind kind, uint64_t handle)
{
	uint32_t index = handle_index(handle);
	const struct vc_table *table = &vc_tables[kind];
	struct vc_object *o;
	char *chunk;

	if (handle_kind(handle) != kind || index >= table->limit)
		return NULL;
	chunk = atomic_load_explicit(&table->chunks[index >> VC_CHUNK_SHIFT], memory_order_acquire);
	if (!chunk)
		return NULL;
	o = (struct vc_object *)(void *)(chunk + (size_t)(index & (VC_CHUNK - 1)) * table->object_bytes);
	return atomic_load_explicit(&o->handle, memory_order_acquire) == handle ? o : NULL;
}

#endif
