// SPDX-License-Identifier: Apache-2.0
// Arrays and mipmapped arrays: made and freed by the executor, described here. A program's handle is this
// library's name for one. Runs in the guest program; one lock for what belongs to what, these calls are rare.
#include <pthread.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"
#include "protocol/cuda/array_shape.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // of parts

struct vc_array *vc_array_find(CUarray array)
{
	return vc_object_find(VC_ARRAY, (uint64_t)(uintptr_t)array);
}

struct vc_mipmap *vc_mipmap_find(CUmipmappedArray mipmap)
{
	return vc_object_find(VC_MIPMAP, (uint64_t)(uintptr_t)mipmap);
}

static struct array_shape shape_of(const CUDA_ARRAY3D_DESCRIPTOR *d, uint32_t levels)
{
	return (struct array_shape){ d->Width,	     d->Height, d->Depth, (uint32_t)d->Format,
				     d->NumChannels, d->Flags,	levels };
}

// ---- arrays

static CUresult create(struct vc_context *ctx, const CUDA_ARRAY3D_DESCRIPTOR *d, CUarray *ret)
{
	struct array_shape shape = shape_of(d, 0);
	struct record_array_create record = { .width = d->Width,
					      .height = d->Height,
					      .depth = d->Depth,
					      .format = (uint32_t)d->Format,
					      .channels = d->NumChannels,
					      .flags = d->Flags };
	struct reply_array_create reply;
	struct vc_array *a;
	CUresult result;

	if (!ret || !array_shape_valid(&shape))
		return CUDA_ERROR_INVALID_VALUE;
	a = vc_object_new(VC_ARRAY);
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record.array = vc_object_handle(VC_ARRAY, a);
	result = (CUresult)vgpu_call_array_create(vc_client, &record, &reply);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && vc_pools_give_up())
		result = (CUresult)vgpu_call_array_create(vc_client, &record, &reply);
	if (result) {
		vc_object_free(VC_ARRAY, a);
		return result;
	}
	a->ctx = ctx;
	a->desc = *d;
	a->is_part = 0;
	a->parts = a->next = NULL;
	vc_object_publish(VC_ARRAY, a);
	*ret = (CUarray)(uintptr_t)record.array;
	return CUDA_SUCCESS;
}

static CUresult enter_create(struct vc_context **ctx)
{
	CUresult result = vc_enter_report(ctx);

	return result ? result : vc_capture_unsafe();
}

CUresult cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *desc)
{
	struct vc_context *ctx;
	CUresult result = enter_create(&ctx);

	if (result)
		return result;
	return desc ? create(ctx, desc, array) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *desc)
{
	CUDA_ARRAY3D_DESCRIPTOR wide = { 0 };

	if (desc)
		wide = (CUDA_ARRAY3D_DESCRIPTOR){ .Width = desc->Width,
						  .Height = desc->Height,
						  .Format = desc->Format,
						  .NumChannels = desc->NumChannels };
	return cuArray3DCreate_v2(array, desc ? &wide : NULL);
}

CUresult cuArrayCreate(CUarray *array, const CUDA_ARRAY_DESCRIPTOR_v1 *desc)
{
	CUDA_ARRAY_DESCRIPTOR wide = { 0 };

	if (desc)
		wide = (CUDA_ARRAY_DESCRIPTOR){ desc->Width, desc->Height, desc->Format, desc->NumChannels };
	return cuArrayCreate_v2(array, desc ? &wide : NULL);
}

CUresult cuArray3DCreate(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR_v1 *desc)
{
	CUDA_ARRAY3D_DESCRIPTOR wide = { 0 };

	if (desc)
		wide = (CUDA_ARRAY3D_DESCRIPTOR){ desc->Width,	desc->Height,	   desc->Depth,
						  desc->Format, desc->NumChannels, desc->Flags };
	return cuArray3DCreate_v2(array, desc ? &wide : NULL);
}

// ---- descriptors

// Enters with the array that the handle names.
static CUresult enter_array(CUarray array, const void *out, struct vc_array **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	*ret = vc_array_find(array);
	if (!*ret)
		return CUDA_ERROR_INVALID_HANDLE;
	return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *desc, CUarray array)
{
	struct vc_array *a;
	CUresult result = enter_array(array, desc, &a);

	if (!result)
		*desc = a->desc;
	return result;
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *desc, CUarray array)
{
	struct vc_array *a;
	CUresult result = enter_array(array, desc, &a);

	if (!result)
		*desc = (CUDA_ARRAY_DESCRIPTOR){ a->desc.Width, a->desc.Height, a->desc.Format,
						 a->desc.NumChannels };
	return result;
}

