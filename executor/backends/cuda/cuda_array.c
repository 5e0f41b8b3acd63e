// SPDX-License-Identifier: Apache-2.0
// Arrays of the cuda backend: the driver's, with what they take of the device's memory. Executor process,
// loop thread.
#include <stdlib.h>
#include <string.h>

#include "executor/backends/cuda/cuda_backend.h"

// How a GPU stores arrays, as an upper bound for drivers that do not say: rows in whole 64 bytes, blocks of
// up to 128 rows and 32 slices, pages of 64 KiB.
#define TILE_BYTES  64u
#define TILE_ROWS   128u
#define TILE_SLICES 32u
#define PAGE_BYTES  VGPU_KIB(64)

static CUDA_ARRAY3D_DESCRIPTOR descriptor_of(const struct array_shape *s)
{
	return (CUDA_ARRAY3D_DESCRIPTOR){ .Width = s->width,
					  .Height = s->height,
					  .Depth = s->depth,
					  .Format = (CUarray_format)s->format,
					  .NumChannels = s->channels,
					  .Flags = s->flags };
}

// ---- what an array takes

static bool round_up(uint64_t *n, uint64_t to)
{
	return !__builtin_add_overflow(*n, to - 1, n) && (*n = *n / to * to, true);
}

static bool level_bound(const struct array_shape *level, uint64_t *ret)
{
	bool layers = level->flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
	struct array_shape l = *level;
	struct array_box b;

	if (array_format_is_video(l.format)) {
		l.format = CU_AD_FORMAT_UNSIGNED_INT16;
		l.channels = 4;
	}
	return array_box(&l, &b) && round_up(&b.row, TILE_BYTES) && round_up(&b.rows, TILE_ROWS) &&
	       round_up(&b.slices, layers || !l.depth ? 1 : TILE_SLICES) &&
	       !__builtin_mul_overflow(b.row, b.rows, ret) && !__builtin_mul_overflow(*ret, b.slices, ret) &&
	       round_up(ret, PAGE_BYTES);
}

static bool bound(const struct array_shape *s, uint64_t *ret)
{
	uint64_t sum = 0, n;

	for (uint32_t i = 0; i == 0 || i < s->levels; i++) {
		struct array_shape l = array_level(s, i);

		if (!level_bound(&l, &n) || __builtin_add_overflow(sum, n, &sum))
			return false;
	}
	*ret = sum;
	return true;
}

// The driver tells it only of arrays that have no memory yet, so one of the same shape is made without.
static uint64_t ask_array(struct backend *b, const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	CUDA_ARRAY_MEMORY_REQUIREMENTS needs = { 0 };
	CUarray array;
	CUresult result;

	if (!b->cu.array_requirements || b->cu.array_3d_create(&array, d))
		return 0;
	result = b->cu.array_requirements(&needs, array, b->device);
	b->cu.array_destroy(array);
	return !result && needs.alignment && round_up(&needs.size, needs.alignment) ? needs.size : 0;
}

static uint64_t ask_mipmap(struct backend *b, const CUDA_ARRAY3D_DESCRIPTOR *d, uint32_t levels)
{
	CUDA_ARRAY_MEMORY_REQUIREMENTS needs = { 0 };
	CUmipmappedArray array;
	CUresult result;

	if (!b->cu.mipmap_requirements || b->cu.mipmap_create(&array, d, levels))
		return 0;
	result = b->cu.mipmap_requirements(&needs, array, b->device);
	b->cu.mipmap_destroy(array);
	return !result && needs.alignment && round_up(&needs.size, needs.alignment) ? needs.size : 0;
}

static bool arrays_offered(const struct backend *b)
{
	const struct cuda_driver *cu = &b->cu;

	return cu->array_3d_create && cu->array_3d_descriptor && cu->array_destroy && cu->mipmap_create &&
	       cu->mipmap_destroy && cu->mipmap_level;
}

