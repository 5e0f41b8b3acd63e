// SPDX-License-Identifier: Apache-2.0
//
// fault KIND: a kernel goes wrong (the kinds are those of the table below; hang and hang_polled: it never
// ends, and the mediator must have watch.work); the error is the right one and stays for every later call of
// this process.
#include "tests/e2e/check.h"

#include <string.h>

static CUmodule module;
static CUdeviceptr memory;

// Memory without an address, mapped with that access.
static CUdeviceptr shown(int flags)
{
	const CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					   .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	const CUmemAccessDesc access = { .location = prop.location, .flags = flags };
	CUmemGenericAllocationHandle handle;
	int supported = 0;
	CUdeviceptr p;

	MUST(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
	if (!supported)
		check_skip("this device has no memory without addresses");
	MUST(cuMemAddressReserve(&p, 2 * MIB, 0, 0, 0));
	MUST(cuMemCreate(&handle, 2 * MIB, &prop, 0));
	MUST(cuMemMap(p, 2 * MIB, 0, handle, 0));
	if (flags)
		MUST(cuMemSetAccess(p, 2 * MIB, &access, 1));
	return p;
}

static void launch_fault(const char *kind)
{
	CUdeviceptr bad = 16;
	uint32_t value = 1, holds = 0;
	if (!strcmp(kind, "illegal")) {
		LAUNCH(check_function(module, "write_at"), 1, 1, NULL, &bad, &value);
	} else if (!strcmp(kind, "freed")) {
		MUST(cuMemAlloc_v2(&bad, 64 * MIB));
		MUST(cuMemFree_v2(bad));
		bad += 32 * MIB;
		LAUNCH(check_function(module, "read_at"), 1, 1, NULL, &bad, &memory);
	} else if (!strcmp(kind, "misaligned")) {
		bad = memory + 2;
		LAUNCH(check_function(module, "write_at"), 1, 1, NULL, &bad, &value);
	} else if (!strcmp(kind, "read_only")) {
		bad = shown(CU_MEM_ACCESS_FLAGS_PROT_READ);
		LAUNCH(check_function(module, "read_at"), 1, 1, NULL, &bad, &memory);
		MUST(cuCtxSynchronize());
		LAUNCH(check_function(module, "write_at"), 1, 1, NULL, &bad, &value);
	} else if (!strcmp(kind, "no_access")) {
		bad = shown(CU_MEM_ACCESS_FLAGS_PROT_NONE);
		LAUNCH(check_function(module, "read_at"), 1, 1, NULL, &bad, &memory);
	} else if (!strcmp(kind, "trap")) {
		LAUNCH(check_function(module, "do_trap"), 1, 1, NULL, &value);
	} else if (!strcmp(kind, "assert")) {
		LAUNCH(check_function(module, "do_assert"), 1, 1, NULL, &holds);
	} else if (!strncmp(kind, "hang", 4)) {
		void *gate;
		CUresult result;
		MUST(cuMemHostAlloc(&gate, 64, 0));
		memset(gate, 0, 64);
		LAUNCH(check_function(module, "forever"), 1, 1, NULL, &gate);
		// A program that never waits in a call shall learn of it too.
		while (!strcmp(kind, "hang_polled") && (result = cuStreamQuery(NULL)))
			if (result != CUDA_ERROR_NOT_READY)
				break;
	} else {
		check_bail("unknown kind %s", kind);
	}
}

static CUresult expected(const char *kind)
{
	static const struct {
		const char *kind;
		CUresult result;
	} table[] = {
		{ "illegal", CUDA_ERROR_ILLEGAL_ADDRESS },
		{ "freed", CUDA_ERROR_ILLEGAL_ADDRESS },
		{ "misaligned", CUDA_ERROR_MISALIGNED_ADDRESS },
		{ "read_only", CUDA_ERROR_ILLEGAL_ADDRESS },
		{ "no_access", CUDA_ERROR_ILLEGAL_ADDRESS },
		{ "trap", CUDA_ERROR_LAUNCH_FAILED },
		{ "assert", CUDA_ERROR_ASSERT },
		{ "hang", CUDA_ERROR_LAUNCH_TIMEOUT },
		{ "hang_polled", CUDA_ERROR_LAUNCH_TIMEOUT },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!strcmp(kind, table[i].kind))
			return table[i].result;
	}
	return CUDA_ERROR_UNKNOWN;
}

static void sticky(CUresult want, CUstream stream, CUevent event)
{
	CUdeviceptr ptr;
	CUstream made;
	CUevent event_made;
	CUcontext current;
	CUfunction function;
	size_t n;
	int value;
	unsigned type;
	uint32_t word;

	EXPECT(want, cuCtxSynchronize());
	EXPECT(want, cuCtxSynchronize());
	EXPECT(want, cuStreamSynchronize(stream));
	EXPECT(want, cuStreamQuery(stream));
	EXPECT(want, cuEventQuery(event));
	EXPECT(want, cuMemAlloc_v2(&ptr, 16));
	EXPECT(want, cuMemFree_v2(memory));
	EXPECT(want, cuMemcpyDtoH_v2(&word, memory, 4));
	EXPECT(want, cuMemsetD32_v2(memory, 0, 1));
	EXPECT(want, cuStreamCreate(&made, 0));
	EXPECT(want, cuEventCreate(&event_made, 0));
	EXPECT(want, cuMemGetInfo_v2(&n, &n));
	EXPECT(want, cuModuleGetFunction(&function, module, "write_at"));
	// Calls that ask nothing of the device go on.
	OK(cuDeviceGetCount(&value));
	OK(cuDeviceGetAttribute(&value, 16, 0));
	OK(cuCtxGetCurrent(&current));
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory));
}

int main(int argc, char **argv)
{
	CUstream stream;
	CUevent event;
	if (argc != 2)
		check_bail("usage: fault KIND");
	check_context();
	if (!check_computes())
		check_skip("this backend computes nothing");
	module = check_module("faults.ptx");
	MUST(cuMemAlloc_v2(&memory, 4096));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&event, 0));
	launch_fault(argv[1]);
	sticky(expected(argv[1]), stream, event);
	return check_done();
}
