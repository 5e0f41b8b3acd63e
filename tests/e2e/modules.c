// SPDX-License-Identifier: Apache-2.0
//
// Modules: PTX in and out, bad PTX with the compiler's log, functions, globals, enumeration, files; the
// linker and the library interface on the same kernels.
#include "tests/e2e/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void bad_images(void)
{
	static const char bad[] =
	    ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry k() { nonsense r0; }\n";
	char log[4096] = "";
	CUjit_option options[] = { CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES };
	void *values[] = { log, (void *)(uintptr_t)sizeof(log) };
	CUmodule module = NULL;

	EXPECT(CUDA_ERROR_INVALID_PTX, cuModuleLoadData(&module, bad));
	EXPECT(CUDA_ERROR_INVALID_PTX, cuModuleLoadDataEx(&module, bad, 2, options, values));
	CHECK(log[0] && memchr(log, 0, sizeof(log)), "the error log says: %.60s", log);
	EXPECT(CUDA_ERROR_INVALID_IMAGE, cuModuleLoadData(&module, "this is no image"));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(&module, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(NULL, bad));
	EXPECT(CUDA_ERROR_FILE_NOT_FOUND, cuModuleLoad(&module, "/nonexistent/file.ptx"));
}

static void functions(const char *ptx)
{
	CUmodule module, owner = NULL;
	CUfunction function = NULL, again = NULL;
	const char *name = NULL;
	size_t offset = 9, size = 9;

	OK(cuModuleLoadData(&module, ptx));
	EXPECT(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "no_such_kernel"));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuModuleGetFunction(&function, module, NULL));
	OK(cuModuleGetFunction(&function, module, "fill"));
	OK(cuModuleGetFunction(&again, module, "fill"));
	CHECK(function == again, "one function, one handle");
	OK(cuFuncGetModule(&owner, function));
	CHECK(owner == module, "a function's module");
	OK(cuFuncGetName(&name, function));
	CHECK(name && !strcmp(name, "fill"), "a function's name");
	OK(cuFuncGetParamInfo(function, 1, &offset, &size));
	CHECK(offset == 8 && size == 4, "second parameter: %zu bytes at %zu", size, offset);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(function, 3, &offset, &size));
	OK(cuModuleUnload(module));
}

static void globals(const char *ptx)
{
	CUmodule a, b;
	CUdeviceptr in_a = 0, in_b = 0, table = 0, out, constants = 0, none;
	CUfunction use;
	size_t bytes = 0;
	uint32_t v = 0, scale[4] = { 1, 2, 3, 4 };

	MUST(cuModuleLoadData(&a, ptx));
	MUST(cuModuleLoadData(&b, ptx));
	MUST(cuMemAlloc_v2(&out, 4));
	OK(cuModuleGetGlobal_v2(&in_a, &bytes, a, "counter"));
	EQUAL(4, bytes);
	OK(cuModuleGetGlobal_v2(&in_b, NULL, b, "counter"));
	CHECK(in_a && in_a != in_b, "each module has its own globals");
	OK(cuModuleGetGlobal_v2(NULL, &bytes, a, "table"));
	EQUAL(64, bytes);
	OK(cuModuleGetGlobal_v2(&table, NULL, a, "table"));
	EXPECT(CUDA_ERROR_NOT_FOUND, cuModuleGetGlobal_v2(&none, &bytes, a, "no_such_global"));
	OK(cuModuleGetGlobal_v2(&constants, &bytes, a, "scale"));
	EQUAL(16, bytes);
	use = check_function(a, "use_globals");
	OK(cuMemcpyDtoH_v2(&v, in_a, 4));
	if (check_computes())
		EQUAL(7, v);
	LAUNCH(use, 1, 1, NULL, &out);
	OK(cuMemcpyDtoH_v2(&v, out, 4));
	if (check_computes())
		EQUAL(7 + 10 + 40 + 90 + 160, v);
	OK(cuMemsetD32_v2(in_a, 1000, 1));
	OK(cuMemsetD32_v2(table, 2, 16));
	OK(cuMemcpyHtoD_v2(constants, scale, 16));
	LAUNCH(use, 1, 1, NULL, &out);
	OK(cuMemcpyDtoH_v2(&v, in_a, 4));
	if (check_computes())
		EQUAL(1000 + 16 / 4 * 2 * (1 + 2 + 3 + 4), v);
	OK(cuMemcpyDtoH_v2(&v, in_b, 4));
	if (check_computes())
		EQUAL(7, v);
	MUST(cuMemFree_v2(out));
	OK(cuModuleUnload(a));
	OK(cuModuleUnload(b));
}

static void from_file(const char *ptx)
{
	char path[] = "/tmp/vgpu-e2e-XXXXXX";
	int fd = mkstemp(path);
	CUmodule module;
	CUfunction function;
	if (fd < 0 || write(fd, ptx, strlen(ptx)) != (ssize_t)strlen(ptx))
		check_bail("cannot write %s", path);
	close(fd);
	OK(cuModuleLoad(&module, path));
	unlink(path);
	OK(cuModuleGetFunction(&function, module, "step"));
	OK(cuModuleUnload(module));
}

static void run_step(CUfunction function, const char *what)
{
	CUdeviceptr word;
	uint32_t with = 9, v = 0;
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32_v2(word, 2, 1));
	LAUNCH(function, 1, 1, NULL, &word, &with);
	MUST(cuMemcpyDtoH_v2(&v, word, 4));
	if (check_computes())
		CHECK(v == 15, "%s: expected 15, got %u", what, v);
	MUST(cuMemFree_v2(word));
}

static void linker(char *ptx)
{
	CUlinkState state;
	CUmodule module;
	void *image = NULL;
	size_t bytes = 0;
	OK(cuLinkCreate_v2(0, NULL, NULL, &state));
	OK(cuLinkAddData_v2(state, CU_JIT_INPUT_PTX, ptx, strlen(ptx) + 1, "basic.ptx", 0, NULL, NULL));
	OK(cuLinkComplete(state, &image, &bytes));
	CHECK(image && bytes, "linked image of %zu bytes", bytes);
	OK(cuModuleLoadData(&module, image));
	OK(cuLinkDestroy(state));
	run_step(check_function(module, "step"), "a linked kernel");
	OK(cuModuleUnload(module));
}

static void library(const char *ptx)
{
	CUlibrary lib, owner = NULL;
	CUkernel kernel, none;
	CUfunction function = NULL;
	int value = 0;
	OK(cuLibraryLoadData(&lib, ptx, NULL, NULL, 0, NULL, NULL, 0));
	EXPECT(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&none, lib, "no_such_kernel"));
	OK(cuLibraryGetKernel(&kernel, lib, "step"));
	OK(cuKernelGetLibrary(&owner, kernel));
	CHECK(owner == lib, "a kernel's library");
	OK(cuKernelGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0));
	CHECK(value > 0, "at most %d threads", value);
	OK(cuKernelGetFunction(&function, kernel));
	run_step(function, "a kernel's function");
	run_step((CUfunction)kernel, "a kernel launched by its own handle");
	OK(cuLibraryUnload(lib));
}

int main(void)
{
	char *ptx;
	check_context();
	if (!check_computes())
		check_skip("this backend does not read modules");
	ptx = check_read("basic.ptx");
	bad_images();
	functions(ptx);
	globals(ptx);
	from_file(ptx);
	linker(ptx);
	library(ptx);
	free(ptx);
	return check_done();
}
