// SPDX-License-Identifier: Apache-2.0
// Texture and surface objects of the cpu backend: descriptions become entries of the engine's table, which
// kernels index by the value. Executor process, loop thread.
#include <stdio.h>
#include <string.h>

#include "executor/backends/cpu/cpu_array.h"
#include "executor/backends/cpu/ptx/ptx_texture.h"

#define TEXTURE_ALIGN 512u // of linear memory, bytes: attribute 14
#define PITCH_ALIGN   32u  // attribute 51

// How a channel of that format is read; false: not here (compressed, packed or video formats).
static bool read_format(uint32_t format, uint32_t channels, struct ptx_texture *t)
{
	static const struct {
		uint8_t format, channel;
	} known[] = {
		{ CU_AD_FORMAT_UNSIGNED_INT8, CHANNEL_U8 },   { CU_AD_FORMAT_SIGNED_INT8, CHANNEL_S8 },
		{ CU_AD_FORMAT_UNSIGNED_INT16, CHANNEL_U16 }, { CU_AD_FORMAT_SIGNED_INT16, CHANNEL_S16 },
		{ CU_AD_FORMAT_UNSIGNED_INT32, CHANNEL_U32 }, { CU_AD_FORMAT_SIGNED_INT32, CHANNEL_S32 },
		{ CU_AD_FORMAT_HALF, CHANNEL_F16 },	      { CU_AD_FORMAT_FLOAT, CHANNEL_F32 },
	};
	// X1 X2 X4 of 8 bits, of 16, first unsigned, then signed: always scaled.
	static const uint8_t norm[4] = { CHANNEL_U8, CHANNEL_U16, CHANNEL_S8, CHANNEL_S16 };

	t->channels = (uint8_t)channels;
	t->element = (uint8_t)array_element_bytes(format, channels);
	if (format >= CU_AD_FORMAT_UNORM_INT8X1 && format <= CU_AD_FORMAT_SNORM_INT16X4) {
		t->channel = norm[(format - CU_AD_FORMAT_UNORM_INT8X1) / 3];
		t->integer = false;
		return t->element;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].format != format)
			continue;
		t->channel = known[i].channel;
		if (t->channel == CHANNEL_U32 || t->channel == CHANNEL_S32)
			t->integer = true; // never scaled
		if (t->channel == CHANNEL_F16 || t->channel == CHANNEL_F32)
			t->integer = false;
		return t->element;
	}
	return false;
}

// A view's format in terms of the array's, the same bytes an element. 0: none, compressed.
static uint32_t view_format(uint32_t view, uint32_t *ret_channels)
{
	static const uint8_t formats[] = { CU_AD_FORMAT_UNSIGNED_INT8,	CU_AD_FORMAT_SIGNED_INT8,
					   CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_SIGNED_INT16,
					   CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
					   CU_AD_FORMAT_HALF,		CU_AD_FORMAT_FLOAT };

	if (view < CU_RES_VIEW_FORMAT_UINT_1X8 || view > CU_RES_VIEW_FORMAT_FLOAT_4X32)
		return 0;
	*ret_channels = 1u << (view - CU_RES_VIEW_FORMAT_UINT_1X8) % 3;
	return formats[(view - CU_RES_VIEW_FORMAT_UINT_1X8) / 3];
}

static void fill_level(struct ptx_level *l, const struct cpu_plane *p, bool layered)
{
	*l = (struct ptx_level){ .address = p->address,
				 .pitch = p->box.row,
				 .slice = p->box.row * p->box.rows,
				 .width = p->width,
				 .height = p->height ? p->height : 1,
				 .depth = p->depth && !layered ? p->depth : 1 };
}

// An array with all its levels and layers.
static int of_array(const struct backend_array *a, struct ptx_texture *t)
{
	const struct array_shape *s = &a->shape;

	t->cube = s->flags & CUDA_ARRAY3D_CUBEMAP;
	t->layers = s->flags & CUDA_ARRAY3D_LAYERED || t->cube ? (uint32_t)s->depth : 0;
	t->dims = !s->height ? 1 : !s->depth || t->layers ? 2 : 3;
	t->n_levels = s->levels ? s->levels : 1;
	if (t->n_levels > PTX_MAX_LEVELS)
		return CUDA_ERROR_INVALID_VALUE;
	for (uint32_t i = 0; i < t->n_levels; i++) {
		struct cpu_plane p = cpu_array_plane(a, i);

		fill_level(&t->levels[i], &p, t->layers);
	}
	return read_format(s->format, s->channels, t) ? 0 : CUDA_ERROR_NOT_SUPPORTED;
}

