// SPDX-License-Identifier: Apache-2.0
//
// What TensorFlow (XLA's stream executor) does before its first kernel and with it, in its order: looks
// around in the system, opens its libraries by name, asks the device for everything, retains the primary
// context with flags, takes nearly all memory at once, makes streams, events and pinned memory, loads a
// module with options, launches.
#include "tests/e2e/check.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { N = 100000, STREAMS = 5 };

// Whatever is missing is left out there too, with a line in the log.
static void look_around(void)
{
	static const char *const names[] = { "libcudart.so.12",	  "libcudart.so.13",   "libcublas.so.12",
					     "libcublas.so.13",	  "libcublasLt.so.12", "libcufft.so.11",
					     "libcusolver.so.11", "libcusparse.so.12", "libcudnn.so.9",
					     "libnvidia-ml.so.1" };
	char line[200] = "";
	FILE *f = fopen("/proc/driver/nvidia/version", "re");

	if (f && fgets(line, sizeof(line), f))
		line[strcspn(line, "\n")] = 0;
	printf("# /proc/driver/nvidia/version: %s\n", f ? line : strerror(errno));
	if (f)
		fclose(f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		int (*init)(void) = NULL;

		if (!library)
			continue;
		*(void **)&init = dlsym(library, "nvmlInit_v2");
		printf("# %s is here%s\n", names[i],
		       !init	? ""
		       : init() ? ", nvmlInit_v2 fails"
				: ", nvmlInit_v2 succeeds");
		// Stays open, as there.
	}
}

static int attribute(CUdevice_attribute which)
{
	int value = -1;

	MUST(cuDeviceGetAttribute(&value, which, 0));
	return value;
}

static void describe_device(void)
{
	// Each is divided by, or decides how much work a launch gets.
	static const CUdevice_attribute positive[] = {
		CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X,
		CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y,
		CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z,
		CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X,
		CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y,
		CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z,
		CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
		CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
		CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK,
		CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
		CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK,
		CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
		CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
		CU_DEVICE_ATTRIBUTE_WARP_SIZE,
		CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
		CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
		36, // memory clock, kHz
		37, // memory bus width, bits
		CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING,
	};
	char name[256] = "", bus[32] = "";
	int version = 0, count = 0;
	size_t total = 0;
	CUdevice device = -1;

	OK(cuInit(0));
	OK(cuDriverGetVersion(&version));
	CHECK(version >= 12000, "driver %d", version);
	OK(cuDeviceGetCount(&count));
	CHECK(count >= 1, "%d devices", count);
	OK(cuDeviceGet(&device, 0));
	OK(cuDeviceGetName(name, sizeof(name), device));
	OK(cuDeviceGetPCIBusId(bus, sizeof(bus), device));
	OK(cuDeviceTotalMem_v2(&total, device));
	CHECK(strlen(bus) == 12 && bus[4] == ':', "at %s", bus);
	for (size_t i = 0; i < sizeof(positive) / sizeof(positive[0]) && check_computes(); i++)
		CHECK(attribute(positive[i]) > 0, "attribute %d is %d", positive[i], attribute(positive[i]));
	CHECK(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) >= 7, "compute capability %d.%d",
	      attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
	      attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
	EQUAL(0, attribute(20)); // compute mode: programs that find it exclusive or prohibited give up
	EQUAL(32, attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE));
}

static CUcontext make_context(void)
{
	CUcontext context = NULL, current = (CUcontext)1, again = NULL;
	unsigned flags = 99;
	CUdevice device = -1;
	int active = -1;

	OK(cuCtxGetCurrent(&current));
	CHECK(!current, "no context yet");
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(0, active);
	OK(cuDevicePrimaryCtxSetFlags_v2(0, CU_CTX_SCHED_YIELD));
	OK(cuDevicePrimaryCtxRetain(&context, 0));
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(1, active);
	EQUAL(CU_CTX_SCHED_YIELD, flags & CU_CTX_SCHED_MASK);
	OK(cuDevicePrimaryCtxRetain(&again, 0));
	CHECK(context == again, "the same context");
	OK(cuDevicePrimaryCtxRelease_v2(0));
	OK(cuCtxSetCurrent(context));
	OK(cuCtxGetDevice(&device));
	EQUAL(0, device);
	return context;
}

// Free memory less a tenth; where that is refused a tenth less again.
static CUdeviceptr take_nearly_all(size_t *bytes)
{
	size_t unused = 0, total = 0, left = 0;
	CUdeviceptr base = 0;
	CUresult result;

	OK(cuMemGetInfo_v2(&unused, &total));
	CHECK(unused > 0 && unused <= total, "%zu of %zu MiB are free", unused / MIB, total / MIB);
	*bytes = unused - unused / 10;
	while ((result = cuMemAlloc_v2(&base, *bytes)) == CUDA_ERROR_OUT_OF_MEMORY && *bytes > MIB)
		*bytes -= *bytes / 10;
	EXPECT(CUDA_SUCCESS, result);
	printf("# %zu of %zu MiB taken\n", *bytes / MIB, unused / MIB);
	EQUAL(0, base % 256);
	OK(cuMemGetInfo_v2(&left, &total));
	CHECK(left + *bytes <= unused, "%zu MiB are left", left / MIB);
	return base;
}

