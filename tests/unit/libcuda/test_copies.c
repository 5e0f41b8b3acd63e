// SPDX-License-Identifier: Apache-2.0
// Copies and fills byte by byte: every kind of memory on either side, rows and boxes, sizes around the
// borders of staging; allocation, pinned and registered memory, pointer attributes.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

#define ROOM (6u << 20)

static CUdeviceptr device;
static unsigned char *pinned, *pageable, *expect;

static int set_up(void **state)
{
	CUcontext ctx;
	void *p;

	(void)state;
	pageable = malloc(ROOM);
	expect = malloc(ROOM);
	if (!pageable || !expect || cuInit(0) || cuCtxCreate_v2(&ctx, 0, 0) || cuMemAlloc_v2(&device, ROOM) ||
	    cuMemHostAlloc(&p, ROOM, 0))
		return -1;
	pinned = p;
	return 0;
}

static void fill(unsigned char *p, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (unsigned char)(seed >> 24);
	}
}

static unsigned char *on_device(void)
{
	return (unsigned char *)(uintptr_t)device; // the stand-in maps it
}

static void linear_copies_of_all_sizes(void **state)
{
	static const size_t sizes[] = { 1,     3,     4096,    16383,	      16384,	     16385,
					65536, 65537, 1 << 20, (1 << 20) + 1, (4 << 20) - 1, (5 << 20) + 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];

		fill(expect, n, (unsigned int)i);
		memcpy(pageable, expect, n);
		memset(on_device(), 0, n + 1);
		assert_int_equal(cuMemcpyHtoD_v2(device, pageable, n), 0);
		assert_memory_equal(on_device(), expect, n);
		assert_int_equal(on_device()[n], 0);
		memset(pageable, 0, n + 1);
		assert_int_equal(cuMemcpyDtoH_v2(pageable, device, n), 0);
		assert_memory_equal(pageable, expect, n);
		assert_int_equal(pageable[n], 0);
		memset(pinned, 0, n);
		assert_int_equal(cuMemcpyDtoHAsync_v2(pinned, device, n, NULL), 0);
		assert_memory_equal(pinned, expect, n);
		memset(on_device(), 0, n);
		assert_int_equal(cuMemcpyAsync(device, (CUdeviceptr)(uintptr_t)pinned, n, NULL), 0);
		assert_memory_equal(on_device(), expect, n);
		memset(pageable, 0, n);
		assert_int_equal(
		    cuMemcpy((CUdeviceptr)(uintptr_t)pageable, (CUdeviceptr)(uintptr_t)pinned, n), 0);
		assert_memory_equal(pageable, expect, n);
	}
}

static void waiting_is_cudas(void **state)
{
	(void)state;
	assert_int_equal(cuCtxSynchronize(), 0);
	fake_reset();
	assert_int_equal(cuMemcpyHtoD_v2(device, pageable, 64 << 10), 0);
	assert_int_equal(fake.waits, 0); // staged
	fake.hold_fences = 1;
	assert_int_equal(cuMemcpyHtoD_v2(device, pageable, (64 << 10) + 1), 0);
	assert_int_equal(fake.waits, 1);
	fake_reset();
	fake.hold_fences = 1;
	assert_int_equal(cuMemcpyHtoDAsync_v2(device, pageable, 64 << 10, NULL), 0);
	assert_int_equal(cuMemcpyDtoD_v2(device, device + 4096, 4096), 0);
	assert_int_equal(cuMemcpyDtoHAsync_v2(pinned, device, 4096, NULL), 0);
	assert_int_equal(fake.waits, 0);
	assert_int_equal(cuMemcpyDtoH_v2(pinned, device, 4096), 0);
	assert_int_equal(fake.waits, 1);
	fake_reset();
}

