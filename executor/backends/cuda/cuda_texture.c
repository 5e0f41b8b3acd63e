// SPDX-License-Identifier: Apache-2.0
// Texture and surface objects of the cuda backend: the driver makes them, and its values go to the guest,
// whose kernels use them. Executor process, loop thread.
#include <string.h>

#include "executor/backends/cuda/cuda_backend.h"

static CUDA_RESOURCE_DESC resource_of(const struct record_texture_create *r, const struct backend_array *a)
{
	CUDA_RESOURCE_DESC d = { .resType = (int)r->source };

	switch ((enum texture_source)r->source) {
	case TEXTURE_SOURCE_ARRAY: d.res.array.hArray = a->cu; break;
	case TEXTURE_SOURCE_MIPMAP: d.res.mipmap.hMipmappedArray = a->mipmap; break;
	case TEXTURE_SOURCE_LINEAR:
		d.res.linear.devPtr = r->address;
		d.res.linear.format = (CUarray_format)r->format;
		d.res.linear.numChannels = r->channels;
		d.res.linear.sizeInBytes = r->size;
		break;
	case TEXTURE_SOURCE_PITCH2D:
		d.res.pitch2D.devPtr = r->address;
		d.res.pitch2D.format = (CUarray_format)r->format;
		d.res.pitch2D.numChannels = r->channels;
		d.res.pitch2D.width = r->width;
		d.res.pitch2D.height = r->height;
		d.res.pitch2D.pitchInBytes = r->pitch;
		break;
	}
	return d;
}

static CUDA_TEXTURE_DESC texture_of(const struct record_texture_create *r)
{
	CUDA_TEXTURE_DESC d = { .filterMode = (CUfilter_mode)r->filter,
				.flags = r->flags,
				.maxAnisotropy = r->max_anisotropy,
				.mipmapFilterMode = (CUfilter_mode)r->mipmap_filter,
				.mipmapLevelBias = r->level_bias,
				.minMipmapLevelClamp = r->min_level,
				.maxMipmapLevelClamp = r->max_level };

	for (unsigned i = 0; i < 3; i++)
		d.addressMode[i] = (CUaddress_mode)r->address_modes[i];
	memcpy(d.borderColor, r->border, sizeof(d.borderColor));
	return d;
}

static CUDA_RESOURCE_VIEW_DESC view_of(const struct record_texture_create *r)
{
	return (CUDA_RESOURCE_VIEW_DESC){ .format = (int)r->view_format,
					  .width = r->view_width,
					  .height = r->view_height,
					  .depth = r->view_depth,
					  .firstMipmapLevel = r->view_first_level,
					  .lastMipmapLevel = r->view_last_level,
					  .firstLayer = r->view_first_layer,
					  .lastLayer = r->view_last_layer };
}

int cuda_texture_create(struct backend *b, const struct record_texture_create *r, struct backend_array *a,
			uint64_t *ret_object)
{
	CUDA_RESOURCE_DESC resource = resource_of(r, a);
	CUDA_TEXTURE_DESC texture = texture_of(r);
	CUDA_RESOURCE_VIEW_DESC view = view_of(r);
	CUtexObject object;
	int result;

	if (!b->cu.texture_create || !b->cu.texture_destroy)
		return CUDA_ERROR_NOT_SUPPORTED;
	result =
	    cuda_result(b, b->cu.texture_create(&object, &resource, &texture, r->has_view ? &view : NULL));
	if (!result)
		*ret_object = object;
	return result;
}

void cuda_texture_destroy(struct backend *b, uint64_t object)
{
	cuda_result(b, b->cu.texture_destroy(object));
}

int cuda_surface_create(struct backend *b, struct backend_array *a, uint64_t *ret_object)
{
	CUDA_RESOURCE_DESC resource = { .resType = CU_RESOURCE_TYPE_ARRAY };
	CUsurfObject object;
	int result;

	if (!b->cu.surface_create || !b->cu.surface_destroy)
		return CUDA_ERROR_NOT_SUPPORTED;
	resource.res.array.hArray = a->cu;
	result = cuda_result(b, b->cu.surface_create(&object, &resource));
	if (!result)
		*ret_object = object;
	return result;
}

void cuda_surface_destroy(struct backend *b, uint64_t object)
{
	cuda_result(b, b->cu.surface_destroy(object));
}

int cuda_texture_linear_max(struct backend *b, uint32_t format, uint32_t channels, uint64_t *ret_elements)
{
	size_t elements;
	int result;

	if (!b->cu.texture_linear_max)
		return CUDA_ERROR_NOT_SUPPORTED;
	result =
	    cuda_result(b, b->cu.texture_linear_max(&elements, (CUarray_format)format, channels, b->device));
	if (!result)
		*ret_elements = elements;
	return result;
}
