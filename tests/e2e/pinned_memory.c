// SPDX-License-Identifier: Apache-2.0
//
// Host memory from the driver: one address for both sides, both see the other's writes at once.
#include "tests/e2e/check.h"

static void facts(CUcontext context)
{
	CUdeviceptr device = 0, given = 0;
	CUcontext owner = NULL;
	unsigned flags = 0, type = 0;
	void *a = NULL, *b = NULL, *host = NULL;

	OK(cuMemAllocHost_v2(&a, 1000));
	OK(cuMemHostAlloc(&b, 3 * MIB + 1, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_WRITECOMBINED));
	CHECK(a && b && a != b, "two allocations");
	((volatile char *)a)[999] = 1;
	((volatile char *)b)[3 * MIB] = 1;
	OK(cuMemHostGetDevicePointer_v2(&device, a, 0));
	CHECK(device == (CUdeviceptr)a, "the device pointer is the host pointer");
	OK(cuMemHostGetDevicePointer_v2(&device, (char *)b + 100, 0));
	CHECK(device == (CUdeviceptr)b + 100, "of an inner pointer too");
	OK(cuMemHostGetFlags(&flags, a));
	CHECK(flags & CU_MEMHOSTALLOC_DEVICEMAP, "flags 0x%x say it is mapped", flags);
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)a));
	EQUAL(CU_MEMORYTYPE_HOST, type);
	OK(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, (CUdeviceptr)a));
	CHECK(owner == context, "its context");
	OK(cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, (CUdeviceptr)a + 7));
	CHECK(host == (char *)a + 7, "its host pointer");
	OK(cuPointerGetAttribute(&given, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, (CUdeviceptr)a + 7));
	CHECK(given == (CUdeviceptr)a + 7, "its device pointer");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostUnregister(a));
	OK(cuMemFreeHost(a));
	OK(cuMemFreeHost(b));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(a));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostGetDevicePointer_v2(&device, a, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(&a, 100, 0x100));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(NULL, 100, 0));
}

static void kernel_writes(CUmodule module)
{
	enum { WORDS = 100000 };
	CUfunction fill = check_function(module, "fill");
	uint32_t *word, n = WORDS, first = 77;
	void *memory;
	MUST(cuMemHostAlloc(&memory, WORDS * 4, CU_MEMHOSTALLOC_DEVICEMAP));
	word = memory;
	for (int i = 0; i < WORDS; i++)
		word[i] = 0;
	LAUNCH(fill, (WORDS + 255) / 256, 256, NULL, &word, &n, &first);
	OK(cuCtxSynchronize());
	if (check_computes()) {
		int wrong = 0;
		for (uint32_t i = 0; i < WORDS; i++)
			wrong += word[i] != first + i;
		EQUAL(0, wrong);
	}
	MUST(cuMemFreeHost(memory));
}

// The processor sees a kernel's write while the stream still has work, and a kernel sees the processor's.
static void both_ways(CUmodule module)
{
	struct gate gate;
	CUfunction step = check_function(module, "step");
	CUstream stream;
	uint32_t what = 5;
	void *memory;
	volatile uint32_t *word;
	if (!check_computes())
		return;
	MUST(cuMemHostAlloc(&memory, 64, 0));
	word = memory;
	*word = 100;
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	gate_init(&gate, module);
	LAUNCH(step, 1, 32, stream, &memory, &what);
	gate_close(&gate, stream);
	double until = seconds_now() + 10;
	while (*word != 305 && seconds_now() < until)
		;
	EQUAL(305, *word);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
	gate_open(&gate);
	OK(cuStreamSynchronize(stream));
	CHECK(gate.word[1] == 1, "the kernel saw the open gate");
	MUST(cuStreamDestroy_v2(stream));
	gate_done(&gate);
	MUST(cuMemFreeHost(memory));
}

// A stream's memory write is seen by a poll of the processor.
static void stream_write(void)
{
	void *memory;
	volatile uint64_t *word;
	MUST(cuMemHostAlloc(&memory, 64, 0));
	word = memory;
	word[0] = word[1] = 0;
	OK(cuStreamWriteValue64_v2(NULL, (CUdeviceptr)memory, 0x123456789abcdefull, 0));
	OK(cuStreamWriteValue32_v2(NULL, (CUdeviceptr)memory + 8, 42, 0));
	OK(cuStreamSynchronize(NULL));
	if (check_computes())
		CHECK(word[0] == 0x123456789abcdefull && word[1] == 42, "stream write values: %llx %llx",
		      (unsigned long long)word[0], (unsigned long long)word[1]);
	MUST(cuMemFreeHost(memory));
}

static void many(void)
{
	enum { COUNT = 500 };
	static void *ptr[COUNT];
	int wrong = 0;
	for (int i = 0; i < COUNT; i++) {
		wrong += cuMemHostAlloc(&ptr[i], (size_t)(i % 9 + 1) * 3000, 0) != CUDA_SUCCESS;
		if (!wrong)
			((volatile char *)ptr[i])[(i % 9 + 1) * 3000 - 1] = (char)i;
	}
	for (int i = 0; i < COUNT; i++)
		wrong += cuMemFreeHost(ptr[i]) != CUDA_SUCCESS;
	EQUAL(0, wrong);
}

int main(void)
{
	CUcontext context = check_context();
	CUmodule module = check_module("basic.ptx");
	facts(context);
	kernel_writes(module);
	both_ways(module);
	if (check_computes())
		stream_write();
	many();
	return check_done();
}
