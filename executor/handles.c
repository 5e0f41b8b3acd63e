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
	[HANDLE_STREAM] = VGPU_MAX_STREAMS, [HANDLE_EVENT] = VGPU_MAX_EVENTS,
	[HANDLE_MODULE] = VGPU_MAX_MODULES, [HANDLE_FUNCTION] = VGPU_MAX_FUNCTIONS,
	[HANDLE_BLOB] = VGPU_MAX_BLOBS,	    [HANDLE_GRAPH] = VGPU_MAX_GRAPHS,
};

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
