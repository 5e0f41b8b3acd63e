// SPDX-License-Identifier: Apache-2.0
//
// For the programs that use libvgpu: calls that must succeed, a module, a launch in one dimension.
#ifndef VGPU_TESTS_E2E_CAPI_H
#define VGPU_TESTS_E2E_CAPI_H

#include "tests/e2e/check.h"

#include <vgpu.h>

#include <stdlib.h>

#define FINE(call)	     EQUAL(VGPU_OK, call)
#define REFUSED(error, call) EQUAL(error, call)
// Prepares: ends the program when it fails.
#define NEED(call)                                                                                       \
	do {                                                                                             \
		int need_result = (call);                                                                \
		if (need_result)                                                                         \
			check_bail("%s: %s %s", #call, vgpu_error_text(need_result), vgpu_open_error()); \
	} while (0)

static inline struct vgpu *capi_open(void)
{
	struct vgpu *gpu;

	NEED(vgpu_open(NULL, &gpu));
	return gpu;
}

static inline struct vgpu_module *capi_module(struct vgpu *gpu, const char *file)
{
	struct vgpu_module *module;
	char *text = check_read(file);

	NEED(vgpu_module_load(gpu, text, 0, NULL, NULL, 0, &module));
	free(text);
	return module;
}

static inline struct vgpu_function *capi_function(struct vgpu *gpu, struct vgpu_module *module,
						  const char *name)
{
	struct vgpu_function *function;

	NEED(vgpu_function_get(gpu, module, name, &function));
	return function;
}

static inline int capi_launch(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_function *function,
			      uint32_t grid, uint32_t block, const void *const *parameters)
{
	const struct vgpu_shape shape = { sizeof(shape), { grid, 1, 1 }, { block, 1, 1 }, 0 };

	return vgpu_launch(gpu, stream, function, &shape, parameters);
}

#define CAPI_LAUNCH(gpu, stream, function, grid, block, ...) \
	capi_launch(gpu, stream, function, grid, block, (const void *const[]){ __VA_ARGS__ })

#endif
