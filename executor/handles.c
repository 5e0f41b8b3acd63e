// SPDX-License-Identifier: Apache-2.0
// The handle table of one executor; see the header. A kind's array is reserved at its first use and touched
// page by page, so that a program with three streams pays for one page.
#include "executor/handles.h"

#include <assert.h>
#include <stdlib.h>

#include "common/limits.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/channel.h"

static const uint32_t kind_limits[HANDLE_KINDS] = {
	[HANDLE_STREAM] = VGPU_MAX_STREAMS,    [HANDLE_EVENT] = VGPU_MAX_EVENTS,
	[HANDLE_MODULE] = VGPU_MAX_MODULES,    [HANDLE_FUNCTION] = VGPU_MAX_FUNCTIONS,
	[HANDLE_BLOB] = VGPU_MAX_BLOBS,	       [HANDLE_GRAPH] = VGPU_MAX_GRAPHS,
	[HANDLE_ARRAY] = VGPU_MAX_ARRAYS,      [HANDLE_TEXTURE] = VGPU_MAX_TEXTURES,
	[HANDLE_SURFACE] = VGPU_MAX_SURFACES,  [HANDLE_MIPMAP] = VGPU_MAX_MIPMAPS,
	[HANDLE_PHYSICAL] = VGPU_MAX_PHYSICAL, [HANDLE_CONDITIONS] = VGPU_MAX_CONDITION_SETS,
};

// The tenant's own limit of a kind: its place in the tenant page, VGPU_OBJECT_LIMITS for kinds without one.
static enum vgpu_object_limit tenant_limit_of(uint8_t kind)
{
	switch (kind) {
	case HANDLE_STREAM: return VGPU_OBJECTS_STREAMS;
	case HANDLE_EVENT: return VGPU_OBJECTS_EVENTS;
	case HANDLE_MODULE: return VGPU_OBJECTS_MODULES;
	case HANDLE_FUNCTION: return VGPU_OBJECTS_FUNCTIONS;
	case HANDLE_GRAPH: return VGPU_OBJECTS_GRAPHS;
	case HANDLE_ARRAY: return VGPU_OBJECTS_ARRAYS;
	case HANDLE_MIPMAP: return VGPU_OBJECTS_MIPMAPS;
	case HANDLE_TEXTURE: return VGPU_OBJECTS_TEXTURES;
	case HANDLE_SURFACE: return VGPU_OBJECTS_SURFACES;
	case HANDLE_PHYSICAL: return VGPU_OBJECTS_PHYSICAL;
	default: return VGPU_OBJECT_LIMITS;
	}
}

void handles_tell_limits(struct executor *x)
{
	for (unsigned i = 0; i < VGPU_OBJECT_LIMITS; i++)
		atomic_store_explicit(&x->header->objects[i],
				      atomic_load_explicit(&x->tenant->objects[i], memory_order_relaxed),
				      memory_order_relaxed);
}

static bool has_room(const struct executor *x, uint8_t kind)
{
	enum vgpu_object_limit which = tenant_limit_of(kind);
	uint32_t limit = 0;

	if (which != VGPU_OBJECT_LIMITS)
		limit = atomic_load_explicit(&x->tenant->objects[which], memory_order_relaxed);
	return !limit || x->handles.live[kind] < limit;
}

void handles_done(struct handles *h)
{
	for (unsigned k = 0; k < HANDLE_KINDS; k++) {
		assert(!h->live[k]);
		free(h->entries[k]);
		h->entries[k] = NULL;
		h->used[k] = 0;
	}
}

void *handle_get(struct executor *x, uint8_t kind, uint64_t handle)
{
	const struct handles *h = &x->handles;
	uint32_t index = handle_index(handle);
	const struct handle_entry *e;

	if (handle_kind(handle) != kind || index >= h->used[kind])
		return NULL;
	e = &h->entries[kind][index];
	return e->generation == handle_generation(handle) ? e->object : NULL;
}

int32_t handle_check_new(struct executor *x, uint8_t kind, uint64_t handle)
{
	struct handles *h = &x->handles;
	uint32_t index = handle_index(handle), generation = handle_generation(handle);

	if (handle_kind(handle) != kind || index >= kind_limits[kind] || !generation)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!has_room(x, kind))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!h->entries[kind]) {
		h->entries[kind] = calloc(kind_limits[kind], sizeof(struct handle_entry));
		if (!h->entries[kind])
			return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (h->entries[kind][index].object || h->entries[kind][index].generation == generation)
		return CUDA_ERROR_INVALID_HANDLE;
	return CUDA_SUCCESS;
}

void handle_enter(struct executor *x, uint8_t kind, uint64_t handle, void *object)
{
	struct handles *h = &x->handles;
	uint32_t index = handle_index(handle);
	struct handle_entry *e = &h->entries[kind][index];

	assert(object && !e->object);
	e->object = object;
	e->object->handle = handle;
	e->generation = handle_generation(handle);
	if (index >= h->used[kind])
		h->used[kind] = index + 1;
	h->live[kind]++;
}

void handle_remove(struct executor *x, uint64_t handle)
{
	struct handles *h = &x->handles;
	uint8_t kind = handle_kind(handle);
	struct handle_entry *e = &h->entries[kind][handle_index(handle)];

	assert(e->object && e->generation == handle_generation(handle));
	e->object = NULL;
	h->live[kind]--;
}

void handle_each(struct executor *x, uint8_t kind, void (*visit)(struct executor *x, void *object))
{
	for (uint32_t i = 0; i < x->handles.used[kind]; i++)
		if (x->handles.entries[kind][i].object)
			visit(x, x->handles.entries[kind][i].object);
}