CUresult cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1 *desc, CUarray array)
{
	struct vc_array *a;
	CUresult result = enter_array(array, desc, &a);

	if (!result)
		*desc = (CUDA_ARRAY_DESCRIPTOR_v1){ (unsigned int)a->desc.Width, (unsigned int)a->desc.Height,
						    a->desc.Format, a->desc.NumChannels };
	return result;
}

CUresult cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1 *desc, CUarray array)
{
	struct vc_array *a;
	CUresult result = enter_array(array, desc, &a);

	if (!result)
		*desc =
		    (CUDA_ARRAY3D_DESCRIPTOR_v1){ (unsigned int)a->desc.Width, (unsigned int)a->desc.Height,
						  (unsigned int)a->desc.Depth, a->desc.Format,
						  a->desc.NumChannels,	       a->desc.Flags };
	return result;
}

// There are no sparse arrays and none whose memory is mapped later, and of others these answer nothing.
CUresult cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties, CUarray array)
{
	struct vc_array *a;
	CUresult result = enter_array(array, properties, &a);

	return result ? result : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements, CUarray array,
				      CUdevice device)
{
	struct vc_array *a;
	CUresult result = enter_array(array, requirements, &a);

	if (result)
		return result;
	return device == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_DEVICE;
}

// ---- parts

// Asks the executor for a part of the whole, and what it is like.
typedef CUresult (*part_fn)(uint64_t whole, uint64_t part, unsigned int index, CUDA_ARRAY3D_DESCRIPTOR *ret);

static CUresult ask_plane(uint64_t whole, uint64_t part, unsigned int index, CUDA_ARRAY3D_DESCRIPTOR *ret)
{
	struct record_array_plane record = { .array = whole, .plane = part, .index = index };
	struct reply_array_plane r;
	CUresult result = (CUresult)vgpu_call_array_plane(vc_client, &record, &r);

	if (!result)
		*ret = (CUDA_ARRAY3D_DESCRIPTOR){ r.width,    r.height, r.depth, (CUarray_format)r.format,
						  r.channels, r.flags };
	return result;
}

static CUresult ask_level(uint64_t whole, uint64_t part, unsigned int index, CUDA_ARRAY3D_DESCRIPTOR *ret)
{
	struct record_mipmap_level record = { .mipmap = whole, .level = part, .index = index };
	struct reply_mipmap_level r;
	CUresult result = (CUresult)vgpu_call_mipmap_level(vc_client, &record, &r);

	if (!result)
		*ret = (CUDA_ARRAY3D_DESCRIPTOR){ r.width,    r.height, r.depth, (CUarray_format)r.format,
						  r.channels, r.flags };
	return result;
}

// The part of that number; the same one each time. Under the lock.
static CUresult part_locked(struct vc_array **parts, struct vc_context *ctx, uint64_t whole, part_fn ask,
			    unsigned int index, CUarray *ret)
{
	struct vc_array *a = *parts;
	CUresult result;

	while (a && a->index != index)
		a = a->next;
	if (!a) {
		a = vc_object_new(VC_ARRAY);
		if (!a)
			return CUDA_ERROR_OUT_OF_MEMORY;
		result = ask(whole, vc_object_handle(VC_ARRAY, a), index, &a->desc);
		if (result) {
			vc_object_free(VC_ARRAY, a);
			return result;
		}
		a->ctx = ctx;
		a->is_part = 1;
		a->index = index;
		a->parts = NULL;
		a->next = *parts;
		*parts = a;
		vc_object_publish(VC_ARRAY, a);
	}
	*ret = (CUarray)(uintptr_t)vc_object_handle(VC_ARRAY, a);
	return CUDA_SUCCESS;
}

static CUresult part_get(struct vc_array **parts, struct vc_context *ctx, uint64_t whole, part_fn ask,
			 unsigned int index, CUarray *ret)
{
	CUresult result;

	pthread_mutex_lock(&lock);
	result = part_locked(parts, ctx, whole, ask, index, ret);
	pthread_mutex_unlock(&lock);
	return result;
}

static void parts_free(struct vc_array *parts)
{
	while (parts) {
		struct vc_array *next = parts->next;

		vc_object_free(VC_ARRAY, parts);
		parts = next;
	}
}

CUresult cuArrayGetPlane(CUarray *plane, CUarray array, unsigned int index)
{
	struct vc_array *a;
	CUresult result = enter_array(array, plane, &a);

	if (result)
		return result;
	if (a->is_part || !array_format_is_video((uint32_t)a->desc.Format))
		return CUDA_ERROR_INVALID_VALUE;
	return part_get(&a->parts, a->ctx, (uint64_t)(uintptr_t)array, ask_plane, index, plane);
}

// ---- mipmapped arrays

