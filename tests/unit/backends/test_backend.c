// SPDX-License-Identifier: Apache-2.0
// Drives a backend through its operations as an executor would: test_backend PATH-OF-MODULE. The same checks
// hold for every backend that executes work; 77 when its device is missing here. Cases that lose the context
// run in children (faults.c).
#include "tests/unit/backends/harness.h"

#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/backends/kernels.h"

static char **arguments;

static uint64_t at(const void *p)
{
	return (uintptr_t)p;
}

static void device_is_described(void **state)
{
	const int32_t *a = device_info.attributes;
	uint8_t none[16] = { 0 };

	(void)state;
	assert_int_equal(device_info.attribute_count, CU_DEVICE_ATTRIBUTE_COUNT);
	assert_true(device_info.name[0] && device_info.driver_version >= 12040);
	assert_true(device_info.total_memory >= VGPU_MIB(64));
	assert_memory_not_equal(device_info.uuid, none, sizeof(none));
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_WARP_SIZE], 32);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK], 1024);
	assert_true(a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] > 0);
	assert_true(a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] >= 7);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING], 1);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY], 0);
	assert_int_equal(a[103], 0);
	assert_int_equal(a[132], 0);
}

static void limits_are_set_and_answered(void **state)
{
	struct reply_context_activate again;
	uint64_t value = 0;

	(void)state;
	assert_int_equal(ops->limit_set(backend, CU_LIMIT_STACK_SIZE, 4096, &value), 0);
	assert_true(value >= 4096);
	assert_int_equal(ops->activate(backend, 0, &again), 0);
	assert_true(again.limit_valid & 1u << CU_LIMIT_STACK_SIZE);
	assert_int_equal(again.limits[CU_LIMIT_STACK_SIZE], value);
	assert_int_equal(again.api_version, 3020);
	assert_int_equal(ops->limit_set(backend, 15, 1, &value), CUDA_ERROR_INVALID_VALUE);
}

