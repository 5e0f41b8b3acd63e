// SPDX-License-Identifier: Apache-2.0
// What an array's descriptor means: extents, bytes, which combinations there are (documentation of
// cuArray3DCreate and cuMipmappedArrayCreate). Pure arithmetic on hostile numbers, used by the guest's
// library, the executor and its backends. Extents are in elements, 0 where the array lacks that dimension.
#ifndef VGPU_PROTOCOL_CUDA_ARRAY_SHAPE_H
#define VGPU_PROTOCOL_CUDA_ARRAY_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/cuda/cuda_abi.h"

struct array_shape {
	uint64_t width, height, depth; // depth: layers of a layered array, faces of a cube map
	uint32_t format, channels;     // enum cuda_array_format
	uint32_t flags;		       // CUDA_ARRAY3D_*
	uint32_t levels;	       // 0: no mipmapped array
};

// Compressed formats are stored as squares of so many elements.
static inline uint32_t array_block(uint32_t format)
{
	return format >= CU_AD_FORMAT_BC1_UNORM && format <= CU_AD_FORMAT_BC7_UNORM_SRGB ? 4 : 1;
}

// Bytes of an element (of a block of a compressed format). 0: no such format, its channels are others, or it
// is one of video's whose rows only the driver knows.
static inline uint32_t array_element_bytes(uint32_t format, uint32_t channels)
{
	static const uint8_t norm_bytes[6] = { 1, 2, 4, 2, 4, 8 };
	// BC1 and BC4 have 8 bytes a block, each with two variants, the others 16.
	static const uint8_t block_bytes[14] = { 8, 8, 16, 16, 16, 16, 8, 8, 16, 16, 16, 16, 16, 16 };
	uint32_t n = channels == 1 || channels == 2 || channels == 4 ? channels : 0;

	switch (format) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
	case CU_AD_FORMAT_SIGNED_INT8: return n;
	case CU_AD_FORMAT_UNSIGNED_INT16:
	case CU_AD_FORMAT_SIGNED_INT16:
	case CU_AD_FORMAT_HALF: return 2 * n;
	case CU_AD_FORMAT_UNSIGNED_INT32:
	case CU_AD_FORMAT_SIGNED_INT32:
	case CU_AD_FORMAT_FLOAT: return 4 * n;
	case CU_AD_FORMAT_UNORM_INT_101010_2: return n == 4 ? 4 : 0;
	default: break;
	}
	if (format >= CU_AD_FORMAT_UNORM_INT8X1 && format <= CU_AD_FORMAT_SNORM_INT16X4)
		return n == 1u << (format - CU_AD_FORMAT_UNORM_INT8X1) % 3
			   ? norm_bytes[(format - CU_AD_FORMAT_UNORM_INT8X1) % 6]
			   : 0;
	if (array_block(format) > 1)
		return block_bytes[format - CU_AD_FORMAT_BC1_UNORM];
	return 0;
}

// Formats of several planes or of packed pixels: P010 and its relatives.
static inline bool array_format_is_video(uint32_t format)
{
	return format >= CU_AD_FORMAT_P010 && format <= CU_AD_FORMAT_YUV444_16BIT_SEMI_PLANAR;
}

// One level of a mipmapped array as an array; level is below 32.
static inline struct array_shape array_level(const struct array_shape *s, uint32_t level)
{
	struct array_shape l = *s;
	bool layers = s->flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);

	l.width = s->width >> level ? s->width >> level : 1;
	l.height = s->height ? (s->height >> level ? s->height >> level : 1) : 0;
	if (!layers && s->depth)
		l.depth = s->depth >> level ? s->depth >> level : 1;
	l.levels = 0;
	return l;
}

// How an array is stored: bytes of a row, rows of a slice, slices.
struct array_box {
	uint64_t row, rows, slices;
};

// false: the element's bytes are not known, or a row's do not fit 64 bits.
static inline bool array_box(const struct array_shape *s, struct array_box *ret)
{
	uint32_t bytes = array_element_bytes(s->format, s->channels), block = array_block(s->format);
	uint64_t across = s->width / block + (s->width % block != 0);

	ret->rows = s->height ? s->height / block + (s->height % block != 0) : 1;
	ret->slices = s->depth ? s->depth : 1;
	return bytes && !__builtin_mul_overflow(across, bytes, &ret->row);
}

