// SPDX-License-Identifier: Apache-2.0
// executor/array.c, texture.c and the array side of copy.c: hostile descriptors, the quota, names that are
// gone, and which boxes reach the backend.
#include <errno.h>
#include <string.h>

#include "executor/objects.h"
#include "protocol/cuda/array_shape.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

static struct fixture *f;
static uint64_t dev; // 64 KiB
static uint32_t generation;

static int setup(void **state)
{
	(void)state;
	f = fixture_new(fake_backend());
	if (fixture_activate(f))
		return -1;
	dev = fixture_alloc(f, 65536);
	return !dev;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return 0;
}

static uint64_t name(uint8_t kind, uint32_t index)
{
	return handle_make(kind, ++generation, index);
}

static struct record_array_create floats(uint64_t width, uint64_t height, uint64_t depth, uint32_t flags)
{
	return (struct record_array_create){ .array = name(HANDLE_ARRAY, 1),
					     .width = width,
					     .height = height,
					     .depth = depth,
					     .format = CU_AD_FORMAT_FLOAT,
					     .channels = 1,
					     .flags = flags };
}

static int32_t create(const struct record_array_create *r)
{
	struct reply_array_create reply;

	return fixture_call(f, OPCODE_ARRAY_CREATE, r, sizeof(*r), NULL, 0, &reply, sizeof(reply));
}

static uint32_t destroy(uint64_t array)
{
	struct record_array_destroy r = { .array = array };

	PUSH(f, OPCODE_ARRAY_DESTROY, &r);
	assert_int_equal(fixture_run(f), 0);
	return fixture_deferred(f);
}

static uint64_t used(void)
{
	return atomic_load(&f->x.tenant->memory_used);
}

// ---- shapes

static void shapes_that_cannot_be(void **state)
{
	static const uint64_t bad[][4] = {
		{ 0, 0, 0, 0 },
		{ 0, 16, 0, 0 },
		{ 16, 0, 4, 0 },			   // depth without height
		{ 16, 0, 0, CUDA_ARRAY3D_LAYERED },	   // no layers
		{ 16, 8, 6, CUDA_ARRAY3D_CUBEMAP },	   // not square
		{ 16, 16, 5, CUDA_ARRAY3D_CUBEMAP },	   // five faces
		{ 16, 16, 12, CUDA_ARRAY3D_CUBEMAP },	   // two cubes without layers
		{ 16, 0, 0, CUDA_ARRAY3D_TEXTURE_GATHER }, // of one dimension
		{ UINT64_MAX, 0, 0, 0 },		   // bytes that do not fit 64 bits
		{ UINT64_MAX / 4, 1, 1, 0 },
		{ 1ull << 32, 1ull << 32, 0, 0 },
		{ 1ull << 22, 1ull << 21, 1ull << 21, 0 },
		{ 131073, 0, 0, 0 }, // more than the device has
		{ 16384, 16384, 16385, 0 },
		{ 16, 16, 2049, CUDA_ARRAY3D_LAYERED },
	};
	uint64_t before = used();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct record_array_create r = floats(bad[i][0], bad[i][1], bad[i][2], (uint32_t)bad[i][3]);

		assert_int_equal(create(&r), CUDA_ERROR_INVALID_VALUE);
		assert_null(handle_get(&f->x, HANDLE_ARRAY, r.array));
	}
	assert_int_equal(used(), before);
}

