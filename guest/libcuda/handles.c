// SPDX-License-Identifier: Apache-2.0
// The tables of the kinds of objects that CUDA programs hold handles of. Runs in the guest program.
#include "guest/libcuda/handles.h"

#include "common/limits.h"
#include "guest/libcuda/condition.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/objects.h"
#include "guest/libcuda/pool.h"

#define TABLE(name, limit) static _Atomic(char *) name##_chunks[VGPU_OBJECT_CHUNKS(limit)]

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

#define KIND(kind, chunks, limit, bytes) [kind] = { chunks, limit, bytes, kind, PTHREAD_MUTEX_INITIALIZER }

struct vgpu_objects vc_tables[VC_KINDS] = {
	KIND(VC_STREAM, stream_chunks, VGPU_MAX_STREAMS, sizeof(struct vc_stream)),
	KIND(VC_EVENT, event_chunks, VGPU_MAX_EVENTS, sizeof(struct vc_event)),
	KIND(VC_MODULE, module_chunks, VGPU_MAX_MODULES, sizeof(struct vc_module)),
	KIND(VC_FUNCTION, function_chunks, VGPU_MAX_FUNCTIONS, sizeof(struct vc_function)),
	KIND(VC_BLOB, blob_chunks, VGPU_MAX_BLOBS, sizeof(struct vgpu_object)),
	KIND(VC_CONTEXT, context_chunks, MAX_CONTEXTS, sizeof(struct vc_context)),
	KIND(VC_LIBRARY, library_chunks, MAX_LIBRARIES, sizeof(struct vc_library)),
	KIND(VC_KERNEL, kernel_chunks, MAX_KERNELS, sizeof(struct vc_kernel)),
	KIND(VC_LINK, link_chunks, MAX_LINKS, sizeof(struct vc_link)),
	KIND(VC_GEXEC, gexec_chunks, VGPU_MAX_GRAPHS, sizeof(struct vc_gexec)),
	KIND(VC_ARRAY, array_chunks, VGPU_MAX_ARRAYS, sizeof(struct vc_array)),
	KIND(VC_MIPMAP, mipmap_chunks, VGPU_MAX_MIPMAPS, sizeof(struct vc_mipmap)),
	KIND(VC_TEXTURE, texture_chunks, VGPU_MAX_TEXTURES, sizeof(struct vc_texture)),
	KIND(VC_SURFACE, surface_chunks, VGPU_MAX_SURFACES, sizeof(struct vc_surface)),
	KIND(VC_GRAPH, graph_chunks, MAX_GRAPHS, sizeof(struct vc_graph)),
	KIND(VC_GNODE, gnode_chunks, MAX_NODES, sizeof(struct vc_gnode)),
	KIND(VC_POOL, pool_chunks, MAX_POOLS, sizeof(struct vc_pool)),
	KIND(VC_PHYSICAL, physical_chunks, VGPU_MAX_PHYSICAL, sizeof(struct vc_physical)),
	KIND(VC_CONDITIONS, conditions_chunks, VGPU_MAX_CONDITION_SETS, sizeof(struct vc_conditions)),
	KIND(VC_USER_OBJECT, user_object_chunks, MAX_USERS, sizeof(struct vc_user_object)),
};

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
