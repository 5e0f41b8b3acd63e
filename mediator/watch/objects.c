// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/watch/objects.h"

// Below that no program gets through its start.
#define LEAST 16u

void objects_limit(const struct settings *s, uint32_t per_10000, struct vgpu_tenant_page *page)
{
	const uint64_t limits[VGPU_OBJECT_LIMITS] = {
		[VGPU_OBJECTS_STREAMS] = s->limits_streams,   [VGPU_OBJECTS_EVENTS] = s->limits_events,
		[VGPU_OBJECTS_MODULES] = s->limits_modules,   [VGPU_OBJECTS_FUNCTIONS] = s->limits_functions,
		[VGPU_OBJECTS_GRAPHS] = s->limits_graphs,     [VGPU_OBJECTS_ARRAYS] = s->limits_arrays,
		[VGPU_OBJECTS_MIPMAPS] = s->limits_mipmaps,   [VGPU_OBJECTS_TEXTURES] = s->limits_textures,
		[VGPU_OBJECTS_SURFACES] = s->limits_surfaces, [VGPU_OBJECTS_PHYSICAL] = s->limits_physical,
	};

	for (unsigned i = 0; i < VGPU_OBJECT_LIMITS; i++) {
		uint64_t limit = limits[i] * per_10000 / 10000;

		atomic_store(&page->objects[i], limit < LEAST ? LEAST : (uint32_t)limit);
	}
}
