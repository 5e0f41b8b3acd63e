// SPDX-License-Identifier: Apache-2.0
// Memory of a backend: mapped, parked, copied, filled. Cases of test_backend.c.
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/backends/cases.h"
#include "tests/unit/backends/harness.h"

void memory_is_mapped_and_given_back(void **state)
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

// One piece shown in two places, and a part of it in a third where the driver can do that.
void memory_is_shown_in_places(void **state)
{
	uint64_t first = VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(8), size = VGPU_MIB(4), second = first + size;
	struct backend_physical *p;
	int part;

	(void)state;
	if (!ops->mem_granularity(backend))
		skip();
	assert_int_equal(ops->physical_create(backend, size, 0, &p), 0);
	assert_int_equal(ops->physical_map(backend, first, size, p, 0), 0);
	assert_int_equal(ops->physical_map(backend, second, size, p, 0), 0);
	assert_int_equal(ops->physical_access(backend, first, 2 * size, VM_ACCESS_READ_WRITE), 0);
	memset(host, 0xa5, 4096);
	memset(host + 4096, 0, 8192);
	assert_int_equal(harness_copy(first + size - 4096, true, at(host), false, 4096, NULL), 0);
	harness_sync();
	assert_int_equal(ops->physical_access(backend, second, size, VM_ACCESS_READ), 0);
	assert_int_equal(harness_copy(at(host) + 4096, false, second + size - 4096, true, 4096, NULL), 0);
	harness_sync();
	assert_memory_equal(host + 4096, host, 4096);
	assert_int_equal(ops->physical_unmap(backend, first, size), 0);
	part = ops->physical_map(backend, first, size / 2, p, size / 2);
	if (!part) {
		assert_int_equal(ops->physical_access(backend, first, size / 2, VM_ACCESS_READ), 0);
		assert_int_equal(
		    harness_copy(at(host) + 8192, false, first + size / 2 - 4096, true, 4096, NULL), 0);
		harness_sync();
		assert_memory_equal(host + 8192, host, 4096);
		assert_int_equal(ops->physical_unmap(backend, first, size / 2), 0);
	}
	assert_int_equal(ops->physical_unmap(backend, second, size), 0);
	assert_int_equal(ops->physical_free(backend, p), 0);
	assert_int_equal(ops->error(backend), 0);
}

// The last words of a mapping as kernels' copies see them.
static uint64_t last_word(uint64_t address, uint64_t size)
{
	memset(host, 0, 8);
	assert_int_equal(harness_copy(at(host), false, address + size - 8, true, 8, NULL), 0);
	harness_sync();
	return *(uint64_t *)(void *)host;
}

static void set_last_word(uint64_t address, uint64_t size, uint64_t value)
{
	memcpy(host, &value, 8);
	assert_int_equal(harness_copy(address + size - 8, true, at(host), false, 8, NULL), 0);
	harness_sync();
}

static void *store_of(uint64_t size)
{
	void *store = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(store, MAP_FAILED);
	return store;
}

void parked_memory_is_free_and_comes_back(void **state)
{
	uint64_t size = 4 * ops->mem_granularity(backend), address = device + VGPU_MIB(256), before, after,
		 total;
	void *store;

	(void)state;
	if (!size || !ops->mem_park)
		skip();
	store = store_of(size);
	assert_int_equal(ops->mem_map(backend, address, size), 0);
	set_last_word(address, size, 0x1122334455667788);
	assert_int_equal(ops->mem_available(backend, &before, &total), 0);
	assert_int_equal(ops->mem_park(backend, address, size, store), 0);
	assert_int_equal(ops->mem_available(backend, &after, &total), 0);
	assert_true(after > before);
	assert_int_equal(ops->mem_unpark(backend, address, size, store), 0);
	assert_true(last_word(address, size) == 0x1122334455667788);
	// Gone again without a copy: what the store holds is still there.
	assert_int_equal(ops->mem_park(backend, address, size, NULL), 0);
	assert_int_equal(ops->mem_unpark(backend, address, size, store), 0);
	assert_true(last_word(address, size) == 0x1122334455667788);
	assert_int_equal(ops->mem_unmap(backend, address, size), 0);
	munmap(store, size);
	assert_int_equal(ops->error(backend), 0);
}

void parked_memory_without_an_address_comes_back(void **state)
{
	uint64_t size = 2 * ops->mem_granularity(backend), address = device + VGPU_MIB(256);
	struct backend_physical *p;
	void *store;

	(void)state;
	if (!size || !ops->physical_park)
		skip();
	store = store_of(size);
	assert_int_equal(ops->physical_create(backend, size, 0, &p), 0);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(ops->physical_map(backend, address, size, p, 0), 0);
		assert_int_equal(ops->physical_access(backend, address, size, VM_ACCESS_READ_WRITE), 0);
		if (round)
			assert_true(last_word(address, size) == 77);
		set_last_word(address, size, 77);
		assert_int_equal(ops->physical_unmap(backend, address, size), 0);
		assert_int_equal(ops->physical_park(backend, p, size, store), 0);
		if (!round)
			assert_int_equal(ops->physical_unpark(backend, p, size, store), 0);
	}
	assert_int_equal(ops->physical_free(backend, p), 0); // parked as it is
	munmap(store, size);
	assert_int_equal(ops->error(backend), 0);
}

void too_much_memory_is_refused(void **state)
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

void lines_are_copied(void **state)
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
void planes_and_volumes_are_copied(void **state)
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

void inline_bytes_are_taken(void **state)
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

void memory_is_filled(void **state)
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
