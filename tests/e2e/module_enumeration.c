// SPDX-License-Identifier: Apache-2.0
//
// What a module or library holds can be listed: counts, handles, names.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static void module(const char *ptx)
{
	CUmodule loaded;
	CUfunction all[MOST], fill;
	unsigned count = 0;
	const char *name = NULL;
	bool found = false;

	MUST(cuModuleLoadData(&loaded, ptx));
	MUST(cuModuleGetFunction(&fill, loaded, "fill"));
	OK(cuModuleGetFunctionCount(&count, loaded));
	if (!CHECK(count >= 16 && count <= MOST, "%u functions", count))
		return;
	OK(cuModuleEnumerateFunctions(all, count, loaded));
	for (unsigned i = 0; i < count; i++) {
		if (cuFuncGetName(&name, all[i]) == CUDA_SUCCESS && !strcmp(name, "fill"))
			found = all[i] == fill;
	}
	CHECK(found, "the enumeration holds fill, with the handle it has by name");
	OK(cuModuleUnload(loaded));
}

static void library(const char *ptx)
{
	CUlibrary loaded;
	CUkernel all[MOST];
	unsigned count = 0;
	const char *name = NULL;
	bool found = false;

	MUST(cuLibraryLoadData(&loaded, ptx, NULL, NULL, 0, NULL, NULL, 0));
	OK(cuLibraryGetKernelCount(&count, loaded));
	if (!CHECK(count >= 16 && count <= MOST, "%u kernels", count))
		return;
	OK(cuLibraryEnumerateKernels(all, count, loaded));
	for (unsigned i = 0; i < count; i++) {
		if (cuKernelGetName(&name, all[i]) == CUDA_SUCCESS && !strcmp(name, "fill"))
			found = true;
	}
	CHECK(found, "the enumeration holds fill");
	OK(cuLibraryUnload(loaded));
}

int main(void)
{
	char *ptx;
	check_context();
	if (!check_computes())
		check_skip("this backend does not read modules");
	ptx = check_read("basic.ptx");
	module(ptx);
	library(ptx);
	free(ptx);
	return check_done();
}