// Whether a box that begins at byte at[0] of row at[1] of slice at[2] lies inside, in whole elements. Of
// video formats it is the driver that knows and checks: true.
static inline bool array_holds(const struct array_shape *s, const uint64_t at[3], uint64_t width,
			       uint64_t height, uint64_t depth)
{
	uint32_t element = array_element_bytes(s->format, s->channels);
	struct array_box b;

	if (array_format_is_video(s->format))
		return true;
	return element && array_box(s, &b) && at[0] % element == 0 && width % element == 0 &&
	       width <= b.row && at[0] <= b.row - width && height <= b.rows && at[1] <= b.rows - height &&
	       depth <= b.slices && at[2] <= b.slices - depth;
}

// Bytes of all levels without any gap. Of video formats: what the largest, four samples of 16 bits, would
// take.
static inline bool array_bytes(const struct array_shape *s, uint64_t *ret)
{
	uint64_t sum = 0, n;

	for (uint32_t i = 0; i == 0 || i < s->levels; i++) {
		struct array_shape l = array_level(s, i);
		struct array_box b;

		if (array_format_is_video(s->format)) {
			l.format = CU_AD_FORMAT_UNSIGNED_INT16;
			l.channels = 4;
		}
		if (!array_box(&l, &b) || __builtin_mul_overflow(b.row, b.rows, &n) ||
		    __builtin_mul_overflow(n, b.slices, &n) || __builtin_add_overflow(sum, n, &sum))
			return false;
	}
	*ret = sum;
	return true;
}

// The most levels that an array of these extents can have.
static inline uint32_t array_max_levels(const struct array_shape *s)
{
	bool layers = s->flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
	uint64_t longest = s->width > s->height ? s->width : s->height;

	if (!layers && s->depth > longest)
		longest = s->depth;
	return longest ? 64u - (uint32_t)__builtin_clzll(longest) : 0;
}

// Whether the combination exists at all; how large a device lets it be is another question.
static inline bool array_shape_valid(const struct array_shape *s)
{
	bool layered = s->flags & CUDA_ARRAY3D_LAYERED, cube = s->flags & CUDA_ARRAY3D_CUBEMAP;

	if (!s->width || (!array_element_bytes(s->format, s->channels) && !array_format_is_video(s->format)))
		return false;
	if (s->flags & ~0x1ffu)
		return false;
	if (layered && !s->depth)
		return false;
	if (!layered && !s->height && s->depth)
		return false;
	if (cube && (s->width != s->height || s->depth % 6 || !s->depth || (!layered && s->depth != 6)))
		return false;
	if ((s->flags & CUDA_ARRAY3D_TEXTURE_GATHER) && (!s->height || (s->depth && !layered && !cube)))
		return false;
	return s->levels <= array_max_levels(s);
}

// Whether a device with these attributes (of cuDeviceGetAttribute, by number) lets it be so large.
static inline bool array_fits(const struct array_shape *s, const int32_t *attributes)
{
	bool layered = s->flags & CUDA_ARRAY3D_LAYERED, cube = s->flags & CUDA_ARRAY3D_CUBEMAP;
	const uint64_t extents[3] = { s->width, layered && !s->height ? s->depth : s->height, s->depth };
	unsigned first, n = !s->height ? 1 : !s->depth ? 2 : 3;

	if (cube && !layered) {
		first = CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH;
		n = 1;
	} else if (cube) {
		return s->width <=
			   (uint64_t)attributes[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH] &&
		       s->depth <=
			   (uint64_t)attributes[CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH + 1];
	} else if (layered && !s->height) {
		first = CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH;
		n = 2;
	} else if (layered) {
		first = CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH;
	} else {
		first = n == 1	 ? CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH
			: n == 2 ? CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH
				 : CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH;
	}
	for (unsigned i = 0; i < n; i++)
		if (attributes[first + i] < 0 || extents[i] > (uint64_t)attributes[first + i])
			return false;
	return true;
}

#endif
