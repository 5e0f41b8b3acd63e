// SPDX-License-Identifier: Apache-2.0
// Arrays, textures and surfaces in the guest: what travels, what is answered here, what ends with what.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

static CUcontext ctx;

static int set_up(void **state)
{
	(void)state;
	return cuInit(0) || cuCtxCreate_v2(&ctx, 0, 0);
}

static CUarray array_new(size_t width, size_t height, size_t depth, unsigned int flags)
{
	CUDA_ARRAY3D_DESCRIPTOR d = { width, height, depth, CU_AD_FORMAT_FLOAT, 2, flags };
	CUarray a = NULL;

	assert_int_equal(cuArray3DCreate_v2(&a, &d), 0);
	return a;
}

static void descriptors_are_answered_here(void **state)
{
	CUarray a = array_new(100, 50, 7, CUDA_ARRAY3D_SURFACE_LDST);
	CUDA_ARRAY3D_DESCRIPTOR d;
	CUDA_ARRAY_DESCRIPTOR plain;
	CUDA_ARRAY_DESCRIPTOR_v1 old;
	CUDA_ARRAY3D_DESCRIPTOR_v1 old_3d;
	uint32_t calls = 0;

	(void)state;
	fake_reset();
	assert_int_equal(cuArray3DGetDescriptor_v2(&d, a), 0);
	assert_true(d.Width == 100 && d.Height == 50 && d.Depth == 7 && d.NumChannels == 2);
	assert_int_equal(d.Flags, CUDA_ARRAY3D_SURFACE_LDST);
	assert_int_equal(cuArrayGetDescriptor_v2(&plain, a), 0);
	assert_true(plain.Width == 100 && plain.Height == 50 && plain.Format == CU_AD_FORMAT_FLOAT);
	assert_int_equal(cuArrayGetDescriptor(&old, a), 0);
	assert_true(old.Width == 100 && old.Height == 50 && old.NumChannels == 2);
	assert_int_equal(cuArray3DGetDescriptor(&old_3d, a), 0);
	assert_true(old_3d.Depth == 7 && old_3d.Flags == CUDA_ARRAY3D_SURFACE_LDST);
	assert_int_equal(cuArray3DGetDescriptor_v2(NULL, a), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuArray3DGetDescriptor_v2(&d, NULL), CUDA_ERROR_INVALID_HANDLE);
	for (unsigned i = 0; i < OPCODE_COUNT; i++)
		calls += fake.counts[i];
	assert_int_equal(calls, 0);
	assert_int_equal(cuArrayDestroy(a), 0);
	assert_int_equal(fake.counts[OPCODE_ARRAY_DESTROY], 1);
	assert_int_equal(cuArrayDestroy(a), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuArray3DGetDescriptor_v2(&d, a), CUDA_ERROR_INVALID_HANDLE);
}

