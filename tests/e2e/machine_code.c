// SPDX-License-Identifier: Apache-2.0
//
// Images with machine code: a fat binary packed as nvcc of CUDA 13 does runs; a cubin that the cpu backend
// cannot run is loaded all the same, tells what is in it, and refuses the launch.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

enum { N = 256 };

// steps[i % 3] + c + (int)d, for each i
static void packed(CUdeviceptr to)
{
	static int got[N];
	CUmodule module = check_module("packed.fatbin");
	CUfunction step = check_function(module, "step");
	char c = 10;
	double d = 100.75;
	int wrong = 0;

	MUST(cuMemsetD8_v2(to, 0, sizeof(got)));
	LAUNCH(step, N / 128, 128, NULL, &to, &c, &d);
	MUST(cuMemcpyDtoH_v2(got, to, sizeof(got)));
	for (int i = 0; i < N; i++)
		wrong += got[i] != i % 3 + 111;
	EQUAL(0, wrong);
	OK(cuModuleUnload(module));
}

static void contents(CUlibrary library, CUkernel step)
{
	size_t offset = 9, size = 9;
	unsigned count = 0;
	const char *name = NULL;
	CUkernel listed = NULL;
	int value = 0, steps[3] = { 0 };
	CUdeviceptr variable = 0;

	OK(cuLibraryGetKernelCount(&count, library));
	EQUAL(1, count);
	OK(cuLibraryEnumerateKernels(&listed, 1, library));
	CHECK(listed == step, "the same kernel by its place as by its name");
	OK(cuKernelGetName(&name, step));
	CHECK(name && strcmp(name, "step") == 0, "its name is %s", name ? name : "(null)");
	OK(cuKernelGetParamInfo(step, 2, &offset, &size));
	CHECK(offset == 16 && size == 8, "the third parameter: %zu bytes at %zu", size, offset);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuKernelGetParamInfo(step, 3, &offset, &size));
	OK(cuKernelGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, step, 0));
	EQUAL(128, value);
	OK(cuLibraryGetGlobal(&variable, &size, library, "steps"));
	EQUAL(sizeof(steps), size);
	OK(cuMemcpyDtoH_v2(steps, variable, sizeof(steps)));
	CHECK(steps[0] == 1 && steps[1] == 2 && steps[2] == 3, "the variable's initial values");
	EXPECT(CUDA_ERROR_NOT_FOUND, cuLibraryGetGlobal(&variable, &size, library, "nothing"));
}

static void code_alone(CUdeviceptr to)
{
	char *image = check_read("packed.cubin"), c = 0;
	double d = 0;
	void *params[] = { &to, &c, &d };
	CUlibrary library;
	CUkernel step, other;

	OK(cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0));
	OK(cuLibraryGetKernel(&step, library, "step"));
	EXPECT(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&other, library, "nothing"));
	contents(library, step);
	EXPECT(CUDA_ERROR_NO_BINARY_FOR_GPU,
	       cuLaunchKernel((CUfunction)step, 1, 1, 1, 128, 1, 1, 0, NULL, params, NULL));
	OK(cuCtxSynchronize()); // nothing was started and nothing failed
	OK(cuLibraryUnload(library));
	free(image);
}

int main(void)
{
	CUdeviceptr to;

	check_context();
	if (!check_computes())
		check_skip("this backend does not read images");
	MUST(cuMemAlloc_v2(&to, N * sizeof(int)));
	packed(to);
	// What a GPU says of code for another generation depends on the GPU; the processor runs none.
	if (check_backend() == BACKEND_CPU)
		code_alone(to);
	OK(cuMemFree_v2(to));
	return check_done();
}
