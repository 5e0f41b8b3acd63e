// SPDX-License-Identifier: Apache-2.0
//
// fault KIND: a kernel goes wrong (illegal, unmapped, misaligned, trap, assert); the error is the right one
// and stays for every later call of this process.
#include "tests/e2e/check.h"

#include <string.h>

static CUmodule module;
static CUdeviceptr memory;

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
	} else if (!strcmp(kind, "trap")) {
		LAUNCH(check_function(module, "do_trap"), 1, 1, NULL, &value);
	} else if (!strcmp(kind, "assert")) {
		LAUNCH(check_function(module, "do_assert"), 1, 1, NULL, &holds);
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
		{ "trap", CUDA_ERROR_LAUNCH_FAILED },
		{ "assert", CUDA_ERROR_ASSERT },
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
		check_bail("usage: fault illegal|freed|misaligned|trap|assert");
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