static void the_old_forms_are_wide_inside(void **state)
{
	CUDA_ARRAY_DESCRIPTOR_v1 old = { 64, 32, CU_AD_FORMAT_UNSIGNED_INT8, 4 };
	CUDA_ARRAY3D_DESCRIPTOR_v1 old_3d = { 64, 32, 3, CU_AD_FORMAT_HALF, 1, CUDA_ARRAY3D_LAYERED };
	CUDA_ARRAY3D_DESCRIPTOR d;
	CUarray a;

	(void)state;
	assert_int_equal(cuArrayCreate(&a, &old), 0);
	assert_int_equal(cuArray3DGetDescriptor_v2(&d, a), 0);
	assert_true(d.Width == 64 && d.Height == 32 && !d.Depth && d.NumChannels == 4 && !d.Flags);
	assert_int_equal(cuArrayDestroy(a), 0);
	assert_int_equal(cuArray3DCreate(&a, &old_3d), 0);
	assert_int_equal(cuArray3DGetDescriptor_v2(&d, a), 0);
	assert_true(d.Depth == 3 && d.Format == CU_AD_FORMAT_HALF && d.Flags == CUDA_ARRAY3D_LAYERED);
	assert_int_equal(cuArrayDestroy(a), 0);
	assert_int_equal(cuArrayCreate(&a, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void a_refusal_makes_nothing(void **state)
{
	CUDA_ARRAY3D_DESCRIPTOR d = { 16, 0, 4, CU_AD_FORMAT_FLOAT, 1, 0 };
	CUarray a = (CUarray)(uintptr_t)0x77;

	(void)state;
	fake_reset();
	assert_int_equal(cuArray3DCreate_v2(&a, &d), CUDA_ERROR_INVALID_VALUE); // seen here
	assert_int_equal(fake.counts[OPCODE_ARRAY_CREATE], 0);
	d.Height = 4;
	fake.fail_opcode = OPCODE_ARRAY_CREATE;
	fake.fail_result = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(cuArray3DCreate_v2(&a, &d), CUDA_ERROR_OUT_OF_MEMORY);
	assert_true(a == (CUarray)(uintptr_t)0x77);
	fake_reset();
}

static void boxes_are_checked_here(void **state)
{
	CUarray a = array_new(16, 8, 0, 0);
	static char bytes[16 * 8 * 8];
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			    .srcHost = bytes,
			    .srcPitch = 128,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			    .dstArray = a,
			    .WidthInBytes = 128,
			    .Height = 8 };

	(void)state;
	fake_reset();
	assert_int_equal(cuMemcpy2D_v2(&c), 0);
	assert_int_equal(fake.counts[OPCODE_COPY_ARRAY], 1);
	assert_int_equal(fake.counts[OPCODE_WRITE], 0); // arrays take no inline bytes
	c.dstXInBytes = 8;
	assert_int_equal(cuMemcpy2D_v2(&c), CUDA_ERROR_INVALID_VALUE);
	c.dstXInBytes = 0;
	c.dstY = SIZE_MAX;
	assert_int_equal(cuMemcpy2D_v2(&c), CUDA_ERROR_INVALID_VALUE);
	c.dstY = 0;
	c.WidthInBytes = 12; // an element and a half
	assert_int_equal(cuMemcpy2D_v2(&c), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyHtoA_v2(a, 120, bytes, 16), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyHtoA_v2(a, SIZE_MAX - 7, bytes, 16), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_COPY_ARRAY], 1);
	assert_int_equal(cuArrayDestroy(a), 0);
	c.WidthInBytes = 128;
	assert_int_equal(cuMemcpy2D_v2(&c), CUDA_ERROR_INVALID_HANDLE);
}

static void levels_are_the_same_each_time(void **state)
{
	CUDA_ARRAY3D_DESCRIPTOR d = { 64, 64, 0, CU_AD_FORMAT_FLOAT, 1, 0 };
	CUmipmappedArray m;
	CUarray first, again, other;

	(void)state;
	assert_int_equal(cuMipmappedArrayCreate(&m, &d, 99), 0); // 7 at most
	fake_reset();
	assert_int_equal(cuMipmappedArrayGetLevel(&first, m, 6), 0);
	assert_int_equal(cuMipmappedArrayGetLevel(&again, m, 6), 0);
	assert_int_equal(cuMipmappedArrayGetLevel(&other, m, 0), 0);
	assert_int_equal(cuMipmappedArrayGetLevel(&other, m, 7), CUDA_ERROR_INVALID_VALUE);
	assert_true(first == again && first != other);
	assert_int_equal(fake.counts[OPCODE_MIPMAP_LEVEL], 2);
	assert_int_equal(cuArrayDestroy(first), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuMipmappedArrayDestroy(m), 0);
	assert_int_equal(cuArray3DGetDescriptor_v2(&d, first), CUDA_ERROR_INVALID_HANDLE);
}

static void values_are_the_executors(void **state)
{
	CUarray a = array_new(16, 16, 0, CUDA_ARRAY3D_SURFACE_LDST);
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY }, told;
	CUDA_TEXTURE_DESC desc = { .filterMode = CU_TR_FILTER_MODE_LINEAR, .flags = CU_TRSF_SRGB }, told_desc;
	CUDA_RESOURCE_VIEW_DESC view = { .width = 16, .height = 16 }, told_view = { .width = 4711 };
	CUtexObject t, u;
	CUsurfObject s;

	(void)state;
	r.res.array.hArray = a;
	assert_int_equal(cuTexObjectCreate(&t, &r, &desc, NULL), 0);
	assert_int_equal(cuTexObjectCreate(&u, &r, &desc, &view), 0);
	assert_true(t == fake.last_object - 1 && u == fake.last_object);
	assert_int_equal(fake.texture.array, (uint64_t)(uintptr_t)a);
	assert_int_equal(fake.texture.has_view, 1);
	assert_int_equal(fake.texture.view_height, 16);
	assert_int_equal(fake.texture.flags, CU_TRSF_SRGB);
	assert_int_equal(cuTexObjectGetResourceDesc(&told, t), 0);
	assert_true(told.res.array.hArray == a);
	assert_int_equal(cuTexObjectGetTextureDesc(&told_desc, t), 0);
	assert_memory_equal(&told_desc, &desc, sizeof(desc));
	assert_int_equal(cuTexObjectGetResourceViewDesc(&told_view, t), 0);
	assert_int_equal(told_view.width, 4711); // it has none
	assert_int_equal(cuTexObjectGetResourceViewDesc(&told_view, u), 0);
	assert_int_equal(told_view.width, 16);
	assert_int_equal(cuSurfObjectCreate(&s, &r), 0);
	assert_int_equal(cuSurfObjectGetResourceDesc(&told, s), 0);
	assert_int_equal(cuSurfObjectDestroy(t), CUDA_ERROR_INVALID_VALUE); // a texture's
	assert_int_equal(cuTexObjectDestroy(s), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuTexObjectDestroy(t), 0);
	assert_int_equal(cuTexObjectDestroy(t), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuTexObjectDestroy(u), 0);
	assert_int_equal(cuSurfObjectDestroy(s), 0);
	assert_int_equal(cuArrayDestroy(a), 0);
	assert_int_equal(cuTexObjectCreate(&t, &r, &desc, NULL), CUDA_ERROR_INVALID_VALUE);
	desc.addressMode[2] = -1;
	assert_int_equal(cuTexObjectCreate(&t, &r, &desc, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void a_context_takes_its_objects_along(void **state)
{
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY };
	CUDA_ARRAY3D_DESCRIPTOR d = { 8, 8, 0, CU_AD_FORMAT_FLOAT, 1, 0 };
	CUDA_TEXTURE_DESC desc = { 0 };
	CUmipmappedArray m;
	CUarray mine = array_new(8, 0, 0, 0), level;
	CUcontext other;
	CUtexObject t;
	CUsurfObject s;

	(void)state;
	assert_int_equal(cuCtxCreate_v2(&other, 0, 0), 0);
	r.res.array.hArray = array_new(8, 8, 0, CUDA_ARRAY3D_SURFACE_LDST);
	assert_int_equal(cuTexObjectCreate(&t, &r, &desc, NULL), 0);
	assert_int_equal(cuSurfObjectCreate(&s, &r), 0);
	assert_int_equal(cuMipmappedArrayCreate(&m, &d, 3), 0);
	assert_int_equal(cuMipmappedArrayGetLevel(&level, m, 1), 0);
	fake_reset();
	assert_int_equal(cuCtxDestroy_v2(other), 0);
	assert_int_equal(fake.counts[OPCODE_TEXTURE_DESTROY], 1);
	assert_int_equal(fake.counts[OPCODE_SURFACE_DESTROY], 1);
	assert_int_equal(fake.counts[OPCODE_MIPMAP_DESTROY], 1);
	assert_int_equal(fake.counts[OPCODE_ARRAY_DESTROY], 1);
	assert_int_equal(cuCtxSetCurrent(ctx), 0);
	assert_int_equal(cuTexObjectDestroy(t), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuArrayDestroy(level), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuArrayDestroy(mine), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_are_answered_here),
		cmocka_unit_test(the_old_forms_are_wide_inside),
		cmocka_unit_test(a_refusal_makes_nothing),
		cmocka_unit_test(boxes_are_checked_here),
		cmocka_unit_test(levels_are_the_same_each_time),
		cmocka_unit_test(values_are_the_executors),
		cmocka_unit_test(a_context_takes_its_objects_along),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
