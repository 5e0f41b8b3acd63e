// SPDX-License-Identifier: Apache-2.0
// Surface objects: as textures (texture.c), but kernels write to them too. Runs in the guest program.
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/values.h"

static struct vc_values surfaces = VC_VALUES_INIT;

static CUresult create(struct vc_context *ctx, const CUDA_RESOURCE_DESC *resource, CUsurfObject *ret)
{
	struct record_surface_create record = { .array = (uint64_t)(uintptr_t)resource->res.array.hArray };
	struct vc_surface *s = vc_object_new(VC_SURFACE);
	struct reply_surface_create reply;
	CUresult result;

	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record.surface = vc_object_handle(VC_SURFACE, s);
	result = (CUresult)vgpu_call_surface_create(vc_client, &record, &reply);
	if (result) {
		vc_object_free(VC_SURFACE, s);
		return result;
	}
	s->known.ctx = ctx;
	s->known.value = reply.object;
	s->resource = *resource;
	vc_object_publish(VC_SURFACE, s);
	vc_value_add(&surfaces, &s->known);
	*ret = reply.object;
	return CUDA_SUCCESS;
}

CUresult cuSurfObjectCreate(CUsurfObject *surface, const CUDA_RESOURCE_DESC *resource)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!surface || !resource || resource->resType != CU_RESOURCE_TYPE_ARRAY || resource->flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!vc_array_find(resource->res.array.hArray)) // whether it was made for surfaces no driver asks
		return CUDA_ERROR_INVALID_VALUE;
	return create(ctx, resource, surface);
}

static void destroy(struct vc_surface *s)
{
	struct record_surface_destroy record = { .surface = vc_object_handle(VC_SURFACE, s) };

	vgpu_push_surface_destroy(vc_client, &record);
	vc_object_free(VC_SURFACE, s);
}

CUresult cuSurfObjectDestroy(CUsurfObject surface)
{
	struct vc_context *ctx;
	struct vc_valued *s;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!surface) // none, as with free()
		return CUDA_SUCCESS;
	s = vc_value_take(&surfaces, surface);
	if (!s)
		return CUDA_ERROR_INVALID_VALUE;
	destroy((struct vc_surface *)s);
	return CUDA_SUCCESS;
}

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUsurfObject surface)
{
	struct vc_context *ctx;
	struct vc_valued *s;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	s = vc_value_find(&surfaces, surface);
	if (!s || !resource)
		return CUDA_ERROR_INVALID_VALUE;
	*resource = ((struct vc_surface *)s)->resource;
	return CUDA_SUCCESS;
}

static void release_one(void *object, void *arg)
{
	struct vc_surface *s = object;

	if (s->known.ctx == arg && vc_value_take(&surfaces, s->known.value))
		destroy(s);
}

void vc_surfaces_release(struct vc_context *ctx)
{
	vc_object_each(VC_SURFACE, release_one, ctx);
}