// The executor checked that the memory is there.
static int of_memory(const struct record_texture_create *r, struct ptx_texture *t)
{
	struct ptx_level *l = &t->levels[0];

	if (!read_format(r->format, r->channels, t))
		return CUDA_ERROR_NOT_SUPPORTED;
	t->is_memory = true;
	t->n_levels = 1;
	*l = (struct ptx_level){ .address = r->address, .height = 1, .depth = 1 };
	if (r->address % TEXTURE_ALIGN)
		return CUDA_ERROR_INVALID_VALUE;
	if (r->source == TEXTURE_SOURCE_LINEAR) {
		t->dims = 1;
		if (r->size < t->element || r->size / t->element > CPU_TEXTURE_LINEAR)
			return CUDA_ERROR_INVALID_VALUE;
		l->width = (uint32_t)(r->size / t->element);
		return 0;
	}
	if (r->pitch % PITCH_ALIGN || !r->width || r->width > UINT16_MAX * 2u || !r->height ||
	    r->height > UINT16_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	t->dims = 2;
	l->pitch = r->pitch;
	l->width = (uint32_t)r->width;
	l->height = (uint32_t)r->height;
	return 0;
}

static int apply_view(const struct record_texture_create *r, struct ptx_texture *t)
{
	const struct ptx_level *l = &t->levels[0];
	uint32_t channels, format;

	if (t->is_memory || r->view_width != l->width || (t->dims > 1 && r->view_height != l->height))
		return CUDA_ERROR_INVALID_VALUE;
	if (r->view_last_level < r->view_first_level || r->view_last_level >= t->n_levels ||
	    r->view_last_layer < r->view_first_layer ||
	    (r->view_last_layer && r->view_last_layer >= t->layers))
		return CUDA_ERROR_INVALID_VALUE;
	if (r->view_format) {
		format = view_format(r->view_format, &channels);
		if (!format)
			return CUDA_ERROR_NOT_SUPPORTED;
		if (array_element_bytes(format, channels) != t->element || !read_format(format, channels, t))
			return CUDA_ERROR_INVALID_VALUE;
	}
	t->n_levels = r->view_last_level - r->view_first_level + 1;
	memmove(t->levels, t->levels + r->view_first_level, t->n_levels * sizeof(t->levels[0]));
	for (uint32_t i = 0; t->layers && i < t->n_levels; i++)
		t->levels[i].address += r->view_first_layer * t->levels[i].slice;
	if (t->layers)
		t->layers = r->view_last_layer - r->view_first_layer + 1;
	return t->cube && t->layers % 6 ? CUDA_ERROR_INVALID_VALUE : 0;
}

int cpu_texture_create(struct backend *b, const struct record_texture_create *r, struct backend_array *a,
		       uint64_t *ret_object)
{
	struct ptx_texture t = { .integer = r->flags & CU_TRSF_READ_AS_INTEGER,
				 .normalized = r->flags & CU_TRSF_NORMALIZED_COORDINATES,
				 .srgb = r->flags & CU_TRSF_SRGB,
				 .linear = r->filter == CU_TR_FILTER_MODE_LINEAR,
				 .mip_linear = r->mipmap_filter == CU_TR_FILTER_MODE_LINEAR,
				 .bias = r->level_bias,
				 .min_level = r->min_level,
				 .max_level = r->max_level };
	int result = atomic_load(&b->sticky);

	if (result)
		return result;
	for (unsigned i = 0; i < 3; i++)
		t.modes[i] = (uint8_t)r->address_modes[i];
	memcpy(t.border, r->border, sizeof(t.border));
	result = a ? of_array(a, &t) : of_memory(r, &t);
	if (!result && r->has_view)
		result = apply_view(r, &t);
	if (result)
		return result;
	// Mipmapped arrays are read with normalised coordinates, and integers cannot be mixed.
	if ((t.linear && t.integer) || (r->source == TEXTURE_SOURCE_MIPMAP && !t.normalized))
		return CUDA_ERROR_INVALID_VALUE;
	*ret_object = ptx_texture_add(&t);
	return *ret_object ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}

int cpu_surface_create(struct backend *b, struct backend_array *a, uint64_t *ret_object)
{
	struct ptx_texture t = { .is_surface = true };
	int result = atomic_load(&b->sticky);

	if (!result)
		result = of_array(a, &t);
	if (result)
		return result;
	*ret_object = ptx_texture_add(&t);
	return *ret_object ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}

// Behind the kernels that may use it. Where that cannot be said any more, the entry stays until the process
// ends.
void cpu_object_destroy(struct backend *b, uint64_t object)
{
	struct cpu_work *w = cpu_work_new(WORK_FORGET, 0);

	if (!w)
		return;
	w->object = object;
	cpu_work_submit(b, NULL, w);
}

int cpu_texture_linear_max(struct backend *b, uint32_t format, uint32_t channels, uint64_t *ret_elements)
{
	(void)b;
	(void)format;
	(void)channels;
	*ret_elements = CPU_TEXTURE_LINEAR;
	return 0;
}