static void memory_is_mapped_and_given_back(void **state)
{
	uint64_t granule = ops->mem_granularity(backend), before, after, total;
	uint64_t address = VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(8), size = VGPU_MIB(64);

	(void)state;
	if (!granule)
		skip();
	assert_int_equal(granule & (granule - 1), 0);
	assert_int_equal(ops->mem_available(backend, &before, &total), 0);
	assert_int_equal(ops->mem_map(backend, address, size), 0);
	assert_int_equal(ops->mem_available(backend, &after, &total), 0);
	assert_true(after + size <= before);
	memset(host, 0x5a, 4096);
	assert_int_equal(harness_copy(address + size - 4096, true, at(host), false, 4096, NULL), 0);
	assert_int_equal(harness_copy(at(host) + 8192, false, address + size - 4096, true, 4096, NULL), 0);
	harness_sync();
	assert_memory_equal(host + 8192, host, 4096);
	assert_int_not_equal(ops->mem_unmap(backend, address, size / 2), 0);
	assert_int_equal(ops->mem_unmap(backend, address, size), 0);
	assert_int_equal(ops->mem_unmap(backend, address, size), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(ops->mem_available(backend, &after, &total), 0);
	assert_true(after + VGPU_MIB(2) >= before);
	// What it held must not come back.
	assert_int_equal(ops->mem_map(backend, address, size), 0);
	assert_int_equal(ops->mem_unmap(backend, address, size), 0);
}

static void too_much_memory_is_refused(void **state)
{
	uint64_t free_bytes, total, size, address;

	(void)state;
	assert_int_equal(ops->mem_available(backend, &free_bytes, &total), 0);
	size = (total + VGPU_GIB(1)) & ~(VGPU_MIB(2) - 1);
	if (ops->mem_granularity(backend))
		assert_int_equal(ops->mem_map(backend, VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(16), size),
				 CUDA_ERROR_OUT_OF_MEMORY);
	else
		assert_int_equal(ops->mem_alloc(backend, size, &address), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(ops->error(backend), 0);
}

static void lines_are_copied(void **state)
{
	char *back = host + VGPU_MIB(8), *third = host + VGPU_MIB(16);

	(void)state;
	for (unsigned i = 0; i < VGPU_MIB(4); i++)
		host[i] = (char)(i * 7 + (i >> 9));
	assert_int_equal(harness_copy(device, true, at(host), false, VGPU_MIB(4), NULL), 0);
	assert_int_equal(harness_copy(device + VGPU_MIB(4), true, device, true, VGPU_MIB(4), NULL), 0);
	assert_int_equal(harness_copy(at(back), false, device + VGPU_MIB(4), true, VGPU_MIB(4), NULL), 0);
	assert_int_equal(harness_copy(at(third), false, at(back), false, VGPU_MIB(4), NULL), 0);
	harness_sync();
	assert_memory_equal(host, back, VGPU_MIB(4));
	assert_memory_equal(host, third, VGPU_MIB(4));
	assert_int_equal(harness_copy(at(back), false, device + 3, true, 1, NULL), 0);
	harness_sync();
	assert_int_equal(back[0], host[3]);
}

// Through the device and back with different pitches on each side; what lies between the rows stays.
static void planes_and_volumes_are_copied(void **state)
{
	const uint64_t width = 200, height = 30, depth = 5;
	char *back = host + VGPU_MIB(8);
	struct backend_copy in = {
		.dst = device,
		.src = at(host),
		.width = width,
		.height = height,
		.depth = depth,
		.dst_pitch = 512,
		.dst_slice = 512 * 32,
		.src_pitch = 256,
		.src_slice = 256 * 40,
		.dst_device = true,
	};
	struct backend_copy out = in;

	(void)state;
	for (unsigned i = 0; i < 256 * 40 * 5; i++)
		host[i] = (char)(i ^ (i >> 8));
	memset(back, 0x11, VGPU_MIB(1));
	out.src = device;
	out.src_pitch = 512;
	out.src_slice = 512 * 32;
	out.src_device = true;
	out.dst = at(back);
	out.dst_pitch = 208;
	out.dst_slice = 208 * 31;
	out.dst_device = false;
	assert_int_equal(ops->copy(backend, &in, NULL), 0);
	assert_int_equal(ops->copy(backend, &out, NULL), 0);
	harness_sync();
	for (unsigned z = 0; z < depth; z++)
		for (unsigned y = 0; y < height; y++) {
			const char *row = back + z * 208 * 31 + y * 208;

			assert_memory_equal(row, host + z * 256 * 40 + y * 256, width);
			for (unsigned x = width; x < 208; x++)
				assert_int_equal(row[x], 0x11);
		}
	in.depth = out.depth = 1;
	memset(back, 0x22, VGPU_MIB(1));
	assert_int_equal(ops->copy(backend, &in, NULL), 0);
	assert_int_equal(ops->copy(backend, &out, NULL), 0);
	harness_sync();
	for (unsigned y = 0; y < height; y++)
		assert_memory_equal(back + y * 208, host + y * 256, width);
	assert_int_equal(back[width], 0x22);
	assert_int_equal(back[208 * height], 0x22);
}

static void inline_bytes_are_taken(void **state)
{
	char bytes[16384];

	(void)state;
	for (unsigned round = 0; round < 8; round++) {
		memset(bytes, (int)round + 1, sizeof(bytes));
		assert_int_equal(
		    ops->write(backend, device + round * sizeof(bytes), true, bytes, sizeof(bytes), NULL), 0);
		memset(bytes, 0xee, sizeof(bytes));
	}
	memset(bytes, 0x77, 100);
	assert_int_equal(ops->write(backend, at(host) + VGPU_MIB(1), false, bytes, 100, NULL), 0);
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(harness_copy(at(host), false, device, true, 8 * sizeof(bytes), NULL), 0);
	harness_sync();
	for (unsigned i = 0; i < 8 * sizeof(bytes); i++)
		assert_int_equal(host[i], i / sizeof(bytes) + 1);
	assert_int_equal(host[VGPU_MIB(1) + 99], 0x77);
}

static void fill(uint64_t dst, bool dst_device, uint32_t element, uint32_t value, uint64_t width,
		 uint64_t height, uint64_t pitch)
{
	struct backend_set s = {
		.dst = dst,
		.width = width,
		.height = height,
		.pitch = pitch,
		.value = value,
		.element = element,
		.dst_device = dst_device,
	};

	assert_int_equal(ops->set(backend, &s, NULL), 0);
}

static void memory_is_filled(void **state)
{
	struct backend_set odd = {
		.dst = device + 1, .width = 1, .height = 1, .element = 4, .dst_device = true
	};
	struct backend_set three = {
		.dst = device, .width = 1, .height = 1, .element = 3, .dst_device = true
	};

	(void)state;
	fill(device, true, 1, 0, 65536, 1, 0);
	fill(device, true, 1, 0xab, 100, 1, 0);
	fill(device + 1024, true, 2, 0xbeef, 50, 1, 0);
	fill(device + 2048, true, 4, 0xdeadbeef, 25, 1, 0);
	fill(device + 8192, true, 1, 0x33, 10, 4, 512);
	fill(device + 16384, true, 4, 0x01020304, 3, 4, 512);
	fill(at(host) + VGPU_MIB(1), false, 1, 0x44, 64, 1, 0);
	assert_int_equal(harness_copy(at(host), false, device, true, 65536, NULL), 0);
	harness_sync();
	assert_int_equal((uint8_t)host[99], 0xab);
	assert_int_equal(host[100], 0);
	assert_int_equal(((uint16_t *)(host + 1024))[49], 0xbeef);
	assert_int_equal(((uint16_t *)(host + 1024))[50], 0);
	assert_int_equal(((uint32_t *)(host + 2048))[24], 0xdeadbeef);
	assert_int_equal(((uint32_t *)(host + 2048))[25], 0);
	for (unsigned y = 0; y < 4; y++) {
		assert_int_equal(host[8192 + 512 * y + 9], 0x33);
		assert_int_equal(host[8192 + 512 * y + 10], 0);
		assert_int_equal(((uint32_t *)(host + 16384 + 512 * y))[2], 0x01020304);
		assert_int_equal(((uint32_t *)(host + 16384 + 512 * y))[3], 0);
	}
	assert_int_equal(host[VGPU_MIB(1) + 63], 0x44);
	assert_int_not_equal(ops->set(backend, &odd, NULL), 0);
	assert_int_not_equal(ops->set(backend, &three, NULL), 0);
}

static void vectors_are_added(void **state)
{
	struct backend_module *m = harness_module(ptx_add);
	struct backend_function *f = harness_function(m, "add");
	uint32_t *a = (uint32_t *)host, *b = a + 100000, *sum = b + 100000;
	struct {
		uint64_t out, a, b;
		uint32_t n;
	} params = { device, device + VGPU_MIB(1), device + VGPU_MIB(2), 100000 };

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		a[i] = i;
		b[i] = 3 * i + 1;
	}
	assert_int_equal(harness_copy(params.a, true, at(a), false, 400000, NULL), 0);
	assert_int_equal(harness_copy(params.b, true, at(b), false, 400000, NULL), 0);
	assert_int_equal(harness_launch(f, 391, 256, &params, 28, NULL), 0);
	assert_int_equal(harness_copy(at(sum), false, device, true, 400000, NULL), 0);
	harness_sync();
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(sum[i], 4 * i + 1);
	// Host memory read and written by the kernel.
	memset(sum, 0, 400000);
	if (kernels_see_host) {
		params.b = at(b);
		params.out = at(sum);
		assert_int_equal(harness_launch(f, 391, 256, &params, 28, NULL), 0);
		harness_sync();
		for (unsigned i = 0; i < 100000; i++)
			assert_int_equal(sum[i], 4 * i + 1);
	}
	ops->module_unload(backend, m);
}

static void launches_are_checked(void **state)
{
	struct backend_module *m = harness_module(ptx_add);
	struct backend_function *f = harness_function(m, "add");
	uint64_t params[4] = { device, device, device, 0 };
	struct backend_launch l = {
		.grid = { 1, 1, 1 }, .block = { 1, 1, 1 }, .params = params, .param_bytes = 28
	};
	CUlaunchAttribute hint = { .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
				   .value.programmaticStreamSerializationAllowed = 0 };

	(void)state;
	assert_int_equal(ops->launch(backend, f, &l, NULL), 0);
	l.grid[1] = 0;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.grid[1] = 1;
	l.block[0] = 2048;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.block[0] = 1;
	l.dynamic_shared = 64 * 1024;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.dynamic_shared = 0;
	l.param_bytes = 24;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.param_bytes = 28;
	l.attributes = &hint;
	l.n_attributes = 1;
	assert_int_equal(ops->launch(backend, f, &l, NULL), 0);
	l.n_attributes = 0;
	l.cooperative = true;
	assert_int_equal(
	    ops->launch(backend, f, &l, NULL),
	    device_info.attributes[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH] ? 0 : CUDA_ERROR_NOT_SUPPORTED);
	harness_sync();
	ops->module_unload(backend, m);
}

static void functions_tell_their_layout(void **state)
{
	struct backend_module *m = harness_module(ptx_layout);
	struct backend_function_info info, again;
	struct backend_function *f, *same;
	const char *const *names;
	int32_t blocks = 0;
	uint32_t count;

	(void)state;
	assert_int_equal(ops->module_names(backend, m, &names, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "layout");
	assert_int_equal(ops->function_get(backend, m, "layout", &f, &info), 0);
	assert_int_equal(info.n_params, 4);
	assert_int_equal(info.params[0][0], 0);
	assert_int_equal(info.params[0][1], 1);
	assert_int_equal(info.params[1][0], 8);
	assert_int_equal(info.params[2][0], 16);
	assert_int_equal(info.params[2][1], 48);
	assert_int_equal(info.params[3][0], 64);
	assert_int_equal(info.param_bytes, 66);
	assert_int_equal(info.attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK], 1024);
	assert_true(info.attribute_valid & 1u << CU_FUNC_ATTRIBUTE_NUM_REGS);
	assert_int_equal(ops->function_get(backend, m, "layout", &same, &again), 0);
	assert_ptr_equal(f, same);
	assert_int_equal(ops->function_get(backend, m, "absent", &f, &info), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(ops->occupancy(backend, same, 1024, 0, 0, &blocks), 0);
	assert_int_equal(blocks,
			 device_info.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] / 1024);
	assert_int_equal(ops->occupancy(backend, same, 32, 0, 0, &blocks), 0);
	assert_int_equal(blocks, device_info.attributes[CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR]);
	ops->module_unload(backend, m);
}

static void shared_memory_is_opted_into(void **state)
{
	struct backend_module *m = harness_module(ptx_variables);
	struct backend_function *f = harness_function(m, "total");
	int32_t opt_in = device_info.attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN];
	struct backend_launch l = {
		.grid = { 1, 1, 1 },
		.block = { 256, 1, 1 },
		.dynamic_shared = 96 * 1024,
		.params = &device,
		.param_bytes = 8,
	};

	(void)state;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(
	    ops->function_set(backend, f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, opt_in + 4096),
	    CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(
	    ops->function_set(backend, f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 96 * 1024), 0);
	assert_int_equal(ops->function_set(backend, f, 100, CU_FUNC_CACHE_PREFER_SHARED), 0);
	assert_int_equal(ops->launch(backend, f, &l, NULL), 0);
	assert_int_equal(harness_copy(at(host), false, device, true, 4, NULL), 0);
	harness_sync();
	assert_int_equal(*(uint32_t *)host, 255 * 256 / 2);
	ops->module_unload(backend, m);
}

static void variables_are_found(void **state)
{
	struct backend_module *m = harness_module(ptx_variables);
	struct backend_function *f = harness_function(m, "bump");
	uint64_t address = 0, size = 0;

	(void)state;
	assert_int_equal(ops->global_get(backend, m, "absent", &address, &size), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(ops->global_get(backend, m, "counter", &address, &size), 0);
	assert_int_equal(size, 4);
	assert_int_equal(harness_launch(f, 1, 1, NULL, 0, NULL), 0);
	assert_int_equal(harness_copy(at(host), false, address, true, 4, NULL), 0);
	harness_sync();
	assert_int_equal(*(uint32_t *)host, 42);
	ops->module_unload(backend, m);
}

static void bad_images_are_explained(void **state)
{
	static const char wrong[] =
	    PTX_HEADER ".visible .entry k()\n{\n.reg .u32 %r;\nfrobnicate.u32 %r, %r;\nret;\n}\n";
	char error[1024], elf[128] = "\177ELF\2\1\1";
	struct backend_jit jit = { .error_log = error, .error_bytes = sizeof(error) };
	struct backend_module *m = NULL;

	(void)state;
	assert_int_equal(ops->module_load(backend, wrong, strlen(wrong), &jit, &m), CUDA_ERROR_INVALID_PTX);
	assert_non_null(strstr(error, "7")); // the line
	assert_non_null(strstr(error, "frobnicate"));
	assert_int_equal(ops->module_load(backend, "this is no image", 16, &jit, &m),
			 CUDA_ERROR_INVALID_IMAGE);
	assert_int_not_equal(ops->module_load(backend, elf, sizeof(elf) - 1, &jit, &m), 0);
	jit = (struct backend_jit){ 0 };
	assert_int_equal(ops->module_load(backend, wrong, strlen(wrong), &jit, &m), CUDA_ERROR_INVALID_PTX);
	assert_null(m);
	assert_int_equal(ops->error(backend), 0);
}

static void events_are_timed(void **state)
{
	struct backend_event *start, *end, *untimed, *never;
	struct backend_stream *s;
	float ms = -1;

	(void)state;
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &s), 0);
	assert_int_equal(ops->event_create(backend, 0, &start), 0);
	assert_int_equal(ops->event_create(backend, CU_EVENT_BLOCKING_SYNC, &end), 0);
	assert_int_equal(ops->event_create(backend, CU_EVENT_DISABLE_TIMING, &untimed), 0);
	assert_int_equal(ops->event_create(backend, 0, &never), 0);
	assert_int_equal(ops->event_query(backend, never), 0);
	assert_int_equal(ops->event_record(backend, start, s, 0), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(harness_copy(device, true, at(host), false, VGPU_MIB(16), s), 0);
	assert_int_equal(ops->event_record(backend, end, s, 0), 0);
	assert_int_equal(ops->event_record(backend, untimed, s, 0), 0);
	assert_int_equal(harness_event(end), 0);
	assert_int_equal(ops->event_elapsed(backend, start, end, &ms), 0);
	assert_true(ms > 0.05f && ms < 20000);
	assert_int_equal(harness_event(untimed), 0);
	assert_int_equal(ops->event_elapsed(backend, start, untimed, &ms), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(ops->event_elapsed(backend, start, never, &ms), CUDA_ERROR_INVALID_HANDLE);
	ops->event_destroy(backend, start);
	ops->event_destroy(backend, end);
	ops->event_destroy(backend, untimed);
	ops->event_destroy(backend, never);
	ops->stream_destroy(backend, s);
}

// One stream stands at a word, the other at an event of the first: nothing moves until the word is written.
static void streams_wait_for_words_and_events(void **state)
{
	_Atomic uint64_t *gate = (void *)(host + VGPU_MIB(32)), *done = gate + 1;
	struct timespec shortly = { .tv_nsec = 50000000 };
	struct backend_stream *a, *b;
	struct backend_event *e;
	float ms;

	(void)state;
	atomic_store(gate, 4);
	atomic_store(done, 0);
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &a), 0);
	assert_int_equal(ops->stream_create(backend, CU_STREAM_NON_BLOCKING, 0, &b), 0);
	assert_int_equal(ops->event_create(backend, 0, &e), 0);
	memset(host, 0x61, 4096);
	memset(host + 4096, 0, 4096);
	assert_int_equal(ops->stream_wait(backend, a, gate, 5), 0);
	assert_int_equal(harness_copy(device, true, at(host), false, 4096, a), 0);
	assert_int_equal(ops->event_record(backend, e, a, 0), 0);
	assert_int_equal(ops->stream_wait_event(backend, b, e, 0), 0);
	assert_int_equal(harness_copy(at(host) + 4096, false, device, true, 4096, b), 0);
	assert_int_equal(ops->stream_write(backend, b, done, 9), 0);
	nanosleep(&shortly, NULL);
	assert_int_equal(ops->event_query(backend, e), CUDA_ERROR_NOT_READY);
	assert_int_equal(ops->event_elapsed(backend, e, e, &ms), CUDA_ERROR_NOT_READY);
	assert_int_equal(atomic_load(done), 0);
	atomic_store(gate, 6);
	assert_true(harness_reaches(done, 9));
	assert_memory_equal(host + 4096, host, 4096);
	assert_int_equal(ops->event_query(backend, e), 0);
	ops->event_destroy(backend, e);
	ops->stream_destroy(backend, a);
	ops->stream_destroy(backend, b);
}