static void count_call(void *data)
{
	__atomic_fetch_add((int *)data, 1, __ATOMIC_SEQ_CST);
}

// Both ends and the middle of the memory, over every stream: each waits for the one before by an event.
static void use_streams(CUdeviceptr base, size_t bytes)
{
	const size_t places[] = { 0, bytes / 2 & ~(size_t)255, (bytes - N * 4) & ~(size_t)255 };
	CUstream streams[STREAMS];
	int least = 0, greatest = 0, calls = 0;
	uint32_t *host, *registered;
	CUresult result;
	CUevent event;

	OK(cuCtxGetStreamPriorityRange(&least, &greatest));
	for (int i = 0; i < STREAMS; i++)
		MUST(cuStreamCreateWithPriority(&streams[i], CU_STREAM_NON_BLOCKING, i ? least : greatest));
	OK(cuMemHostAlloc((void **)&host, N * 4, CU_MEMHOSTALLOC_PORTABLE));
	registered = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	OK(cuMemHostRegister_v2(registered, MIB, CU_MEMHOSTREGISTER_PORTABLE));
	pattern_fill(registered, N * 4, 5);
	for (int i = 0; i < 3; i++) {
		memset(host, 0, N * 4);
		OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
		OK(cuMemcpyHtoDAsync_v2(base + places[i], registered, N * 4, streams[i]));
		OK(cuEventRecord(event, streams[i]));
		OK(cuStreamWaitEvent(streams[i + 1], event, 0));
		OK(cuMemcpyDtoHAsync_v2(host, base + places[i], N * 4, streams[i + 1]));
		OK(cuLaunchHostFunc(streams[i + 1], count_call, &calls));
		OK(cuStreamSynchronize(streams[i + 1]));
		while ((result = cuEventQuery(event)) == CUDA_ERROR_NOT_READY)
			sleep_ms(1); // completions are polled for
		EXPECT(CUDA_SUCCESS, result);
		OK(cuEventDestroy_v2(event));
		pattern_check(host, N * 4, 5, "through the stream after");
		EQUAL(i + 1, calls);
	}
	OK(cuMemHostUnregister(registered));
	munmap(registered, MIB);
	OK(cuMemFreeHost(host));
	for (int i = 0; i < STREAMS; i++)
		OK(cuStreamDestroy_v2(streams[i]));
}

static void ask_about(CUdeviceptr base, size_t bytes, CUcontext context)
{
	CUdeviceptr start = 0;
	CUcontext owner = NULL;
	unsigned type = 0;
	size_t size = 0;

	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, base + bytes / 2));
	EQUAL(CU_MEMORYTYPE_DEVICE, type);
	OK(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, base));
	CHECK(owner == context, "the memory is the context's");
	OK(cuMemGetAddressRange_v2(&start, &size, base + bytes / 2));
	CHECK(start == base && size == bytes, "range of %zu bytes", size);
}

static void first_kernel(CUdeviceptr base)
{
	char *image = check_read("basic.ptx"), errors[512] = "";
	CUjit_option options[] = { CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES };
	void *values[] = { errors, (void *)(uintptr_t)sizeof(errors) };
	uint32_t n = N, first = 9, *host = calloc(N, 4), wrong = 0;
	CUfunction fill;
	CUmodule module;
	int registers = 0, blocks = 0;

	OK(cuModuleLoadDataEx(&module, image, 2, options, values));
	OK(cuModuleGetFunction(&fill, module, "fill"));
	OK(cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, fill));
	OK(cuFuncSetCacheConfig(fill, CU_FUNC_CACHE_PREFER_L1));
	OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill, 256, 0));
	CHECK(blocks > 0 && registers > 0, "%d blocks fit, %d registers", blocks, registers);
	LAUNCH(fill, (N + 255) / 256, 256, NULL, &base, &n, &first);
	OK(cuCtxSynchronize());
	OK(cuMemcpyDtoH_v2(host, base, N * 4));
	for (uint32_t i = 0; i < N && check_computes(); i++)
		wrong += host[i] != first + i;
	EQUAL(0, wrong);
	OK(cuModuleUnload(module));
	free(host);
	free(image);
}

int main(void)
{
	size_t bytes = 0;
	CUcontext context;
	CUdeviceptr base;
	int active = -1;
	unsigned flags;

	check_open();
	look_around();
	describe_device();
	context = make_context();
	base = take_nearly_all(&bytes);
	use_streams(base, bytes);
	ask_about(base, bytes, context);
	first_kernel(base);
	OK(cuMemFree_v2(base));
	OK(cuDevicePrimaryCtxRelease_v2(0));
	OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
	EQUAL(0, active);
	return check_done();
}