static void formats_that_cannot_be(void **state)
{
	static const uint32_t bad[][2] = {
		{ 0, 1 },
		{ CU_AD_FORMAT_FLOAT, 0 },
		{ CU_AD_FORMAT_FLOAT, 3 },
		{ CU_AD_FORMAT_FLOAT, UINT32_MAX },
		{ 0x7f, 1 },
		{ UINT32_MAX, 4 },
		{ CU_AD_FORMAT_UNORM_INT8X1 + 2, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct record_array_create r = floats(16, 16, 0, 0);

		r.format = bad[i][0];
		r.channels = bad[i][1];
		assert_int_equal(create(&r), CUDA_ERROR_INVALID_VALUE);
	}
}

static void memory_of_its_own_is_refused(void **state)
{
	struct record_array_create sparse = floats(16, 16, 0, CUDA_ARRAY3D_SPARSE),
				   deferred = floats(16, 16, 0, CUDA_ARRAY3D_DEFERRED_MAPPING);

	(void)state;
	assert_int_equal(create(&sparse), CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(create(&deferred), CUDA_ERROR_NOT_SUPPORTED);
}

static void bytes_of_shapes(void **state)
{
	struct array_shape s = { 7, 5, 3, CU_AD_FORMAT_HALF, 4, 0, 0 };
	uint64_t bytes;

	(void)state;
	assert_true(array_bytes(&s, &bytes));
	assert_int_equal(bytes, 7 * 5 * 3 * 8);
	s.levels = 3; // 7x5x3, 3x2x1, 1x1x1
	assert_true(array_bytes(&s, &bytes));
	assert_int_equal(bytes, (105 + 6 + 1) * 8);
	s.flags = CUDA_ARRAY3D_LAYERED; // layers stay
	assert_true(array_bytes(&s, &bytes));
	assert_int_equal(bytes, (35 + 6 + 1) * 3 * 8);
	s = (struct array_shape){ 9, 9, 0, CU_AD_FORMAT_BC1_UNORM, 4, 0, 0 }; // three blocks each way
	assert_true(array_bytes(&s, &bytes));
	assert_int_equal(bytes, 9 * 8);
	s.levels = array_max_levels(&s);
	assert_int_equal(s.levels, 4);
	assert_true(array_shape_valid(&s));
	s.levels++;
	assert_false(array_shape_valid(&s));
}

// ---- quota and life

static void the_quota_holds(void **state)
{
	struct record_array_create r = floats(4096, 256, 0, 0); // 4 MiB
	uint64_t before = used();

	(void)state;
	assert_int_equal(create(&r), CUDA_SUCCESS);
	assert_int_equal(used(), before + VGPU_MIB(4));
	atomic_store(&f->x.tenant->memory_quota, before + VGPU_MIB(8) - 1);
	r.array = name(HANDLE_ARRAY, 2);
	assert_int_equal(create(&r), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(used(), before + VGPU_MIB(4));
	atomic_store(&f->x.tenant->memory_quota, before + VGPU_MIB(8));
	assert_int_equal(create(&r), CUDA_SUCCESS);
	assert_int_equal(destroy(r.array), CUDA_SUCCESS);
	assert_int_equal(used(), before + VGPU_MIB(4));
	atomic_store(&f->x.tenant->memory_quota, 0);
}

static void a_reset_gives_all_back(void **state)
{
	struct record_array_create r = floats(64, 64, 0, CUDA_ARRAY3D_SURFACE_LDST);
	struct record_mipmap_create m = { .mipmap = name(HANDLE_MIPMAP, 0),
					  .width = 64,
					  .height = 64,
					  .format = CU_AD_FORMAT_FLOAT,
					  .channels = 1,
					  .levels = 7 };
	struct record_mipmap_level l = { .mipmap = m.mipmap, .level = name(HANDLE_ARRAY, 9), .index = 6 };
	struct record_surface_create s = { .surface = name(HANDLE_SURFACE, 3), .array = r.array };
	struct record_texture_create t = { .texture = name(HANDLE_TEXTURE, 3),
					   .mipmap = m.mipmap,
					   .source = TEXTURE_SOURCE_MIPMAP };
	struct reply_mipmap_level level;

	(void)state;
	assert_int_equal(create(&r), 0);
	assert_int_equal(fixture_call(f, OPCODE_MIPMAP_CREATE, &m, sizeof(m), NULL, 0, NULL, 0), 0);
	assert_int_equal(fixture_call(f, OPCODE_MIPMAP_LEVEL, &l, sizeof(l), NULL, 0, &level, sizeof(level)),
			 0);
	assert_int_equal(level.width, 1);
	assert_int_equal(fixture_call(f, OPCODE_SURFACE_CREATE, &s, sizeof(s), NULL, 0, NULL, 0), 0);
	assert_int_equal(fixture_call(f, OPCODE_TEXTURE_CREATE, &t, sizeof(t), NULL, 0, NULL, 0), 0);
	assert_int_equal(destroy(l.level), CUDA_ERROR_INVALID_HANDLE); // goes with its whole
	assert_int_equal(fixture_call(f, OPCODE_CONTEXT_RESET, NULL, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(used(), 0);
	assert_null(handle_get(&f->x, HANDLE_ARRAY, r.array));
	assert_null(handle_get(&f->x, HANDLE_ARRAY, l.level));
	assert_null(handle_get(&f->x, HANDLE_TEXTURE, t.texture));
	assert_null(handle_get(&f->x, HANDLE_SURFACE, s.surface));
}

static void levels_end_with_their_whole(void **state)
{
	struct record_mipmap_create m = { .mipmap = name(HANDLE_MIPMAP, 0),
					  .width = 16,
					  .format = CU_AD_FORMAT_FLOAT,
					  .channels = 1,
					  .levels = 5 };
	struct record_mipmap_level l = { .mipmap = m.mipmap, .level = name(HANDLE_ARRAY, 9), .index = 5 };
	struct record_mipmap_destroy end = { .mipmap = m.mipmap };

	(void)state;
	assert_int_equal(fixture_call(f, OPCODE_MIPMAP_CREATE, &m, sizeof(m), NULL, 0, NULL, 0), 0);
	assert_int_equal(fixture_call(f, OPCODE_MIPMAP_LEVEL, &l, sizeof(l), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_VALUE);
	l.index = 4;
	assert_int_equal(fixture_call(f, OPCODE_MIPMAP_LEVEL, &l, sizeof(l), NULL, 0, NULL, 0), 0);
	PUSH(f, OPCODE_MIPMAP_DESTROY, &end);
	assert_int_equal(fixture_run(f), 0);
	assert_null(handle_get(&f->x, HANDLE_ARRAY, l.level));
	assert_int_equal(destroy(l.level), CUDA_ERROR_INVALID_HANDLE);
	m.mipmap = name(HANDLE_MIPMAP, 0);
	m.levels = 6; // of 16
	assert_int_equal(fixture_call(f, OPCODE_MIPMAP_CREATE, &m, sizeof(m), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_VALUE);
}

// ---- copies

static uint32_t copied(struct record_copy_array r)
{
	uint64_t before = fake.copies;
	uint32_t result;

	PUSH(f, OPCODE_COPY_ARRAY, &r);
	assert_int_equal(fixture_run(f), 0);
	result = fixture_deferred(f);
	assert_int_equal(fake.copies, before + (result ? 0 : 1));
	return result;
}

// From dev into the array, a box of elements of 4 bytes.
static struct record_copy_array into(uint64_t array, uint64_t x, uint64_t y, uint64_t z, uint64_t width,
				     uint64_t height, uint64_t depth)
{
	return (struct record_copy_array){ .dst_array = array,
					   .src = dev,
					   .width = width,
					   .height = height,
					   .depth = depth,
					   .src_pitch = width,
					   .src_slice = width * height,
					   .dst_at = { x, y, z } };
}

static void boxes(void **state)
{
	struct record_array_create a = floats(16, 8, 4, 0);
	struct record_copy_array r;

	(void)state;
	assert_int_equal(create(&a), 0);
	assert_int_equal(copied(into(a.array, 0, 0, 0, 64, 8, 4)), 0);
	assert_int_equal(copied(into(a.array, 60, 7, 3, 4, 1, 1)), 0);
	assert_int_equal(copied(into(a.array, 0, 0, 0, 68, 1, 1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, 4, 0, 0, 64, 1, 1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, 0, 1, 0, 64, 8, 1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, 0, 0, 1, 64, 8, 4)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, UINT64_MAX - 3, 0, 0, 8, 1, 1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, 0, UINT64_MAX, 0, 64, 2, 1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, 0, 0, UINT64_MAX, 64, 1, 2)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(into(a.array, 2, 0, 0, 4, 1, 1)),
			 CUDA_ERROR_INVALID_VALUE); // half an element
	assert_int_equal(copied(into(a.array, 0, 0, 0, 6, 1, 1)), CUDA_ERROR_INVALID_VALUE);
	r = into(a.array, 0, 0, 0, 64, 8, 4);
	r.src = dev + 65536 - 64 * 8 * 4 + 1; // memory that ends one byte too early
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	r = into(a.array, 0, 0, 0, 64, 8, 4);
	r.dst = dev; // both at once
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	r = into(0, 0, 0, 0, 64, 1, 1); // no array at all
	r.dst = dev + 1024;
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	r = into(a.array, 0, 0, 0, 64, 1, 1);
	r.src_at[1] = 1; // memory has no rows of its own
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
}

static void between_arrays(void **state)
{
	struct record_array_create a = floats(16, 0, 0, 0), b = floats(16, 0, 0, 0);
	struct record_copy_array r = { .width = 32, .height = 1, .depth = 1 };

	(void)state;
	b.array = name(HANDLE_ARRAY, 2);
	b.channels = 2;
	assert_int_equal(create(&a), 0);
	assert_int_equal(create(&b), 0);
	r.dst_array = r.src_array = a.array;
	r.dst_at[0] = 32;
	assert_int_equal(copied(r), 0);
	r.src_array = b.array; // elements of another size
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	destroy(b.array);
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_HANDLE);
	r.src_array = name(HANDLE_ARRAY, 40); // never was
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_HANDLE);
	r.src_array = dev; // an address
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_HANDLE);
}

// Work in flight may use an array: it goes when that is done.
static void an_array_waits_for_work(void **state)
{
	struct record_array_create a = floats(16, 0, 0, 0);
	struct record_copy_array r = into(a.array, 0, 0, 0, 64, 1, 1);
	struct record_array_destroy end = { .array = a.array };

	(void)state;
	assert_int_equal(create(&a), 0);
	fake.async = true;
	PUSH(f, OPCODE_COPY_ARRAY, &r);
	PUSH(f, OPCODE_ARRAY_DESTROY, &end);
	assert_int_equal(fixture_run(f), 0);
	assert_non_null(handle_get(&f->x, HANDLE_ARRAY, a.array));
	fake.async = false;
	fake_step(UINT32_MAX);
	assert_int_equal(fixture_run(f), 0);
	assert_null(handle_get(&f->x, HANDLE_ARRAY, a.array));
}

// ---- textures and surfaces

static int32_t texture(struct record_texture_create r)
{
	struct reply_texture_create reply;

	r.texture = name(HANDLE_TEXTURE, generation);
	return fixture_call(f, OPCODE_TEXTURE_CREATE, &r, sizeof(r), NULL, 0, &reply, sizeof(reply));
}

static void textures_of_memory(void **state)
{
	struct record_texture_create r = { .source = TEXTURE_SOURCE_LINEAR,
					   .address = dev,
					   .format = CU_AD_FORMAT_FLOAT,
					   .channels = 4,
					   .size = 65536 };

	(void)state;
	assert_int_equal(texture(r), 0);
	r.size = 65536 + 16; // an element more than there is
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.size = 15; // none
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.size = UINT64_MAX;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.size = 64;
	r.address = 0;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.address = (uintptr_t)&r; // memory of the executor itself
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r = (struct record_texture_create){ .source = TEXTURE_SOURCE_PITCH2D,
					    .address = dev,
					    .format = CU_AD_FORMAT_FLOAT,
					    .channels = 1,
					    .width = 64,
					    .height = 128,
					    .pitch = 512 };
	assert_int_equal(texture(r), 0);
	r.height = 129;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.height = 128;
	r.pitch = 255; // rows that overlap
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.pitch = UINT64_MAX;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.pitch = 512;
	r.width = 1ull << 62;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.width = 64;
	r.filter = 2;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.filter = 0;
	r.address_modes[1] = 4;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
}

static void textures_of_arrays(void **state)
{
	struct record_array_create a = floats(16, 16, 0, 0);
	struct record_texture_create r = { .source = TEXTURE_SOURCE_ARRAY, .array = a.array };
	struct record_surface_create s = { .surface = name(HANDLE_SURFACE, 1), .array = a.array };

	(void)state;
	assert_int_equal(create(&a), 0);
	assert_int_equal(texture(r), 0);
	r.source = TEXTURE_SOURCE_LINEAR; // and an array
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.source = TEXTURE_SOURCE_MIPMAP;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	r.source = TEXTURE_SOURCE_ARRAY;
	r.array = 0;
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_VALUE);
	// An array that was not made for surfaces: as the driver has it.
	assert_int_equal(fixture_call(f, OPCODE_SURFACE_CREATE, &s, sizeof(s), NULL, 0, NULL, 0), 0);
	r.array = a.array;
	destroy(a.array);
	assert_int_equal(texture(r), CUDA_ERROR_INVALID_HANDLE);
	s.array = a.array;
	assert_int_equal(fixture_call(f, OPCODE_SURFACE_CREATE, &s, sizeof(s), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_HANDLE);
}

static void malformed_records_end_the_channel(void **state)
{
	struct record_array_create a = floats(16, 0, 0, 0x200); // no such flag

	(void)state;
	PUSH(f, OPCODE_ARRAY_CREATE, &a);
	assert_int_equal(fixture_run(f), -EPROTO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(shapes_that_cannot_be),
		TEST(formats_that_cannot_be),
		TEST(memory_of_its_own_is_refused),
		TEST(bytes_of_shapes),
		TEST(the_quota_holds),
		TEST(a_reset_gives_all_back),
		TEST(levels_end_with_their_whole),
		TEST(boxes),
		TEST(between_arrays),
		TEST(an_array_waits_for_work),
		TEST(textures_of_memory),
		TEST(textures_of_arrays),
		TEST(malformed_records_end_the_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