// Handles that go while their work is still to come.
static void destroyed_objects_finish_their_work(void **state)
{
	_Atomic uint64_t *gate = (void *)(host + VGPU_MIB(32)), *done = gate + 1;
	struct backend_stream *s;
	struct backend_event *e;

	(void)state;
	atomic_store(gate, 0);
	atomic_store(done, 0);
	assert_int_equal(ops->stream_create(backend, 0, 0, &s), 0);
	assert_int_equal(ops->event_create(backend, 0, &e), 0);
	assert_int_equal(ops->stream_wait(backend, s, gate, 1), 0);
	assert_int_equal(ops->event_record(backend, e, s, 0), 0);
	assert_int_equal(ops->stream_write(backend, s, done, 1), 0);
	ops->event_destroy(backend, e);
	ops->stream_destroy(backend, s);
	assert_int_equal(atomic_load(done), 0);
	atomic_store(gate, 1);
	assert_true(harness_reaches(done, 1));
	harness_sync();
}

static void many_small_things_keep_their_order(void **state)
{
	struct backend_module *m = harness_module(ptx_variables);
	struct backend_function *f = harness_function(m, "bump");
	_Atomic uint64_t *done = (void *)(host + VGPU_MIB(32));
	uint64_t address, size;

	(void)state;
	atomic_store(done, 0);
	assert_int_equal(ops->global_get(backend, m, "counter", &address, &size), 0);
	for (unsigned i = 1; i <= 2000; i++) {
		assert_int_equal(harness_launch(f, 1, 1, NULL, 0, NULL), 0);
		assert_int_equal(ops->stream_write(backend, NULL, done, i), 0);
	}
	assert_int_equal(harness_copy(at(host), false, address, true, 4, NULL), 0);
	assert_true(harness_reaches(done, 2000));
	harness_sync();
	assert_int_equal(*(uint32_t *)host, 2041);
	ops->module_unload(backend, m);
}

