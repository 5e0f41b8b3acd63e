// SPDX-License-Identifier: Apache-2.0
/*
 * Texture and surface instructions: every form against hand-computed texels, and what hostile kernels do with
 * objects that are none. Filtering and addressing as a whole are e2e's (textures.c), on GPUs too.
 */
#include "tests/unit/ptx/ptx_test.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "executor/backends/cpu/ptx/ptx_texture.h"

static struct ptx_module *m;

// k(object, out, in): out gets what the body leaves in %r0..%r3.
#define KERNEL(body)                                                                                       \
	HEAD ".entry k(.param .u64 p0, .param .u64 p1, .param .u64 p2) {\n"                                \
	     ".reg .b64 %t, %o, %i; .reg .b32 %r<8>; .reg .f32 %f<8>; .reg .b16 %h<4>; .reg .b64 %w<4>;\n" \
	     "ld.param.u64 %t, [p0]; ld.param.u64 %o, [p1]; ld.param.u64 %i, [p2];\n"                      \
	     "ld.global.v4.f32 {%f4, %f5, %f6, %f7}, [%i]; ld.global.v4.u32 {%r4, %r5, %r6, %r7}, "        \
	     "[%i];\n" body "\nst.global.v4.u32 [%o], {%r0, %r1, %r2, %r3};\nret;\n}\n"

static float *texels; // 8 x 4 x 2 of one float: x + 10 y + 100 z
static uint64_t object;

static int before(void **state)
{
	(void)state;
	texels = dev_alloc(64 * sizeof(float));
	for (int i = 0; i < 64; i++)
		texels[i] = (float)(i % 8 + i / 8 % 4 * 10 + i / 32 * 100);
	return 0;
}

static int after(void **state)
{
	(void)state;
	ptx_texture_remove(object);
	object = 0;
	ptx_module_free(m);
	m = NULL;
	dev_free_all();
	return 0;
}

static struct ptx_texture shape(unsigned dims, unsigned layers)
{
	struct ptx_texture t = { .dims = (uint8_t)dims,
				 .layers = layers,
				 .n_levels = 1,
				 .channel = CHANNEL_F32,
				 .channels = 1,
				 .element = 4,
				 .modes = { ADDRESS_CLAMP, ADDRESS_CLAMP, ADDRESS_CLAMP } };

	t.levels[0] = (struct ptx_level){ .address = P(texels),
					  .pitch = 32,
					  .slice = layers && dims == 1 ? 32 : 128,
					  .width = 8,
					  .height = dims > 1 ? 4 : 1,
					  .depth = dims > 2 ? 2 : 1 };
	return t;
}

static void make(struct ptx_texture t)
{
	ptx_texture_remove(object);
	object = ptx_texture_add(&t);
	assert_true(object != 0);
}

// Runs the body with four words of input; the words that it leaves.
static const uint32_t *run(const char *text, const void *in)
{
	static uint32_t out[4];
	uint32_t *to = dev_alloc(16), *from = dev_alloc(16);

	ptx_module_free(m);
	m = load(text);
	memcpy(from, in, 16);
	RUN(m, "k", SHAPE(1, 1), object, P(to), P(from));
	memcpy(out, to, 16);
	return out;
}

static float fetched(const char *text, const void *in)
{
	float v;

	memcpy(&v, run(text, in), 4);
	return v;
}

#define F4(...) ((const float[4]){ __VA_ARGS__ })
#define I4(...) ((const int[4]){ __VA_ARGS__ })

static void every_geometry(void **state)
{
	(void)state;
	make(shape(1, 0));
	assert_true(fetched(KERNEL("tex.1d.v4.f32.f32 {%r0, %r1, %r2, %r3}, [%t, {%f4}];"), F4(3.9f)) == 3);
	assert_true(fetched(KERNEL("tex.1d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4}];"), I4(7)) == 7);
	assert_true(fetched(KERNEL("tex.1d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, %r4];"), I4(-3)) == 0);
	make(shape(2, 0));
	assert_true(fetched(KERNEL("tex.2d.v4.f32.f32 {%r0, %r1, %r2, %r3}, [%t, {%f4, %f5}];"), F4(2, 3)) ==
		    32);
	assert_true(fetched(KERNEL("tex.2d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4, %r5}];"), I4(9, -1)) ==
		    7);
	make(shape(3, 0));
	assert_true(fetched(KERNEL("tex.3d.v4.f32.f32 {%r0, %r1, %r2, %r3}, [%t, {%f4, %f5, %f6, %f6}];"),
			    F4(1, 2, 1.5f)) == 121);
	assert_true(fetched(KERNEL("tex.3d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4, %r5, %r6, %r7}];"),
			    I4(5, 0, 1)) == 105);
	make(shape(1, 8));
	assert_true(fetched(KERNEL("tex.a1d.v4.f32.f32 {%r0, %r1, %r2, %r3}, [%t, {%r4, %f5}];"),
			    (const uint32_t[4]){ 3, 0x40800000 /* 4.0 */ }) == 34);
	make(shape(2, 2));
	assert_true(fetched(KERNEL("tex.a2d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4, %r5, %r6, %r7}];"),
			    I4(1, 6, 2)) == 126);
	assert_true(fetched(KERNEL("tex.a2d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4, %r5, %r6, %r7}];"),
			    I4(99, 0, 0)) == 100); // the last layer
}

