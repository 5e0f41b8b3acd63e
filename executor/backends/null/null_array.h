// SPDX-License-Identifier: Apache-2.0
// Arrays, textures and surfaces of the null backend: accepted where its device would, without contents. The
// functions are operations of backend.h.
#ifndef VGPU_EXECUTOR_BACKENDS_NULL_ARRAY_H
#define VGPU_EXECUTOR_BACKENDS_NULL_ARRAY_H

#include "executor/backends/backend.h"

int null_array_size(struct backend *b, const struct array_shape *s, uint64_t *ret);
int null_array_create(struct backend *b, const struct array_shape *s, struct backend_array **ret);
void null_array_destroy(struct backend *b, struct backend_array *a);
int null_array_part(struct backend *b, struct backend_array *a, uint32_t index, struct backend_array **ret,
		    struct array_shape *ret_shape);
int null_texture_create(struct backend *b, const struct record_texture_create *r, struct backend_array *a,
			uint64_t *ret_object);
int null_surface_create(struct backend *b, struct backend_array *a, uint64_t *ret_object);
void null_object_destroy(struct backend *b, uint64_t object);
int null_texture_linear_max(struct backend *b, uint32_t format, uint32_t channels, uint64_t *ret_elements);

#endif