static void lost_contexts_are_reported(void **state)
{
	(void)state;
	for (unsigned i = 0; fault_names[i]; i++) {
		char *args[] = { arguments[0], arguments[1], (char *)(uintptr_t)fault_names[i], NULL };
		int status = -1;
		pid_t pid;

		assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			print_error("case %s: wait status 0x%x\n", fault_names[i], (unsigned)status);
		assert_int_equal(status, 0);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_is_described),
		cmocka_unit_test(limits_are_set_and_answered),
		cmocka_unit_test(memory_is_mapped_and_given_back),
		cmocka_unit_test(too_much_memory_is_refused),
		cmocka_unit_test(lines_are_copied),
		cmocka_unit_test(planes_and_volumes_are_copied),
		cmocka_unit_test(inline_bytes_are_taken),
		cmocka_unit_test(memory_is_filled),
		cmocka_unit_test(vectors_are_added),
		cmocka_unit_test(launches_are_checked),
		cmocka_unit_test(functions_tell_their_layout),
		cmocka_unit_test(shared_memory_is_opted_into),
		cmocka_unit_test(variables_are_found),
		cmocka_unit_test(bad_images_are_explained),
		cmocka_unit_test(events_are_timed),
		cmocka_unit_test(streams_wait_for_words_and_events),
		cmocka_unit_test(destroyed_objects_finish_their_work),
		cmocka_unit_test(many_small_things_keep_their_order),
		cmocka_unit_test(lost_contexts_are_reported),
	};
	int result;

	if (argc < 2) {
		fprintf(stderr, "usage: %s BACKEND-MODULE [FAULT-CASE]\n", argv[0]);
		return 2;
	}
	arguments = argv;
	result = harness_open(argv[1]);
	if (result)
		return result;
	if (argc > 2) {
		result = fault_case(argv[2]);
		fflush(stdout);
		_exit(result); // a lost context leaves nothing to tidy
	}
	result = cmocka_run_group_tests(tests, NULL, NULL);
	harness_close();
	return result;
}
