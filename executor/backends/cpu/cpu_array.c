// SPDX-License-Identifier: Apache-2.0
// Arrays of the cpu backend: linear memory in the private part of the device window, rows without gaps, the
// levels of a mipmapped array one behind the other. Executor process, loop thread.
#include <stdlib.h>

#include "executor/backends/cpu/cpu_array.h"

#define LEVEL_ALIGN 64u // bytes between levels are whole multiples

bool cpu_array_fits(const struct array_shape *s)
{
	struct reply_device_info info = { 0 };

	cpu_attributes(info.attributes);
	return array_fits(s, info.attributes);
}

struct cpu_plane cpu_array_plane(const struct backend_array *a, uint32_t level)
{
	struct cpu_plane p = { .address = a->address };
	struct array_shape l = array_level(&a->shape, 0);

	for (uint32_t i = 0;; i++) {
		l = array_level(&a->shape, i);
		array_box(&l, &p.box); // all of it was checked when the array was made
		if (i == level)
			break;
		p.address +=
		    (p.box.row * p.box.rows * p.box.slices + LEVEL_ALIGN - 1) & ~(uint64_t)(LEVEL_ALIGN - 1);
	}
	p.width = (uint32_t)l.width;
	p.height = (uint32_t)l.height;
	p.depth = (uint32_t)l.depth;
	return p;
}

int cpu_array_size(struct backend *b, const struct array_shape *s, uint64_t *ret)
{
	uint64_t bytes;

	(void)b;
	if (array_format_is_video(s->format) || array_block(s->format) > 1)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!cpu_array_fits(s) || !array_bytes(s, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = cpu_private_bytes(bytes + (uint64_t)s->levels * LEVEL_ALIGN);
	return 0;
}

int cpu_array_create(struct backend *b, const struct array_shape *s, struct backend_array **ret)
{
	struct backend_array *a;
	uint64_t bytes;
	int result = cpu_array_size(b, s, &bytes);

	if (result)
		return result;
	a = calloc(1, sizeof(*a));
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cpu_private_alloc(b, bytes, LEVEL_ALIGN, &a->address);
	if (result) {
		free(a);
		return result;
	}
	a->shape = *s;
	LIST_INIT(&a->parts);
	*ret = a;
	return 0;
}

void cpu_array_destroy(struct backend *b, struct backend_array *a)
{
	struct backend_array *part;

	while ((part = LIST_FIRST(&a->parts))) {
		LIST_REMOVE(part, next);
		free(part);
	}
	cpu_private_free(b, a->address);
	free(a);
}

int cpu_array_part(struct backend *b, struct backend_array *a, uint32_t index, struct backend_array **ret,
		   struct array_shape *ret_shape)
{
	struct backend_array *part;

	(void)b;
	if (!a->shape.levels)
		return CUDA_ERROR_NOT_SUPPORTED; // no format here has planes
	part = calloc(1, sizeof(*part));
	if (!part)
		return CUDA_ERROR_OUT_OF_MEMORY;
	part->address = cpu_array_plane(a, index).address;
	part->shape = array_level(&a->shape, index);
	LIST_INIT(&part->parts);
	LIST_INSERT_HEAD(&a->parts, part, next);
	*ret = part;
	*ret_shape = part->shape;
	return 0;
}

void cpu_array_side(const struct backend_array *a, const uint64_t at[3], uint64_t *ret_address,
		    uint64_t *ret_pitch, uint64_t *ret_slice)
{
	struct cpu_plane p = cpu_array_plane(a, 0);

	*ret_pitch = p.box.row;
	*ret_slice = p.box.row * p.box.rows;
	*ret_address = p.address + at[2] * *ret_slice + at[1] * *ret_pitch + at[0];
}