static CUresult enter_mipmap(CUmipmappedArray mipmap, const void *out, struct vc_mipmap **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	*ret = vc_mipmap_find(mipmap);
	if (!*ret)
		return CUDA_ERROR_INVALID_HANDLE;
	return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult create_mipmap(struct vc_context *ctx, const CUDA_ARRAY3D_DESCRIPTOR *d, unsigned int levels,
			      CUmipmappedArray *ret)
{
	struct array_shape shape = shape_of(d, levels);
	struct record_mipmap_create record = { .width = d->Width,
					       .height = d->Height,
					       .depth = d->Depth,
					       .format = (uint32_t)d->Format,
					       .channels = d->NumChannels,
					       .flags = d->Flags };
	struct reply_mipmap_create reply;
	struct vc_mipmap *m;
	CUresult result;

	if (!levels) // as few, or as many, as there can be
		shape.levels = 1;
	if (levels > array_max_levels(&shape))
		shape.levels = array_max_levels(&shape);
	if (!shape.levels || !array_shape_valid(&shape))
		return CUDA_ERROR_INVALID_VALUE;
	m = vc_object_new(VC_MIPMAP);
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record.levels = shape.levels;
	record.mipmap = vc_object_handle(VC_MIPMAP, m);
	result = (CUresult)vgpu_call_mipmap_create(vc_client, &record, &reply);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && vc_pools_give_up())
		result = (CUresult)vgpu_call_mipmap_create(vc_client, &record, &reply);
	if (result) {
		vc_object_free(VC_MIPMAP, m);
		return result;
	}
	m->ctx = ctx;
	m->levels = shape.levels;
	m->parts = NULL;
	vc_object_publish(VC_MIPMAP, m);
	*ret = (CUmipmappedArray)(uintptr_t)record.mipmap;
	return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *desc,
				unsigned int levels)
{
	struct vc_context *ctx;
	CUresult result = enter_create(&ctx);

	if (result)
		return result;
	return mipmap && desc ? create_mipmap(ctx, desc, levels, mipmap) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMipmappedArrayGetLevel(CUarray *level, CUmipmappedArray mipmap, unsigned int index)
{
	struct vc_mipmap *m;
	CUresult result = enter_mipmap(mipmap, level, &m);

	if (result)
		return result;
	if (index >= m->levels)
		return CUDA_ERROR_INVALID_VALUE;
	return part_get(&m->parts, m->ctx, (uint64_t)(uintptr_t)mipmap, ask_level, index, level);
}

CUresult cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
					     CUmipmappedArray mipmap)
{
	struct vc_mipmap *m;
	CUresult result = enter_mipmap(mipmap, properties, &m);

	return result ? result : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
					       CUmipmappedArray mipmap, CUdevice device)
{
	struct vc_mipmap *m;
	CUresult result = enter_mipmap(mipmap, requirements, &m);

	if (result)
		return result;
	return device == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_DEVICE;
}

// ---- the end

static void destroy_array(struct vc_array *a)
{
	struct record_array_destroy record = { .array = vc_object_handle(VC_ARRAY, a) };

	pthread_mutex_lock(&lock);
	parts_free(a->parts);
	a->parts = NULL;
	pthread_mutex_unlock(&lock);
	vgpu_push_array_destroy(vc_client, &record);
	vc_object_free(VC_ARRAY, a);
}

static void destroy_mipmap(struct vc_mipmap *m)
{
	struct record_mipmap_destroy record = { .mipmap = vc_object_handle(VC_MIPMAP, m) };

	pthread_mutex_lock(&lock);
	parts_free(m->parts);
	m->parts = NULL;
	pthread_mutex_unlock(&lock);
	vgpu_push_mipmap_destroy(vc_client, &record);
	vc_object_free(VC_MIPMAP, m);
}

CUresult cuArrayDestroy(CUarray array)
{
	struct vc_array *a;
	CUresult result = enter_array(array, &a, &a);

	if (result)
		return result;
	if (a->is_part || !vc_object_claim(a, (uint64_t)(uintptr_t)array))
		return CUDA_ERROR_INVALID_HANDLE;
	destroy_array(a);
	return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray mipmap)
{
	struct vc_mipmap *m;
	CUresult result = enter_mipmap(mipmap, &m, &m);

	if (result)
		return result;
	if (!vc_object_claim(m, (uint64_t)(uintptr_t)mipmap))
		return CUDA_ERROR_INVALID_HANDLE;
	destroy_mipmap(m);
	return CUDA_SUCCESS;
}

static void release_array(void *object, void *arg)
{
	struct vc_array *a = object;

	if (a->ctx == arg && !a->is_part)
		destroy_array(a);
}

static void release_mipmap(void *object, void *arg)
{
	struct vc_mipmap *m = object;

	if (m->ctx == arg)
		destroy_mipmap(m);
}

void vc_arrays_release(struct vc_context *ctx)
{
	vc_object_each(VC_MIPMAP, release_mipmap, ctx);
	vc_object_each(VC_ARRAY, release_array, ctx);
}
