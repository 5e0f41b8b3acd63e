// SPDX-License-Identifier: Apache-2.0
//
// Finds the CUDA driver library and its functions at run time (see the header). Runs in the demo's workload,
// the end-to-end tests and the benchmark; called once, before any thread starts.
#include "demo/driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUDA_CALL(symbol, parameters) CUresult(*symbol) parameters;
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL

static const struct {
	const char *name;
	void *slot;
} functions[] = {
#define CUDA_CALL(symbol, parameters) { #symbol, &symbol },
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL
};

static void *library;

static CUresult absent(void)
{
	return CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND;
}

const char *driver_open(void)
{
	const char *path = getenv("VGPU_TEST_LIBCUDA");
	CUresult (*stand_in)(void) = absent;
	library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return dlerror();
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *found = dlsym(library, functions[i].name);
		// Through bytes: ISO C has no cast between data and function pointers.
		memcpy(functions[i].slot, found ? (void *)&found : (void *)&stand_in, sizeof(found));
	}
	return NULL;
}

void *driver_symbol(const char *name)
{
	return library ? dlsym(library, name) : NULL;
}

int driver_missing(char *names, size_t size)
{
	int missing = 0;
	size_t used = 0;
	names[0] = 0;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (driver_symbol(functions[i].name))
			continue;
		if (used < size)
			used += (size_t)snprintf(names + used, size - used, "%s%s", missing ? "," : "",
						 functions[i].name);
		missing++;
	}
	return missing;
}

const char *driver_error_name(CUresult code)
{
	switch ((int)code) {
#define CUDA_RESULT(number, name, text) \
	case number: return #name;
#include "protocol/cuda/cuda_results.def"
#undef CUDA_RESULT
	}
	return "unknown code";
}

void driver_must(CUresult result, const char *what)
{
	if (result == CUDA_SUCCESS)
		return;
	fprintf(stderr, "%s: %s\n", what, driver_error_name(result));
	exit(2);
}