static void ranges_are_checked(void **state)
{
	(void)state;
	fake_reset();
	assert_int_equal(cuMemcpyHtoD_v2(device, pageable, 0), 0);
	assert_int_equal(cuMemcpyHtoD_v2(device + ROOM - 1, pageable, 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyHtoD_v2(0x1234, pageable, 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyHtoD_v2(device, NULL, 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyDtoH_v2(pageable, device, UINT64_MAX), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyDtoD_v2(device, device + ROOM, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpy(device, 0x300000000000ull + (1ull << 35), 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemsetD8_v2(device + ROOM - 1, 1, 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemsetD32_v2(device + 2, 1, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemsetD32_v2(device, 1, UINT64_MAX / 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_COPY] + fake.counts[OPCODE_SET] + fake.counts[OPCODE_WRITE], 0);
}

// A box of 37 x 9 x 5 from odd places to odd places, against a loop.
static void boxes(void **state)
{
	CUDA_MEMCPY3D c = { .srcXInBytes = 3,
			    .srcY = 2,
			    .srcZ = 1,
			    .srcPitch = 64,
			    .srcHeight = 12,
			    .dstXInBytes = 5,
			    .dstY = 1,
			    .dstZ = 2,
			    .dstPitch = 96,
			    .dstHeight = 10,
			    .WidthInBytes = 37,
			    .Height = 9,
			    .Depth = 5 };
	unsigned char *places[] = { on_device(), pageable, pinned };
	const int types[] = { CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_HOST };
	size_t from = 1 << 20;

	(void)state;
	for (int kind = 0; kind < 9; kind++) {
		unsigned char *src = places[kind / 3] + from, *dst = places[kind % 3];

		fill(src, 20000, (unsigned int)kind);
		memset(dst, 0, 20000);
		memset(expect, 0, 20000);
		for (size_t z = 0; z < 5; z++)
			for (size_t y = 0; y < 9; y++)
				memcpy(expect + ((z + 2) * 10 + y + 1) * 96 + 5,
				       src + ((z + 1) * 12 + y + 2) * 64 + 3, 37);
		c.srcMemoryType = types[kind / 3];
		c.srcHost = src;
		c.srcDevice = (CUdeviceptr)(uintptr_t)src;
		c.dstMemoryType = types[kind % 3];
		c.dstHost = dst;
		c.dstDevice = (CUdeviceptr)(uintptr_t)dst;
		assert_int_equal(kind % 2 ? cuMemcpy3D_v2(&c) : cuMemcpy3DAsync_v2(&c, NULL), 0);
		assert_memory_equal(dst, expect, 20000);
	}
	c.dstMemoryType = CU_MEMORYTYPE_ARRAY;
	assert_int_equal(cuMemcpy3D_v2(&c), CUDA_ERROR_INVALID_HANDLE); // there is none
	c.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
	c.dstHeight = 3;
	assert_int_equal(cuMemcpy3D_v2(&c), CUDA_ERROR_INVALID_VALUE);
}

// Rows that are wider and more than one piece of the arena holds.
static void wide_rows(void **state)
{
	const size_t width = (1 << 20) + 100, height = 3;
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			    .srcHost = pageable,
			    .srcPitch = width + 11,
			    .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			    .dstDevice = device,
			    .dstPitch = width + 512,
			    .WidthInBytes = width,
			    .Height = height };

	(void)state;
	fill(pageable, ROOM, 5);
	assert_int_equal(cuMemcpy2D_v2(&c), 0);
	for (size_t y = 0; y < height; y++)
		assert_memory_equal(on_device() + y * (width + 512), pageable + y * (width + 11), width);
	c = (CUDA_MEMCPY2D){ .srcMemoryType = CU_MEMORYTYPE_DEVICE,
			     .srcDevice = device,
			     .srcPitch = 2000,
			     .dstMemoryType = CU_MEMORYTYPE_HOST,
			     .dstHost = expect,
			     .dstPitch = 1000,
			     .WidthInBytes = 1000,
			     .Height = 2500 };
	memset(expect, 0, ROOM);
	assert_int_equal(cuMemcpy2DUnaligned_v2(&c), 0);
	for (size_t y = 0; y < 2500; y++)
		assert_memory_equal(expect + y * 1000, on_device() + y * 2000, 1000);
	c.WidthInBytes = 1001;
	assert_int_equal(cuMemcpy2D_v2(&c), CUDA_ERROR_INVALID_VALUE); // wider than the pitch
}

static void fills(void **state)
{
	(void)state;
	memset(on_device(), 0, 4096);
	assert_int_equal(cuMemsetD8_v2(device + 1, 0xab, 3), 0);
	assert_int_equal(cuMemsetD16_v2(device + 8, 0x1234, 2), 0);
	assert_int_equal(cuMemsetD2D32_v2(device + 256, 64, 0xdeadbeef, 2, 3), 0);
	assert_int_equal(cuMemsetD2D32_v2(device + 256, 4, 0xdeadbeef, 2, 3), CUDA_ERROR_INVALID_VALUE);
	memset(expect, 0, 4096);
	memset(expect + 1, 0xab, 3);
	memcpy(expect + 8, "\x34\x12\x34\x12", 4);
	for (int y = 0; y < 3; y++)
		memcpy(expect + 256 + 64 * y, "\xef\xbe\xad\xde\xef\xbe\xad\xde", 8);
	assert_memory_equal(on_device(), expect, 4096);
}

static void stream_writes(void **state)
{
	(void)state;
	fake_reset();
	memset(on_device(), 0, 64);
	assert_int_equal(cuStreamWriteValue32_v2(NULL, device + 4, 0x11223344, 0), 0);
	assert_int_equal(cuStreamWriteValue64_v2(NULL, device + 8, 0x5566778899aabbcc, 0), 0);
	assert_memory_equal(on_device(), "\0\0\0\0\x44\x33\x22\x11\xcc\xbb\xaa\x99\x88\x77\x66\x55\0", 17);
	assert_int_equal(cuStreamWriteValue64(NULL, device + 4, 1, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuStreamWriteValue32(NULL, (uintptr_t)pageable, 1, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuStreamWriteValue32(NULL, device, 1, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuStreamWriteValue32(NULL, device, 1, 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuStreamWriteValue32(NULL, (uintptr_t)pinned, 1, 0), 0);
	assert_int_equal(fake.counts[OPCODE_WORDS], 3);
	assert_int_equal(cuStreamWaitValue32(NULL, device, 1, CU_STREAM_WAIT_VALUE_AND), 0);
	assert_int_equal(cuStreamWaitValue64(NULL, device, 1, CU_STREAM_WAIT_VALUE_NOR),
			 CUDA_ERROR_NOT_SUPPORTED); // the device does not say that it can
	assert_int_equal(cuStreamWaitValue64(NULL, device, 1, CU_STREAM_WAIT_VALUE_FLUSH),
			 CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(cuStreamWaitValue64(NULL, device, 1, 4), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_WORDS], 4);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#endif

#ifndef ADDRESS_SANITIZER // which forbids to copy whole pages of a stack
// A buffer on this thread's own stack, registered and given back while the stack is in use.
static void own_stack(void **state)
{
	char buffer[10000];

	(void)state;
	memset(buffer, 1, sizeof(buffer));
	for (int i = 0; i < 100; i++) {
		assert_int_equal(cuMemHostRegister_v2(buffer + i, 9000, 0), 0);
		buffer[i] = 2;
		assert_int_equal(cuMemHostUnregister(buffer + i), 0);
		assert_int_equal(buffer[i], 2);
	}
	assert_int_equal(buffer[100], 1);
}
#endif

static void allocation(void **state)
{
	CUdeviceptr p, base;
	size_t size, pitch;

	(void)state;
	assert_int_equal(cuMemAlloc_v2(&p, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemAlloc_v2(NULL, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemAlloc_v2(&p, 1ull << 50), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(cuMemAlloc_v2(&p, 1000), 0);
	assert_int_equal(cuMemGetAddressRange_v2(&base, &size, p + 999), 0);
	assert_int_equal(base, p);
	assert_int_equal(size, 1000);
	assert_int_equal(cuMemGetAddressRange_v2(&base, &size, p + 1000), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(cuMemFree_v2(p + 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFree_v2(p), 0);
	assert_int_equal(cuMemFree_v2(p), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFree_v2(0), 0);
	assert_int_equal(cuMemFree_v2(0x1234), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemAllocPitch_v2(&p, &pitch, 513, 3, 4), 0);
	assert_int_equal(pitch, 1024);
	assert_int_equal(cuMemAllocPitch_v2(&base, &pitch, 513, 3, 5), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFree_v2(p), 0);
}

static void pinned_memory(void **state)
{
	unsigned char *p[300];
	unsigned int flags;
	CUdeviceptr d;
	void *q;

	(void)state;
	fake_reset();
	for (int i = 0; i < 300; i++) {
		assert_int_equal(cuMemHostAlloc(&q, 1000, CU_MEMHOSTALLOC_PORTABLE), 0);
		p[i] = q;
		memset(q, i, 1000);
	}
	assert_int_equal(fake.counts[OPCODE_HOST_REGISTER], 1); // small ones share a piece
	for (int i = 0; i < 300; i++)
		assert_int_equal(p[i][999], (unsigned char)i);
	assert_int_equal(cuMemHostGetDevicePointer_v2(&d, p[7] + 5, 0), 0);
	assert_int_equal(d, (uintptr_t)p[7] + 5);
	assert_int_equal(cuMemHostGetFlags(&flags, p[7]), 0);
	assert_int_equal(flags, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
	assert_int_equal(cuMemHostUnregister(p[7]), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFreeHost(p[7] + 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemHostAlloc(&q, 10, 0x100), CUDA_ERROR_INVALID_VALUE);
	for (int i = 0; i < 300; i++)
		assert_int_equal(cuMemFreeHost(p[i]), 0);
	assert_int_equal(fake.counts[OPCODE_HOST_UNREGISTER], 1);
}

static void registered_memory(void **state)
{
	unsigned char *area = aligned_alloc(4096, 8 * 4096);

	(void)state;
	fake_reset();
	assert_non_null(area);
	// two ranges share the third page; the first one's pages stay until both are gone
	assert_int_equal(cuMemHostRegister_v2(area + 100, 2 * 4096, 0), 0);
	assert_int_equal(cuMemHostRegister_v2(area + 100 + 2 * 4096, 4096, 0), 0);
	assert_int_equal(fake.counts[OPCODE_HOST_REGISTER], 2);
	assert_int_equal(cuMemHostRegister_v2(area + 4096, 1, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	assert_int_equal(cuMemHostRegister_v2(pinned, 1, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemHostUnregister(area), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	assert_int_equal(cuMemHostUnregister(area + 100), 0);
	assert_int_equal(fake.counts[OPCODE_HOST_UNREGISTER], 0);
	assert_int_equal(cuMemHostUnregister(area + 100 + 2 * 4096), 0);
	assert_int_equal(fake.counts[OPCODE_HOST_UNREGISTER], 2);
	assert_int_equal(cuMemHostRegister_v2(area, 0, 0), CUDA_ERROR_INVALID_VALUE);
	fake.fail_opcode = OPCODE_HOST_REGISTER;
	fake.fail_result = CUDA_ERROR_OUT_OF_MEMORY;
	assert_int_equal(cuMemHostRegister_v2(area, 4096, 0), CUDA_ERROR_OUT_OF_MEMORY);
	fake_reset();
	assert_int_equal(cuMemHostRegister_v2(area, 4096, 0), 0);
	assert_int_equal(cuMemHostUnregister(area), 0);
	free(area);
}

static void pointer_attributes(void **state)
{
	int attributes[] = { CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
			     CU_POINTER_ATTRIBUTE_DEVICE_POINTER };
	uint32_t type = 9, managed = 0xa5a5a5a5;
	int32_t ordinal = 9;
	uint64_t pointer = 9;
	void *data[] = { &type, &ordinal, &pointer };

	(void)state;
	assert_int_equal(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, device + 5), 0);
	assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
	assert_int_equal(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)pinned),
			 0);
	assert_int_equal(type, CU_MEMORYTYPE_HOST);
	assert_int_equal(cuPointerGetAttribute(&pointer, CU_POINTER_ATTRIBUTE_HOST_POINTER, device),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(pointer, 0);
	assert_int_equal(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, device), 0);
	assert_int_equal(managed, 0);
	assert_int_equal(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)pageable),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuPointerGetAttribute(&type, 22, device), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuPointerGetAttributes(3, attributes, data, (uintptr_t)pageable), 0);
	assert_int_equal(type, 0);
	assert_int_equal(ordinal, -2);
	assert_int_equal(pointer, 0);
	assert_int_equal(cuPointerGetAttributes(3, attributes, data, device + 8), 0);
	assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
	assert_int_equal(ordinal, 0);
	assert_int_equal(pointer, device + 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linear_copies_of_all_sizes),
		cmocka_unit_test(waiting_is_cudas),
		cmocka_unit_test(ranges_are_checked),
		cmocka_unit_test(boxes),
		cmocka_unit_test(wide_rows),
		cmocka_unit_test(fills),
		cmocka_unit_test(allocation),
		cmocka_unit_test(pinned_memory),
		cmocka_unit_test(stream_writes),
#ifndef ADDRESS_SANITIZER
		cmocka_unit_test(own_stack),
#endif
		cmocka_unit_test(registered_memory),
		cmocka_unit_test(pointer_attributes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
