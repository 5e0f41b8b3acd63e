// SPDX-License-Identifier: Apache-2.0
// Texture objects: made by the executor, whose driver's value goes to the program; what they are is told from
// here. Runs in the guest program.
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/values.h"

static struct vc_values textures = VC_VALUES_INIT;

// Which array or memory the texture reads.
static CUresult take_resource(const CUDA_RESOURCE_DESC *d, struct record_texture_create *r)
{
	if (d->flags)
		return CUDA_ERROR_INVALID_VALUE;
	switch (d->resType) {
	case CU_RESOURCE_TYPE_ARRAY:
		r->source = TEXTURE_SOURCE_ARRAY;
		r->array = (uint64_t)(uintptr_t)d->res.array.hArray;
		return vc_array_find(d->res.array.hArray) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
		r->source = TEXTURE_SOURCE_MIPMAP;
		r->mipmap = (uint64_t)(uintptr_t)d->res.mipmap.hMipmappedArray;
		return vc_mipmap_find(d->res.mipmap.hMipmappedArray) ? CUDA_SUCCESS
								     : CUDA_ERROR_INVALID_VALUE;
	case CU_RESOURCE_TYPE_LINEAR:
		r->source = TEXTURE_SOURCE_LINEAR;
		r->address = d->res.linear.devPtr;
		r->format = (uint32_t)d->res.linear.format;
		r->channels = d->res.linear.numChannels;
		r->size = d->res.linear.sizeInBytes;
		return CUDA_SUCCESS;
	case CU_RESOURCE_TYPE_PITCH2D:
		r->source = TEXTURE_SOURCE_PITCH2D;
		r->address = d->res.pitch2D.devPtr;
		r->format = (uint32_t)d->res.pitch2D.format;
		r->channels = d->res.pitch2D.numChannels;
		r->width = d->res.pitch2D.width;
		r->height = d->res.pitch2D.height;
		r->pitch = d->res.pitch2D.pitchInBytes;
		return CUDA_SUCCESS;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

static CUresult take_texture(const CUDA_TEXTURE_DESC *d, struct record_texture_create *r)
{
	for (int i = 0; i < 3; i++) {
		if (d->addressMode[i] < 0 || d->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
			return CUDA_ERROR_INVALID_VALUE;
		r->address_modes[i] = (uint32_t)d->addressMode[i];
	}
	if (d->flags & ~CU_TRSF_ALL)
		return CUDA_ERROR_INVALID_VALUE;
	r->filter = (uint32_t)d->filterMode;
	r->flags = d->flags;
	r->max_anisotropy = d->maxAnisotropy;
	r->mipmap_filter = (uint32_t)d->mipmapFilterMode;
	r->level_bias = d->mipmapLevelBias;
	r->min_level = d->minMipmapLevelClamp;
	r->max_level = d->maxMipmapLevelClamp;
	memcpy(r->border, d->borderColor, sizeof(r->border));
	return CUDA_SUCCESS;
}

static void take_view(const CUDA_RESOURCE_VIEW_DESC *d, struct record_texture_create *r)
{
	r->has_view = 1;
	r->view_format = (uint32_t)d->format;
	r->view_width = d->width;
	r->view_height = d->height;
	r->view_depth = d->depth;
	r->view_first_level = d->firstMipmapLevel;
	r->view_last_level = d->lastMipmapLevel;
	r->view_first_layer = d->firstLayer;
	r->view_last_layer = d->lastLayer;
}

static CUresult create(struct vc_context *ctx, struct record_texture_create *r,
		       const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *desc,
		       const CUDA_RESOURCE_VIEW_DESC *view, CUtexObject *ret)
{
	struct vc_texture *t = vc_object_new(VC_TEXTURE);
	struct reply_texture_create reply;
	CUresult result;

	if (!t)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r->texture = vc_object_handle(VC_TEXTURE, t);
	result = (CUresult)vgpu_call_texture_create(vc_client, r, &reply);
	if (result) {
		vc_object_free(VC_TEXTURE, t);
		return result;
	}
	t->known.ctx = ctx;
	t->known.value = reply.object;
	t->resource = *resource;
	t->desc = *desc;
	t->has_view = view != NULL;
	if (view)
		t->view = *view;
	vc_object_publish(VC_TEXTURE, t);
	vc_value_add(&textures, &t->known);
	*ret = reply.object;
	return CUDA_SUCCESS;
}

CUresult cuTexObjectCreate(CUtexObject *texture, const CUDA_RESOURCE_DESC *resource,
			   const CUDA_TEXTURE_DESC *desc, const CUDA_RESOURCE_VIEW_DESC *view)
{
	struct record_texture_create record = { 0 };
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!texture || !resource || !desc)
		return CUDA_ERROR_INVALID_VALUE;
	result = take_resource(resource, &record);
	if (!result)
		result = take_texture(desc, &record);
	if (result)
		return result;
	if (view)
		take_view(view, &record);
	return create(ctx, &record, resource, desc, view, texture);
}

static void destroy(struct vc_texture *t)
{
	struct record_texture_destroy record = { .texture = vc_object_handle(VC_TEXTURE, t) };

	vgpu_push_texture_destroy(vc_client, &record);
	vc_object_free(VC_TEXTURE, t);
}

CUresult cuTexObjectDestroy(CUtexObject texture)
{
	struct vc_context *ctx;
	struct vc_valued *t;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!texture) // none, as with free()
		return CUDA_SUCCESS;
	t = vc_value_take(&textures, texture);
	if (!t)
		return CUDA_ERROR_INVALID_VALUE;
	destroy((struct vc_texture *)t);
	return CUDA_SUCCESS;
}

// Enters with the texture of that value.
static CUresult enter_texture(CUtexObject texture, const void *out, struct vc_texture **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	*ret = (struct vc_texture *)vc_value_find(&textures, texture);
	return *ret && out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUtexObject texture)
{
	struct vc_texture *t;
	CUresult result = enter_texture(texture, resource, &t);

	if (!result)
		*resource = t->resource;
	return result;
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *desc, CUtexObject texture)
{
	struct vc_texture *t;
	CUresult result = enter_texture(texture, desc, &t);

	if (!result)
		*desc = t->desc;
	return result;
}

CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *view, CUtexObject texture)
{
	struct vc_texture *t;
	CUresult result = enter_texture(texture, view, &t);

	if (!result && t->has_view) // else the driver says nothing, and that all is well
		*view = t->view;
	return result;
}

static void release_one(void *object, void *arg)
{
	struct vc_texture *t = object;

	if (t->known.ctx == arg && vc_value_take(&textures, t->known.value))
		destroy(t);
}

void vc_textures_release(struct vc_context *ctx)
{
	vc_object_each(VC_TEXTURE, release_one, ctx);
}

CUresult cuDeviceGetTexture1DLinearMaxWidth(size_t *elements, CUarray_format format, unsigned int channels,
					    CUdevice device)
{
	struct record_texture_linear_max record = { .format = (uint32_t)format, .channels = channels };
	struct reply_texture_linear_max reply;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (device != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	if (!elements)
		return CUDA_ERROR_INVALID_VALUE;
	result = (CUresult)vgpu_call_texture_linear_max(vc_client, &record, &reply);
	if (!result)
		*elements = reply.elements;
	return result;
}
