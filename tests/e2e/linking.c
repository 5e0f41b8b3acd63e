// SPDX-License-Identifier: Apache-2.0
//
// Several inputs through the driver's linker: what one text declares another defines, in either order; the
// linked image is loaded while the link state lives, and from a copy behind it.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

enum { N = 32 };

static CUlinkState begin(const char *const *files, int n)
{
	CUlinkState state;

	MUST(cuLinkCreate_v2(0, NULL, NULL, &state));
	for (int i = 0; i < n; i++) {
		char *ptx = check_read(files[i]);

		OK(cuLinkAddData_v2(state, CU_JIT_INPUT_PTX, ptx, strlen(ptx) + 1, files[i], 0, NULL, NULL));
		memset(ptx, 'x', strlen(ptx)); // the linker has its own copy
		free(ptx);
	}
	return state;
}

static void run(const void *image)
{
	static int got[N];
	CUdeviceptr memory, table = 0;
	CUmodule module;
	size_t bytes = 0;
	int wrong = 0;

	OK(cuModuleLoadData(&module, image));
	MUST(cuMemAlloc_v2(&memory, sizeof(got)));
	LAUNCH(check_function(module, "use"), 1, N, NULL, &memory);
	MUST(cuMemcpyDtoH_v2(got, memory, sizeof(got)));
	for (int i = 0; i < N; i++)
		wrong += got[i] != 3 * i + 5 + 6;
	EQUAL(0, wrong);
	OK(cuModuleGetGlobal_v2(&table, &bytes, module, "table"));
	EQUAL(16, bytes);
	OK(cuMemFree_v2(memory));
	OK(cuModuleUnload(module));
}

static void link_both(const char *first, const char *second)
{
	CUlinkState state = begin((const char *const[]){ first, second }, 2);
	void *image = NULL, *copy;
	size_t bytes = 0;

	OK(cuLinkComplete(state, &image, &bytes));
	if (!image || !bytes)
		check_bail("no image");
	run(image);
	copy = malloc(bytes);
	if (!copy)
		check_bail("no memory");
	memcpy(copy, image, bytes);
	OK(cuLinkDestroy(state));
	run(copy);
	free(copy);
}

static void what_is_missing_is_an_error(void)
{
	CUlinkState state = begin((const char *const[]){ "link_use.ptx", "prints.ptx" }, 2);
	void *image;
	size_t bytes;
	CUresult result = cuLinkComplete(state, &image, &bytes);

	CHECK(result != CUDA_SUCCESS, "a function that nobody defines: %s", driver_error_name(result));
	OK(cuLinkDestroy(state));
}

int main(void)
{
	check_context();
	if (!check_computes())
		check_skip("this backend does not read modules");
	link_both("link_use.ptx", "link_define.ptx");
	link_both("link_define.ptx", "link_use.ptx");
	what_is_missing_is_an_error();
	return check_done();
}
