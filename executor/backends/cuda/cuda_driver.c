// SPDX-License-Identifier: Apache-2.0
// Finds the host's CUDA driver and the functions of cuda_driver.h in it. Executor process, at open only.
// Exported symbols carry their version in their name, so dlsym gives exactly the ABI that the table was
// written against.
#include "executor/backends/cuda/cuda_driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuda_driver_open(struct cuda_driver *ret, char *error, size_t error_bytes)
{
	const char *path = getenv("VGPU_HOST_LIBCUDA");
	struct cuda_driver d = { 0 };

	if (!path || !*path)
		path = "libcuda.so.1";
	d.library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!d.library) {
		snprintf(error, error_bytes, "no CUDA driver: %s", dlerror());
		return CUDA_ERROR_NO_DEVICE;
	}
#define CUDA_DRIVER_FIND(member, symbol, type, required)                                                     \
	d.member = (type)(uintptr_t)dlsym(d.library, symbol);                                                \
	if (!d.member && (required)) {                                                                       \
		snprintf(error, error_bytes, "%s has no %s: a driver of CUDA 12.4 or later is needed", path, \
			 symbol);                                                                            \
		return CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER;                                                \
	}
	CUDA_DRIVER_TABLE(CUDA_DRIVER_FIND)
#undef CUDA_DRIVER_FIND
	// The driver opens its compiler at the first PTX module, when a sandbox may refuse it. Loaded by its
	// name here, it is found in the process then.
	d.compiler = dlopen("libnvidia-ptxjitcompiler.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) != NULL;
	*ret = d;
	return 0;
}
