// SPDX-License-Identifier: Apache-2.0
// Arrays and textures of the cpu backend: what cpu_array.c, cpu_texture.c and cpu_work.c share, and their
// operations of backend.h.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_ARRAY_H
#define VGPU_EXECUTOR_BACKENDS_CPU_ARRAY_H

#include "executor/backends/cpu/cpu_backend.h"
#include "protocol/cuda/array_shape.h"

struct backend_array {
	struct array_shape shape;
	uint64_t address;		// of the first level
	LIST_ENTRY(backend_array) next; // part of a whole, which owns the memory
	LIST_HEAD(, backend_array) parts;
};

// One level as it lies in memory: rows and slices without gaps. Extents in elements, 0 as in the shape.
struct cpu_plane {
	uint64_t address;
	struct array_box box;
	uint32_t width, height, depth;
};
struct cpu_plane cpu_array_plane(const struct backend_array *a, uint32_t level);

// Where a copy's side begins in the array's memory, and its steps.
void cpu_array_side(const struct backend_array *a, const uint64_t at[3], uint64_t *ret_address,
		    uint64_t *ret_pitch, uint64_t *ret_slice);

// Whether the device has arrays of that size.
bool cpu_array_fits(const struct array_shape *s);

int cpu_array_size(struct backend *b, const struct array_shape *s, uint64_t *ret);
int cpu_array_create(struct backend *b, const struct array_shape *s, struct backend_array **ret);
void cpu_array_destroy(struct backend *b, struct backend_array *a);
int cpu_array_part(struct backend *b, struct backend_array *a, uint32_t index, struct backend_array **ret,
		   struct array_shape *ret_shape);
int cpu_texture_create(struct backend *b, const struct record_texture_create *r, struct backend_array *a,
		       uint64_t *ret_object);
int cpu_surface_create(struct backend *b, struct backend_array *a, uint64_t *ret_object);
void cpu_object_destroy(struct backend *b, uint64_t object); // of both
int cpu_texture_linear_max(struct backend *b, uint32_t format, uint32_t channels, uint64_t *ret_elements);

#endif