static void coordinates_that_are_no_numbers(void **state)
{
	const uint32_t strange[] = { 0x7fc00000, 0x7f800000, 0xff800000, 0x7f7fffff, 0xff7fffff, 0xffffffff };

	(void)state;
	for (unsigned form = 0; form < 32; form++) {
		struct ptx_texture t = shape(2, 0);

		t.linear = form & 1;
		t.normalized = form & 2;
		t.modes[0] = t.modes[1] = (uint8_t)(form >> 2 & 3);
		make(t);
		for (unsigned i = 0; i < 6; i++) {
			const uint32_t in[4] = { strange[i], strange[(i + form) % 6] };
			// Anything may come, but from the texture or its border.
			fetched(KERNEL("tex.2d.v4.f32.f32 {%r0, %r1, %r2, %r3}, [%t, {%f4, %f5}];"), in);
		}
	}
}

static void formats(void **state)
{
	static const struct {
		enum ptx_channel channel;
		uint8_t bytes;
		uint32_t raw;
		bool integer;
		uint32_t bits;
	} cases[] = {
		{ CHANNEL_U8, 1, 0xff, false, 0x3f800000 },
		{ CHANNEL_S8, 1, 0x80, false, 0xbf800000 },
		{ CHANNEL_S8, 1, 0x81, false, 0xbf800000 },
		{ CHANNEL_U16, 2, 0xffff, false, 0x3f800000 },
		{ CHANNEL_S16, 2, 0x8000, false, 0xbf800000 },
		{ CHANNEL_U8, 1, 0xfe, true, 0xfe },
		{ CHANNEL_S8, 1, 0xfe, true, 0xfffffffe },
		{ CHANNEL_S16, 2, 0x8001, true, 0xffff8001 },
		{ CHANNEL_U32, 4, 0x89abcdef, true, 0x89abcdef },
		{ CHANNEL_F16, 2, 0x3c00, false, 0x3f800000 },
		{ CHANNEL_F16, 2, 0x0001, false, 0x33800000 },
		{ CHANNEL_F16, 2, 0xfc00, false, 0xff800000 },
		{ CHANNEL_F16, 2, 0x7e00, false, 0x7fc00000 },
	};
	uint8_t *memory = dev_alloc(16);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ptx_texture t = shape(1, 0);

		memcpy(memory, &cases[i].raw, cases[i].bytes);
		t.channel = cases[i].channel;
		t.element = cases[i].bytes;
		t.integer = cases[i].integer;
		t.levels[0].width = 1;
		t.levels[0].address = P(memory);
		make(t);
		assert_int_equal(
		    run(KERNEL("tex.1d.v4.u32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4}];"), I4(0))[0],
		    cases[i].bits);
	}
}

static void queries(void **state)
{
	struct ptx_texture t = shape(3, 0);
	const uint32_t *got;

	(void)state;
	t.n_levels = 3;
	t.normalized = true;
	make(t);
	got = run(KERNEL("txq.width.b32 %r0, [%t]; txq.height.b32 %r1, [%t]; txq.depth.b32 %r2, [%t];"
			 "txq.num_mipmap_levels.b32 %r3, [%t];"),
		  I4(0));
	assert_true(got[0] == 8 && got[1] == 4 && got[2] == 2 && got[3] == 3);
	t = shape(2, 2);
	t.is_surface = true;
	make(t);
	got = run(KERNEL("suq.width.b32 %r0, [%t]; suq.height.b32 %r1, [%t]; suq.array_size.b32 %r2, [%t];"),
		  I4(0));
	assert_true(got[0] == 8 && got[1] == 4 && got[2] == 2);
}

