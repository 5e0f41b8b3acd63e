// SPDX-License-Identifier: Apache-2.0
// Arrays and mipmapped arrays: handlers of array_*, mipmap_*. Their memory is the backend's to place; what it
// takes is asked first and charged to the tenant's quota. Called by the generated dispatch in an executor.
#include <stdlib.h>

#include "common/limits.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/array_shape.h"
#include "protocol/cuda/cuda_abi.h"

// Memory for them would be mapped by calls that are not there (cuMemMapArrayAsync).
#define UNMAPPED (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)

// Extents whose bytes do not fit, before any backend multiplies them.
static bool shape_bounded(const struct array_shape *s)
{
	uint64_t bytes;

	return array_shape_valid(s) && array_bytes(s, &bytes) && bytes <= VGPU_MAX_ARRAY_BYTES;
}

static int32_t make(struct executor *x, const struct array_shape *s, struct array *a)
{
	uint64_t bytes = 0;
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!shape_bounded(s))
		return CUDA_ERROR_INVALID_VALUE;
	if (s->flags & UNMAPPED)
		return CUDA_ERROR_NOT_SUPPORTED;
	result = x->ops->array_size(x->backend, s, &bytes);
	if (result)
		return result;
	if (!memory_charge(&x->memory, bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = memory_is_leased(&x->memory, 0) ? x->ops->array_create(x->backend, s, &a->backend)
						 : CUDA_ERROR_OUT_OF_MEMORY;
	if (result == CUDA_ERROR_OUT_OF_MEMORY)
		memory_refuse(&x->memory, bytes);
	if (result) {
		memory_uncharge(&x->memory, bytes);
		return park_room(x, result);
	}
	a->shape = *s;
	a->charged = bytes;
	LIST_INIT(&a->parts);
	return CUDA_SUCCESS;
}

int32_t on_array_create(struct executor *x, const struct record_array_create *r, struct array **ret_array,
			struct reply_array_create *ret)
{
	struct array_shape shape = { r->width, r->height, r->depth, r->format, r->channels, r->flags, 0 };
	struct array *a = calloc(1, sizeof(*a));
	int32_t result = a ? make(x, &shape, a) : CUDA_ERROR_OUT_OF_MEMORY;

	if (result) {
		free(a);
		return result;
	}
	ret->charged = a->charged;
	*ret_array = a;
	return CUDA_SUCCESS;
}

int32_t on_mipmap_create(struct executor *x, const struct record_mipmap_create *r, struct mipmap **ret_mipmap,
			 struct reply_mipmap_create *ret)
{
	struct array_shape shape = { r->width,	  r->height, r->depth, r->format,
				     r->channels, r->flags,  r->levels };
	struct mipmap *m = calloc(1, sizeof(*m));
	int32_t result = m ? make(x, &shape, &m->whole) : CUDA_ERROR_OUT_OF_MEMORY;

	if (result) {
		free(m);
		return result;
	}
	ret->charged = m->whole.charged;
	*ret_mipmap = m;
	return CUDA_SUCCESS;
}

// ---- parts

static int32_t make_part(struct executor *x, struct array *whole, uint32_t index, struct array **ret)
{
	int32_t result = executor_ready(x);
	struct array *a;

	if (result)
		return result;
	a = calloc(1, sizeof(*a));
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->array_part(x->backend, whole->backend, index, &a->backend, &a->shape);
	if (result) {
		free(a);
		return result;
	}
	a->is_part = true;
	LIST_INIT(&a->parts);
	LIST_INSERT_HEAD(&whole->parts, a, next);
	*ret = a;
	return CUDA_SUCCESS;
}

int32_t on_array_plane(struct executor *x, const struct record_array_plane *r, struct array *array,
		       struct array **ret_plane, struct reply_array_plane *ret)
{
	int32_t result;

	// A part has no parts: their lives would hang on more than one whole.
	if (!array_format_is_video(array->shape.format) || array->is_part)
		return CUDA_ERROR_INVALID_VALUE;
	result = make_part(x, array, r->index, ret_plane);
	if (!result) {
		const struct array_shape *s = &(*ret_plane)->shape;

		*ret = (struct reply_array_plane){ s->width,	s->height, s->depth, s->format,
						   s->channels, s->flags,  0 };
	}
	return result;
}

int32_t on_mipmap_level(struct executor *x, const struct record_mipmap_level *r, struct mipmap *mipmap,
			struct array **ret_level, struct reply_mipmap_level *ret)
{
	int32_t result;

	if (r->index >= mipmap->whole.shape.levels)
		return CUDA_ERROR_INVALID_VALUE;
	result = make_part(x, &mipmap->whole, r->index, ret_level);
	if (!result) {
		const struct array_shape *s = &(*ret_level)->shape;

		*ret = (struct reply_mipmap_level){ s->width,	 s->height, s->depth, s->format,
						    s->channels, s->flags,  0 };
	}
	return result;
}

// ---- the end

static void free_whole(struct executor *x, struct array *a)
{
	struct array *part;

	x->gone++;
	while ((part = LIST_FIRST(&a->parts))) {
		LIST_REMOVE(part, next);
		handle_remove(x, part->object.handle);
		free(part);
	}
	x->ops->array_destroy(x->backend, a->backend);
	memory_uncharge(&x->memory, a->charged);
	handle_remove(x, a->object.handle);
}

void array_free(struct executor *x, void *object)
{
	struct array *a = object;

	if (!a->is_part) {
		free_whole(x, a);
	} else {
		x->gone++;
		LIST_REMOVE(a, next);
		handle_remove(x, a->object.handle);
	}
	free(a);
}

void mipmap_free(struct executor *x, void *object)
{
	struct mipmap *m = object;

	free_whole(x, &m->whole);
	free(m);
}

int32_t on_array_destroy(struct executor *x, const struct record_array_destroy *r, struct array *array)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (result)
		return result;
	if (array->is_part)
		return CUDA_ERROR_INVALID_HANDLE; // goes with the whole
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	array_free(x, array);
	return CUDA_SUCCESS;
}

int32_t on_mipmap_destroy(struct executor *x, const struct record_mipmap_destroy *r, struct mipmap *mipmap)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (result)
		return result;
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	mipmap_free(x, mipmap);
	return CUDA_SUCCESS;
}
