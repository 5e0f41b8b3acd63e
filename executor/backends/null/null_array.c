// SPDX-License-Identifier: Apache-2.0
// Arrays, textures and surfaces of the null backend; see the header. Executor process, loop thread.
#include "executor/backends/null/null_array.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "executor/backends/null/null_device.h"
#include "protocol/cuda/cuda_abi.h"

struct backend_array {
	struct array_shape shape;
	LIST_ENTRY(backend_array) next; // part of a whole
	LIST_HEAD(, backend_array) parts;
};

int null_array_size(struct backend *b, const struct array_shape *s, uint64_t *ret)
{
	struct reply_device_info info;

	(void)b;
	null_device_info(&info);
	return array_fits(s, info.attributes) && array_bytes(s, ret) ? CUDA_SUCCESS
								     : CUDA_ERROR_INVALID_VALUE;
}

int null_array_create(struct backend *b, const struct array_shape *s, struct backend_array **ret)
{
	struct backend_array *a = calloc(1, sizeof(*a));

	(void)b;
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	a->shape = *s;
	LIST_INIT(&a->parts);
	*ret = a;
	return CUDA_SUCCESS;
}

void null_array_destroy(struct backend *b, struct backend_array *a)
{
	struct backend_array *part;

	(void)b;
	while ((part = LIST_FIRST(&a->parts))) {
		LIST_REMOVE(part, next);
		free(part);
	}
	free(a);
}

// Planes of video formats only the driver of a GPU knows.
int null_array_part(struct backend *b, struct backend_array *a, uint32_t index, struct backend_array **ret,
		    struct array_shape *ret_shape)
{
	struct backend_array *part;
	struct array_shape level;
	int result;

	if (!a->shape.levels)
		return CUDA_ERROR_NOT_SUPPORTED;
	level = array_level(&a->shape, index);
	result = null_array_create(b, &level, &part);
	if (result)
		return result;
	LIST_INSERT_HEAD(&a->parts, part, next);
	*ret_shape = part->shape;
	*ret = part;
	return CUDA_SUCCESS;
}

// Values that no kernel ever uses, each once.
static int object_new(uint64_t *ret)
{
	static uint64_t last;

	*ret = ++last;
	return CUDA_SUCCESS;
}

int null_texture_create(struct backend *b, const struct record_texture_create *r, struct backend_array *a,
			uint64_t *ret_object)
{
	(void)b;
	(void)r;
	(void)a;
	return object_new(ret_object);
}

int null_surface_create(struct backend *b, struct backend_array *a, uint64_t *ret_object)
{
	(void)b;
	(void)a;
	return object_new(ret_object);
}

void null_object_destroy(struct backend *b, uint64_t object)
{
	(void)b;
	(void)object;
}

int null_texture_linear_max(struct backend *b, uint32_t format, uint32_t channels, uint64_t *ret_elements)
{
	struct reply_device_info info;

	(void)b;
	(void)format;
	(void)channels;
	null_device_info(&info);
	*ret_elements = (uint64_t)info.attributes[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH];
	return CUDA_SUCCESS;
}
