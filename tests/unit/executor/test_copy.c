// SPDX-License-Identifier: Apache-2.0
// executor/copy.c: which ranges pass, above all those whose ends do not fit 64 bits.
#include <string.h>

#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

static struct fixture *f;
static uint64_t dev; // 64 KiB

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

// The deferred result of that copy.
static uint32_t copied(struct record_copy r)
{
	uint64_t before = fake.copies;
	uint32_t result;

	PUSH(f, OPCODE_COPY, &r);
	assert_int_equal(fixture_run(f), 0);
	result = fixture_deferred(f);
	assert_int_equal(fake.copies, before + (result ? 0 : 1));
	return result;
}

static struct record_copy plain(uint64_t dst, uint64_t src, uint64_t width)
{
	return (struct record_copy){ .dst = dst, .src = src, .width = width, .height = 1, .depth = 1 };
}

static void plain_copies(void **state)
{
	struct record_copy r;

	(void)state;
	assert_int_equal(copied(plain(dev, dev + 32768, 32768)), CUDA_SUCCESS);
	assert_int_equal(copied(plain(dev, dev + 32769, 32768)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(plain(dev + 1, dev, 65536)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(plain(dev, dev, UINT64_MAX)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(plain(dev + 100, dev + 100, UINT64_MAX - dev - 99)),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(plain(0, dev, 1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(copied(plain(UINT64_MAX, dev, 1)), CUDA_ERROR_INVALID_VALUE);
	r = plain(dev, VGPU_HOST_WINDOW_BASE, 4096); // the arena is host memory, not device memory
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	r.src_space = MEMORY_SPACE_HOST;
	assert_int_equal(copied(r), CUDA_SUCCESS);
	r.src += f->assign.geometry.arena_bytes - 4095;
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	r.src = (uintptr_t)&r; // memory of the executor itself
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	r.src = (uintptr_t)f->x.fences; // registered with the backend, but not the guest's to name
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
}

static void boxes(void **state)
{
	struct record_copy r = { .dst = dev,
				 .src = dev,
				 .width = 16,
				 .height = 8,
				 .depth = 4,
				 .dst_pitch = 32,
				 .src_pitch = 16,
				 .dst_slice = 256,
				 .src_slice = 128 };
	struct record_copy bad;

	(void)state;
	assert_int_equal(copied(r), CUDA_SUCCESS);
	bad = r;
	bad.src_pitch = 15; // rows overlap
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
	bad = r;
	bad.dst_slice = 7 * 32 + 15; // slices overlap
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
	bad = r;
	bad.dst = dev + 65536 - (3 * 256 + 7 * 32 + 16);
	assert_int_equal(copied(bad), CUDA_SUCCESS);
	bad.dst++;
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
	bad = r;
	bad.dst_slice = 1ull << 62; // times 3 does not fit
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
	bad.dst_slice = (UINT64_MAX - 300) / 3; // plus the last slice does not fit
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
	bad = r;
	bad.height = UINT64_MAX;
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
	bad = r;
	bad.depth = UINT64_MAX / 128 + 2; // wraps to a small span
	assert_int_equal(copied(bad), CUDA_ERROR_INVALID_VALUE);
}

static void spans(void **state)
{
	uint64_t n = 42;

	(void)state;
	assert_true(box_span(10, 1, 1, 0, 0, &n)); // pitches of what has one row do not count
	assert_int_equal(n, 10);
	assert_true(box_span(10, 3, 1, 12, 0, &n));
	assert_int_equal(n, 34);
	assert_true(box_span(10, 1, 5, 0, 10, &n));
	assert_int_equal(n, 50);
	assert_true(box_span(UINT64_MAX, 1, 1, 0, 0, &n));
	assert_int_equal(n, UINT64_MAX);
	assert_false(box_span(UINT64_MAX, 2, 1, UINT64_MAX, 0, &n));
	assert_false(box_span(2, 2, 1, UINT64_MAX, 0, &n));
	assert_false(box_span(0, 1, 1, 0, 0, &n));
	assert_false(box_span(1, 0, 1, 0, 0, &n));
	assert_false(box_span(1, 1, 0, 0, 0, &n));
}

static void empty_copies_do_nothing(void **state)
{
	struct record_copy r = plain(0, 0, 0);

	(void)state;
	PUSH(f, OPCODE_COPY, &r);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_SUCCESS);
	assert_int_equal(fake.copies, 0);
}

static uint32_t set(struct record_set r)
{
	PUSH(f, OPCODE_SET, &r);
	assert_int_equal(fixture_run(f), 0);
	return fixture_deferred(f);
}

static void sets(void **state)
{
	struct record_set r = { .dst = dev, .width = 16384, .height = 1, .element = 4 };
	uint64_t before = atomic_load(&f->x.turn->copy_bytes);

	(void)state;
	assert_int_equal(set(r), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&f->x.turn->copy_bytes), before + 65536);
	r.width++;
	assert_int_equal(set(r), CUDA_ERROR_INVALID_VALUE);
	r.width = 1ull << 62; // times 4 is 0
	assert_int_equal(set(r), CUDA_ERROR_INVALID_VALUE);
	r = (struct record_set){ .dst = dev + 2, .width = 1, .height = 1, .element = 4 };
	assert_int_equal(set(r), CUDA_ERROR_INVALID_VALUE);
	r.element = 2;
	assert_int_equal(set(r), CUDA_SUCCESS);
	r.element = 3;
	r.dst = dev;
	assert_int_equal(set(r), CUDA_ERROR_INVALID_VALUE);
	r = (struct record_set){ .dst = dev, .width = 8, .height = 4, .pitch = 18, .element = 4 };
	assert_int_equal(set(r), CUDA_ERROR_INVALID_VALUE);
}

static void writes(void **state)
{
	struct record_write r = { .dst = dev + 65536 - 100, .size = 100 };
	uint8_t bytes[101] = { 0 };

	(void)state;
	fixture_push(f, OPCODE_WRITE, REPLY_NONE, &r, sizeof(r), bytes, 100);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_SUCCESS);
	r.size = 101;
	fixture_push(f, OPCODE_WRITE, REPLY_NONE, &r, sizeof(r), bytes, 101);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE);
}

static void freed_memory_is_no_target(void **state)
{
	struct record_mem_free r = { .address = dev };

	(void)state;
	PUSH(f, OPCODE_MEM_FREE, &r);
	assert_int_equal(copied(plain(dev, dev, 1)), CUDA_ERROR_INVALID_VALUE);
	dev = fixture_alloc(f, 65536);
}

#define HOST (VGPU_HOST_WINDOW_BASE + VGPU_MIB(1))

static int32_t host_register(uint64_t address, uint64_t size, uint64_t offset)
{
	struct record_host_register r = { .address = address, .size = size, .offset = offset };

	return fixture_call(f, OPCODE_HOST_REGISTER, &r, sizeof(r), NULL, 0, NULL, 0);
}

static int32_t host_unregister(uint64_t address)
{
	struct record_host_unregister r = { .address = address };

	return fixture_call(f, OPCODE_HOST_UNREGISTER, &r, sizeof(r), NULL, 0, NULL, 0);
}

static void registered_ranges(void **state)
{
	const uint64_t own = 0x123456789000; // where a program might have it
	struct record_copy r = plain(dev, HOST, 4096);

	(void)state;
	r.src_space = MEMORY_SPACE_HOST;
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(HOST, 8192, VGPU_MIB(1)), CUDA_SUCCESS);
	assert_int_equal(copied(r), CUDA_SUCCESS);
	assert_int_equal(host_register(HOST + 4096, 8192, VGPU_MIB(1) + 4096),
			 CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	assert_int_equal(host_register(HOST - 4096, 8192, VGPU_MIB(1) - 4096),
			 CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	assert_int_equal(host_register(own, 4096, VGPU_MIB(1)), CUDA_SUCCESS);
	*(volatile uint32_t *)(uintptr_t)HOST = 4711; // the same part of the memfd
	assert_int_equal(*(volatile uint32_t *)(uintptr_t)own, 4711);
	r.src = own;
	assert_int_equal(copied(r), CUDA_SUCCESS);
	assert_int_equal(host_unregister(own), CUDA_SUCCESS);
	assert_int_equal(copied(r), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_unregister(own), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	assert_int_equal(host_unregister(VGPU_HOST_WINDOW_BASE),
			 CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED); // the arena
}

static void ranges_that_cannot_be(void **state)
{
	static int mine;
	const uint64_t here = (uintptr_t)&mine & ~4095ull, end = f->assign.geometry.host_window_bytes;

	(void)state;
	assert_int_equal(host_register(here, 4096, 0), CUDA_ERROR_OUT_OF_MEMORY); // taken in this process
	assert_int_equal(host_register(HOST, 0, VGPU_MIB(1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(HOST + 1, 4096, VGPU_MIB(1) + 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(HOST, 4095, VGPU_MIB(1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(VGPU_HOST_WINDOW_BASE + end, 4096, end), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(HOST, end, VGPU_MIB(1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(HOST, 0ull - 4096, VGPU_MIB(1)), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(HOST, 4096, VGPU_MIB(2)),
			 CUDA_ERROR_INVALID_VALUE); // in the window, elsewhere
	assert_int_equal(host_register(VGPU_DEVICE_WINDOW_BASE, 4096, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(VGPU_SCRATCH_WINDOW_BASE, 4096, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(VGPU_SCRATCH_WINDOW_BASE - 4096, 8192, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(0, 4096, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(0x7ffffffff000, 4096, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(host_register(0xfffffffffffff000, 4096, 0), CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(boxes, setup, teardown),
		cmocka_unit_test_setup_teardown(spans, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_copies_do_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(sets, setup, teardown),
		cmocka_unit_test_setup_teardown(writes, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_memory_is_no_target, setup, teardown),
		cmocka_unit_test_setup_teardown(registered_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges_that_cannot_be, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