int cuda_array_size(struct backend *b, const struct array_shape *s, uint64_t *ret)
{
	CUDA_ARRAY3D_DESCRIPTOR d = descriptor_of(s);
	uint64_t bytes = 0;

	if (!arrays_offered(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!b->array_size.bytes || memcmp(&b->array_size.shape, s, sizeof(*s)) != 0) {
		d.Flags |= CUDA_ARRAY3D_DEFERRED_MAPPING;
		if (b->attributes[CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED])
			bytes = s->levels ? ask_mipmap(b, &d, s->levels) : ask_array(b, &d);
		if (!bytes && !bound(s, &bytes))
			return CUDA_ERROR_INVALID_VALUE;
		b->array_size.shape = *s;
		b->array_size.bytes = bytes;
	}
	*ret = b->array_size.bytes;
	return CUDA_SUCCESS;
}

// ---- life

int cuda_array_create(struct backend *b, const struct array_shape *s, struct backend_array **ret)
{
	CUDA_ARRAY3D_DESCRIPTOR d = descriptor_of(s);
	struct backend_array *a = calloc(1, sizeof(*a));
	int result;

	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cuda_result(b, s->levels ? b->cu.mipmap_create(&a->mipmap, &d, s->levels)
					  : b->cu.array_3d_create(&a->cu, &d));
	if (result) {
		free(a);
		return result;
	}
	SLIST_INIT(&a->parts);
	*ret = a;
	return CUDA_SUCCESS;
}

void cuda_array_destroy(struct backend *b, struct backend_array *a)
{
	struct backend_array *part;

	while ((part = SLIST_FIRST(&a->parts))) {
		SLIST_REMOVE_HEAD(&a->parts, next);
		free(part);
	}
	cuda_result(b, a->mipmap ? b->cu.mipmap_destroy(a->mipmap) : b->cu.array_destroy(a->cu));
	free(a);
}

int cuda_array_part(struct backend *b, struct backend_array *a, uint32_t index, struct backend_array **ret,
		    struct array_shape *ret_shape)
{
	CUDA_ARRAY3D_DESCRIPTOR d = { 0 };
	struct backend_array *part;
	CUarray cu = NULL;
	int result;

	if (!a->mipmap && !b->cu.array_plane)
		return CUDA_ERROR_NOT_SUPPORTED;
	result = cuda_result(b, a->mipmap ? b->cu.mipmap_level(&cu, a->mipmap, index)
					  : b->cu.array_plane(&cu, a->cu, index));
	if (!result)
		result = cuda_result(b, b->cu.array_3d_descriptor(&d, cu));
	if (result)
		return result;
	part = calloc(1, sizeof(*part));
	if (!part)
		return CUDA_ERROR_OUT_OF_MEMORY;
	part->cu = cu;
	SLIST_INSERT_HEAD(&a->parts, part, next);
	*ret = part;
	*ret_shape =
	    (struct array_shape){ d.Width, d.Height, d.Depth, (uint32_t)d.Format, d.NumChannels, d.Flags, 0 };
	return CUDA_SUCCESS;
}

// ---- copies

// Rows and slices of memory as the driver describes them; false: a slice is no whole number of rows.
static bool memory_steps(const struct backend_copy *c, uint64_t pitch, uint64_t slice, size_t *ret_pitch,
			 size_t *ret_height)
{
	*ret_pitch = c->height > 1 || c->depth > 1 ? pitch : c->width;
	*ret_height = c->height;
	if (c->depth > 1) {
		if (!pitch || slice % pitch)
			return false;
		*ret_height = slice / pitch;
	}
	return true;
}

int cuda_array_copy(struct backend *b, const struct backend_copy *c, CUstream s)
{
	CUDA_MEMCPY3D copy = { .WidthInBytes = c->width, .Height = c->height, .Depth = c->depth };

	if (c->src_array) {
		copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
		copy.srcArray = c->src_array->cu;
		copy.srcXInBytes = c->src_at[0];
		copy.srcY = c->src_at[1];
		copy.srcZ = c->src_at[2];
	} else {
		copy.srcMemoryType = c->src_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
		copy.srcDevice = c->src_device ? c->src : 0;
		copy.srcHost = c->src_device ? NULL : (const void *)(uintptr_t)c->src;
		if (!memory_steps(c, c->src_pitch, c->src_slice, &copy.srcPitch, &copy.srcHeight))
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (c->dst_array) {
		copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
		copy.dstArray = c->dst_array->cu;
		copy.dstXInBytes = c->dst_at[0];
		copy.dstY = c->dst_at[1];
		copy.dstZ = c->dst_at[2];
	} else {
		copy.dstMemoryType = c->dst_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
		copy.dstDevice = c->dst_device ? c->dst : 0;
		copy.dstHost = c->dst_device ? NULL : (void *)(uintptr_t)c->dst;
		if (!memory_steps(c, c->dst_pitch, c->dst_slice, &copy.dstPitch, &copy.dstHeight))
			return CUDA_ERROR_INVALID_VALUE;
	}
	return cuda_result(b, b->cu.copy_3d(&copy, s));
}