static void surfaces(void **state)
{
	struct ptx_texture t = shape(2, 0);
	uint32_t *words = (uint32_t *)texels;

	(void)state;
	t.is_surface = true;
	make(t);
	run(KERNEL("sust.b.2d.v2.b32.trap [%t, {%r4, %r5}], {%r6, %r7};"), I4(8, 1, 111, 222));
	assert_int_equal(words[10], 111);
	assert_int_equal(words[11], 222);
	assert_int_equal(run(KERNEL("suld.b.2d.b32.trap {%r0}, [%t, {%r4, %r5}];"), I4(12, 1))[0], 222);
	assert_int_equal(
	    run(KERNEL("suld.b.2d.b8.trap {%h0}, [%t, {%r4, %r5}]; cvt.u32.u16 %r0, %h0;"), I4(8, 1))[0],
	    111);
	assert_int_equal(
	    run(KERNEL("suld.b.2d.v2.b64.trap {%w0, %w1}, [%t, {%r4, %r5}]; cvt.u32.u64 %r0, %w1;"),
		I4(0, 0))[0],
	    words[2]);
	assert_int_equal(
	    run(KERNEL("mov.u32 %r0, 7; suld.b.2d.b32.zero %r0, [%t, {%r4, %r5}];"), I4(32, 0))[0], 0);
	assert_int_equal(run(KERNEL("suld.b.2d.b32.clamp %r0, [%t, {%r4, %r5}];"), I4(-4, 9))[0], words[24]);
	words[31] = 5;
	run(KERNEL("sust.b.2d.b32.zero [%t, {%r4, %r5}], %r6;"), I4(28, 4, 99)); // outside: nothing
	assert_int_equal(words[31], 5);
	run(KERNEL("sured.b.add.2d.u32.trap [%t, {%r4, %r5}], %r6;"), I4(28, 3, 37));
	assert_int_equal(words[31], 42);
	run(KERNEL("sured.b.min.2d.s32.trap [%t, {%r4, %r5}], %r6;"), I4(28, 3, -1));
	assert_int_equal(words[31], UINT32_MAX);
	run(KERNEL("sured.b.min.2d.u32.trap [%t, {%r4, %r5}], %r6;"), I4(28, 3, 9));
	assert_int_equal(words[31], 9);
}

// ---- what is no object

static void expect_fault(const char *text, uint64_t value, const void *in, enum ptx_fault_kind kind)
{
	uint32_t *to = dev_alloc(16), *from = dev_alloc(16);
	struct ptx_module *ok = load(KERNEL("mov.u32 %r0, 42;"));

	ptx_module_free(m);
	m = load(text);
	memcpy(from, in, 16);
	assert_int_equal(launch(m, "k", SHAPE(4, 64), 3, (uint64_t[]){ value, P(to), P(from) }), -14);
	assert_int_equal(last_fault.kind, kind);
	assert_true(last_fault.text[0]);
	RUN(ok, "k", SHAPE(1, 1), 0, P(to), P(from)); // and the next one works
	assert_int_equal(*to, 42);
	ptx_module_free(ok);
}

#define TEX_1D	KERNEL("tex.1d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%t, {%r4}];")
#define SULD_2D KERNEL("suld.b.2d.b32.trap {%r0}, [%t, {%r4, %r5}];")

static void values_that_name_nothing(void **state)
{
	struct ptx_texture surface = shape(2, 0);
	uint64_t gone;

	(void)state;
	make(shape(1, 0));
	gone = object;
	expect_fault(TEX_1D, 0, I4(0), PTX_FAULT_ADDRESS);
	expect_fault(TEX_1D, UINT64_MAX, I4(0), PTX_FAULT_ADDRESS);
	expect_fault(TEX_1D, object + 1, I4(0), PTX_FAULT_ADDRESS);
	expect_fault(TEX_1D, object ^ 1ull << 40, I4(0), PTX_FAULT_ADDRESS);
	expect_fault(TEX_1D, (uint32_t)object, I4(0), PTX_FAULT_ADDRESS);
	expect_fault(SULD_2D, object, I4(0), PTX_FAULT_ADDRESS); // a texture
	expect_fault(KERNEL("txq.width.b32 %r0, [%t];"), 3, I4(0), PTX_FAULT_ADDRESS);
	surface.is_surface = true;
	make(surface); // what was before is gone
	assert_true(object != gone);
	expect_fault(TEX_1D, gone, I4(0), PTX_FAULT_ADDRESS);
	expect_fault(TEX_1D, object, I4(0), PTX_FAULT_ADDRESS);
	make(shape(2, 0));
	expect_fault(TEX_1D, object, I4(0), PTX_FAULT_ADDRESS); // of two dimensions
}

