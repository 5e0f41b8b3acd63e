// SPDX-License-Identifier: Apache-2.0
// The objects of CUDA programs, kind by kind (guest/client/objects.h says what handles are). Streams, events,
// modules, functions, executable graphs and arrays have the same handle on the wire. Thread-safe.
#ifndef VGPU_LIBCUDA_HANDLES_H
#define VGPU_LIBCUDA_HANDLES_H

#include "guest/client/objects.h"

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

extern struct vgpu_objects vc_tables[VC_KINDS];

// Takes over what the host allows this program, where that is less than there are places. Once, before the
// first object.
void vc_objects_limit(void);

// A new object of the kind, not yet to be found under its handle (which vc_object_handle tells): NULL when
// there is no memory or the kind's limit is reached.
static inline void *vc_object_new(enum vc_kind kind)
{
	return vgpu_object_new(&vc_tables[kind]);
}

// Makes the object known under its handle.
static inline void vc_object_publish(enum vc_kind kind, void *object)
{
	vgpu_object_publish(&vc_tables[kind], object);
}

// The object's handle is refused from here on; its memory goes back to the table.
static inline void vc_object_free(enum vc_kind kind, void *object)
{
	vgpu_object_free(&vc_tables[kind], object);
}

// Takes the handle away so that only one of several threads destroys the object: 1 for the one that may.
static inline int vc_object_claim(void *object, uint64_t handle)
{
	return vgpu_object_claim(object, handle);
}

// Calls fn for every published object of the kind. fn may free the object.
static inline void vc_object_each(enum vc_kind kind, void (*fn)(void *object, void *arg), void *arg)
{
	vgpu_object_each(&vc_tables[kind], 1, fn, arg);
}

// Calls fn for every place that an object of the kind ever had, those of destroyed ones with what they left
// there too.
static inline void vc_object_each_place(enum vc_kind kind, void (*fn)(void *object, void *arg), void *arg)
{
	vgpu_object_each(&vc_tables[kind], 0, fn, arg);
}

static inline uint64_t vc_object_handle(enum vc_kind kind, const void *object)
{
	return vgpu_object_handle(&vc_tables[kind], object);
}

// The live object of the kind under this handle, or NULL.
static inline void *vc_object_find(enum vc_kind kind, uint64_t handle)
{
	return vgpu_object_find(&vc_tables[kind], handle);
}

#endif
