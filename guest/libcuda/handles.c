// SPDX-License-Identifier: Apache-2.0
// The tables behind the handles. Runs in the guest program; a lock a kind for making and freeing, none for
// looking up.
#include "guest/libcuda/handles.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/libcuda/condition.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/objects.h"
#include "guest/libcuda/pool.h"

#define CHUNKS(limit)	   (((limit) + VC_CHUNK - 1) / VC_CHUNK)
#define TABLE(name, limit) static _Atomic(char *) name##_chunks[CHUNKS(limit)]

#define MAX_CONTEXTS  4096
#define MAX_LIBRARIES VGPU_MAX_MODULES
#define MAX_KERNELS   VGPU_MAX_FUNCTIONS
#define MAX_LINKS     256
#define MAX_GRAPHS    65536
#define MAX_NODES     (1u << 22) // of all graphs, clones included
#define MAX_USERS     65536
#define MAX_POOLS     4096

TABLE(stream, VGPU_MAX_STREAMS);
TABLE(event, VGPU_MAX_EVENTS);
TABLE(module, VGPU_MAX_MODULES);
TABLE(function, VGPU_MAX_FUNCTIONS);
TABLE(blob, VGPU_MAX_BLOBS);
TABLE(context, MAX_CONTEXTS);
TABLE(library, MAX_LIBRARIES);
TABLE(kernel, MAX_KERNELS);
TABLE(link, MAX_LINKS);
TABLE(gexec, VGPU_MAX_GRAPHS);
TABLE(array, VGPU_MAX_ARRAYS);
TABLE(mipmap, VGPU_MAX_MIPMAPS);
TABLE(texture, VGPU_MAX_TEXTURES);
TABLE(surface, VGPU_MAX_SURFACES);
TABLE(graph, MAX_GRAPHS);
TABLE(gnode, MAX_NODES);
TABLE(user_object, MAX_USERS);
TABLE(physical, VGPU_MAX_PHYSICAL);
TABLE(conditions, VGPU_MAX_CONDITION_SETS);
TABLE(pool, MAX_POOLS);

struct vc_table vc_tables[VC_KINDS] = {
	[VC_STREAM] = { stream_chunks, VGPU_MAX_STREAMS, sizeof(struct vc_stream) },
	[VC_EVENT] = { event_chunks, VGPU_MAX_EVENTS, sizeof(struct vc_event) },
	[VC_MODULE] = { module_chunks, VGPU_MAX_MODULES, sizeof(struct vc_module) },
	[VC_FUNCTION] = { function_chunks, VGPU_MAX_FUNCTIONS, sizeof(struct vc_function) },
	[VC_BLOB] = { blob_chunks, VGPU_MAX_BLOBS, sizeof(struct vc_object) },
	[VC_CONTEXT] = { context_chunks, MAX_CONTEXTS, sizeof(struct vc_context) },
	[VC_LIBRARY] = { library_chunks, MAX_LIBRARIES, sizeof(struct vc_library) },
	[VC_KERNEL] = { kernel_chunks, MAX_KERNELS, sizeof(struct vc_kernel) },
	[VC_LINK] = { link_chunks, MAX_LINKS, sizeof(struct vc_link) },
	[VC_GEXEC] = { gexec_chunks, VGPU_MAX_GRAPHS, sizeof(struct vc_gexec) },
	[VC_ARRAY] = { array_chunks, VGPU_MAX_ARRAYS, sizeof(struct vc_array) },
	[VC_MIPMAP] = { mipmap_chunks, VGPU_MAX_MIPMAPS, sizeof(struct vc_mipmap) },
	[VC_TEXTURE] = { texture_chunks, VGPU_MAX_TEXTURES, sizeof(struct vc_texture) },
	[VC_SURFACE] = { surface_chunks, VGPU_MAX_SURFACES, sizeof(struct vc_surface) },
	[VC_GRAPH] = { graph_chunks, MAX_GRAPHS, sizeof(struct vc_graph) },
	[VC_GNODE] = { gnode_chunks, MAX_NODES, sizeof(struct vc_gnode) },
	[VC_POOL] = { pool_chunks, MAX_POOLS, sizeof(struct vc_pool) },
	[VC_PHYSICAL] = { physical_chunks, VGPU_MAX_PHYSICAL, sizeof(struct vc_physical) },
	[VC_CONDITIONS] = { conditions_chunks, VGPU_MAX_CONDITION_SETS, sizeof(struct vc_conditions) },
	[VC_USER_OBJECT] = { user_object_chunks, MAX_USERS, sizeof(struct vc_user_object) },
};

static struct {
	pthread_mutex_t lock;
	struct vc_object *first, *last; // free, oldest first
	uint32_t made;			// indices below this exist
} makers[VC_KINDS] = { [0 ... VC_KINDS - 1] = { PTHREAD_MUTEX_INITIALIZER, NULL, NULL, 0 } };