static void memory_that_is_gone(void **state)
{
	struct ptx_texture t = shape(1, 0);
	void *page = dev_alloc(8192);

	(void)state;
	t.levels[0].address = (P(page) + 4095) & ~4095ull;
	make(t);
	assert_int_equal(mprotect((void *)(uintptr_t)t.levels[0].address, 4096, PROT_NONE), 0);
	expect_fault(TEX_1D, object, I4(0), PTX_FAULT_ADDRESS);
	assert_int_equal(mprotect((void *)(uintptr_t)t.levels[0].address, 4096, PROT_READ | PROT_WRITE), 0);
}

static void outside_of_surfaces(void **state)
{
	struct ptx_texture t = shape(2, 0);

	(void)state;
	t.is_surface = true;
	make(t);
	expect_fault(SULD_2D, object, I4(32, 0), PTX_FAULT_TRAP);
	expect_fault(SULD_2D, object, I4(-4, 0), PTX_FAULT_TRAP);
	expect_fault(SULD_2D, object, I4(0, 4), PTX_FAULT_TRAP);
	expect_fault(SULD_2D, object, I4(0, INT32_MIN), PTX_FAULT_TRAP);
	expect_fault(SULD_2D, object, I4(2, 0), PTX_FAULT_MISALIGNED);
	expect_fault(KERNEL("suld.b.3d.b32.trap {%r0}, [%t, {%r4, %r5, %r6, %r7}];"), object, I4(0),
		     PTX_FAULT_ADDRESS);
}

static void refused(void **state)
{
#define BODY(text) \
	HEAD ".entry k() {\n.reg .b32 %r<8>; .reg .b64 %t, %s; .reg .f32 %f<4>;\n" text "\nret; }\n"
#define REFUSED(text, opcode, part) expect_refused(BODY(text), 6, opcode, part)
	(void)state;
	REFUSED("tex.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, %s, {%f0, %f1}];", "tex.2d", "samplers apart");
	REFUSED("tex.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0}];", "tex", "2 coordinates");
	REFUSED("tex.2d.v4.f32.f32 {%r0,%r1}, [%t, {%f0, %f1}];", "tex", "four channels");
	REFUSED("tex.2d.v4.f16x2.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0, %f1}];", "tex", "four channels");
	REFUSED("tex.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0, %f1}], {%r0, %r1};", "tex", "offsets");
	REFUSED("tex.level.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0, %f1}];", "tex", "levels");
	REFUSED("tex.grad.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0, %f1}], {%f0,%f1}, {%f0,%f1};",
		"tex.grad", "unsupported modifier .grad");
	REFUSED("tex.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%r0, {%f0, %f1}];", "tex", "64 bits");
	REFUSED("tex.2d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0, [%t, {%f0}]}];", "tex", "tensor addresses");
	REFUSED("tex.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0}];", "tex", "no geometry");
	REFUSED("tld4.r.3d.v4.f32.f32 {%r0,%r1,%r2,%r3}, [%t, {%f0,%f0,%f0,%f0}];", "tld4",
		"unsupported form");
	REFUSED("sust.p.2d.b32.trap [%t, {%r0, %r1}], {%r2};", "sust.p", "unsupported modifier .p");
	REFUSED("suld.2d.b32.trap {%r2}, [%t, {%r0, %r1}];", "suld", "accesses of bytes");
	REFUSED("sured.b.add.2d.b8.trap [%t, {%r0, %r1}], %r2;", "sured", "unsupported form");
	REFUSED("txq.channel_order.b32 %r0, [%t];", "txq", "unsupported modifier");
	REFUSED("suq.num_mipmap_levels.b32 %r0, [%t];", "suq", "unsupported query");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)
	const struct CMUnitTest tests[] = {
		TEST(every_geometry),
		TEST(coordinates_that_are_no_numbers),
		TEST(formats),
		TEST(queries),
		TEST(surfaces),
		TEST(values_that_name_nothing),
		TEST(memory_that_is_gone),
		TEST(outside_of_surfaces),
		TEST(refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx tex", tests, ptx_test_setup, ptx_test_teardown);
}
