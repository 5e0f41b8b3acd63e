// SPDX-License-Identifier: Apache-2.0
// Texture and surface objects: handlers of texture_*, surface_*. Kernels use the backend's own value, out of
// any memory, so it cannot be checked there; it stands for something of this executor's address space or for
// nothing. Called by the generated dispatch in an executor.
#include <stdlib.h>

#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/array_shape.h"
#include "protocol/cuda/cuda_abi.h"

// Device memory, or the host window's: that stays mapped here whatever becomes of its registration.
static bool readable(const struct executor *x, uint64_t address, uint64_t bytes)
{
	const struct link_geometry *g = &x->assign.geometry;

	return memory_contains(&x->memory, address, bytes, VM_ACCESS_READ) ||
	       (address - g->host_window_base < g->host_window_bytes &&
		hostmem_contains(&x->hostmem, address, bytes));
}

// Memory that a texture reads must be the tenant's, all of it.
static int32_t check_memory(const struct executor *x, const struct record_texture_create *r)
{
	uint64_t element = array_element_bytes(r->format, r->channels), row, bytes;

	if (!element || array_block(r->format) > 1)
		return CUDA_ERROR_INVALID_VALUE;
	if (r->source == TEXTURE_SOURCE_LINEAR) {
		bytes = r->size / element * element;
		if (!bytes)
			return CUDA_ERROR_INVALID_VALUE;
	} else if (!r->width || !r->height || __builtin_mul_overflow(r->width, element, &row) ||
		   !box_span(row, r->height, 1, r->pitch, 0, &bytes)) {
		return CUDA_ERROR_INVALID_VALUE;
	}
	return readable(x, r->address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static int32_t check_modes(const struct record_texture_create *r)
{
	for (unsigned i = 0; i < 3; i++)
		if (r->address_modes[i] > CU_TR_ADDRESS_MODE_BORDER)
			return CUDA_ERROR_INVALID_VALUE;
	if (r->filter > CU_TR_FILTER_MODE_LINEAR || r->mipmap_filter > CU_TR_FILTER_MODE_LINEAR)
		return CUDA_ERROR_INVALID_VALUE;
	if (r->has_view && r->view_format > CU_RES_VIEW_FORMAT_UNSIGNED_BC7)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

int32_t on_texture_create(struct executor *x, const struct record_texture_create *r,
			  struct texture **ret_texture, struct array *array, struct mipmap *mipmap,
			  struct reply_texture_create *ret)
{
	struct backend_array *source = array ? array->backend : mipmap ? mipmap->whole.backend : NULL;
	int32_t result = executor_ready(x);
	struct texture *t;

	if (result)
		return result;
	if (!!array != (r->source == TEXTURE_SOURCE_ARRAY) ||
	    !!mipmap != (r->source == TEXTURE_SOURCE_MIPMAP))
		return CUDA_ERROR_INVALID_VALUE;
	result = check_modes(r);
	if (!result && !source)
		result = check_memory(x, r);
	if (result)
		return result;
	t = calloc(1, sizeof(*t));
	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->texture_create(x->backend, r, source, &t->value);
	if (result) {
		free(t);
		return result;
	}
	ret->object = t->value;
	*ret_texture = t;
	return CUDA_SUCCESS;
}

void texture_free(struct executor *x, void *object)
{
	struct texture *t = object;

	x->ops->texture_destroy(x->backend, t->value);
	handle_remove(x, t->object.handle);
	free(t);
}

int32_t on_texture_destroy(struct executor *x, const struct record_texture_destroy *r,
			   struct texture *texture)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (!result)
		texture_free(x, texture);
	return result;
}

int32_t on_surface_create(struct executor *x, const struct record_surface_create *r,
			  struct surface **ret_surface, struct array *array, struct reply_surface_create *ret)
{
	int32_t result = executor_ready(x);
	struct surface *s;

	(void)r;
	if (result)
		return result;
	s = calloc(1, sizeof(*s));
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->surface_create(x->backend, array->backend, &s->value);
	if (result) {
		free(s);
		return result;
	}
	ret->object = s->value;
	*ret_surface = s;
	return CUDA_SUCCESS;
}

void surface_free(struct executor *x, void *object)
{
	struct surface *s = object;

	x->ops->surface_destroy(x->backend, s->value);
	handle_remove(x, s->object.handle);
	free(s);
}

int32_t on_surface_destroy(struct executor *x, const struct record_surface_destroy *r,
			   struct surface *surface)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (!result)
		surface_free(x, surface);
	return result;
}

int32_t on_texture_linear_max(struct executor *x, const struct record_texture_linear_max *r,
			      struct reply_texture_linear_max *ret)
{
	if (!array_element_bytes(r->format, r->channels) || array_block(r->format) > 1)
		return CUDA_ERROR_INVALID_VALUE;
	return x->ops->texture_linear_max(x->backend, r->format, r->channels, &ret->elements);
}