void vc_objects_limit(void)
{
	static const enum vc_kind kinds[VGPU_OBJECT_LIMITS] = {
		[VGPU_OBJECTS_STREAMS] = VC_STREAM,   [VGPU_OBJECTS_EVENTS] = VC_EVENT,
		[VGPU_OBJECTS_MODULES] = VC_MODULE,   [VGPU_OBJECTS_FUNCTIONS] = VC_FUNCTION,
		[VGPU_OBJECTS_GRAPHS] = VC_GEXEC,     [VGPU_OBJECTS_ARRAYS] = VC_ARRAY,
		[VGPU_OBJECTS_MIPMAPS] = VC_MIPMAP,   [VGPU_OBJECTS_TEXTURES] = VC_TEXTURE,
		[VGPU_OBJECTS_SURFACES] = VC_SURFACE, [VGPU_OBJECTS_PHYSICAL] = VC_PHYSICAL,
	};

	for (unsigned i = 0; i < VGPU_OBJECT_LIMITS; i++) {
		uint32_t limit = vgpu_client_object_limit(vc_client, i);

		if (limit && limit < vc_tables[kinds[i]].limit)
			vc_tables[kinds[i]].limit = limit;
	}
}

static struct vc_object *place(const struct vc_table *table, uint32_t index)
{
	char *chunk = atomic_load_explicit(&table->chunks[index >> VC_CHUNK_SHIFT], memory_order_acquire);

	return (struct vc_object *)(void *)(chunk + (size_t)(index & (VC_CHUNK - 1)) * table->object_bytes);
}

// A place that was never used, under the kind's lock; NULL: no memory or no more places.
static struct vc_object *grow(enum vc_kind kind)
{
	struct vc_table *table = &vc_tables[kind];
	uint32_t index = makers[kind].made;
	struct vc_object *o;

	if (index >= table->limit)
		return NULL;
	if (!(index & (VC_CHUNK - 1))) {
		char *chunk = calloc(VC_CHUNK, table->object_bytes);

		if (!chunk)
			return NULL;
		atomic_store_explicit(&table->chunks[index >> VC_CHUNK_SHIFT], chunk, memory_order_release);
	}
	makers[kind].made++;
	o = place(table, index);
	o->index = index;
	o->generation = 0;
	return o;
}

void *vc_object_new(enum vc_kind kind)
{
	struct vc_object *o;

	pthread_mutex_lock(&makers[kind].lock);
	o = makers[kind].first;
	// Old places rest a while, so that a handle's number comes back late.
	if (o && (makers[kind].made >= VC_CHUNK || makers[kind].made == vc_tables[kind].limit)) {
		makers[kind].first = o->next;
		if (!makers[kind].first)
			makers[kind].last = NULL;
	} else {
		o = grow(kind);
	}
	pthread_mutex_unlock(&makers[kind].lock);
	if (!o)
		return NULL;
	if (++o->generation == 0)
		o->generation = 1;
	o->next = NULL;
	return o;
}

void vc_object_publish(enum vc_kind kind, void *object)
{
	struct vc_object *o = object;

	atomic_store_explicit(&o->handle, vc_object_handle(kind, o), memory_order_release);
}

int vc_object_claim(void *object, uint64_t handle)
{
	struct vc_object *o = object;

	return atomic_compare_exchange_strong(&o->handle, &handle, 0);
}

void vc_object_free(enum vc_kind kind, void *object)
{
	struct vc_object *o = object;

	atomic_store_explicit(&o->handle, 0, memory_order_release);
	pthread_mutex_lock(&makers[kind].lock);
	o->next = NULL;
	if (makers[kind].last)
		makers[kind].last->next = o;
	else
		makers[kind].first = o;
	makers[kind].last = o;
	pthread_mutex_unlock(&makers[kind].lock);
}

static void each_place(enum vc_kind kind, int live, void (*fn)(void *object, void *arg), void *arg)
{
	uint32_t made;

	pthread_mutex_lock(&makers[kind].lock);
	made = makers[kind].made;
	pthread_mutex_unlock(&makers[kind].lock);
	for (uint32_t i = 0; i < made; i++) {
		struct vc_object *o = place(&vc_tables[kind], i);

		if (!live || atomic_load_explicit(&o->handle, memory_order_acquire))
			fn(o, arg);
	}
}

void vc_object_each(enum vc_kind kind, void (*fn)(void *object, void *arg), void *arg)
{
	each_place(kind, 1, fn, arg);
}

void vc_object_each_place(enum vc_kind kind, void (*fn)(void *object, void *arg), void *arg)
{
	each_place(kind, 0, fn, arg);
}
