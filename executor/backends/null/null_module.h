// SPDX-License-Identifier: Apache-2.0
// Modules, functions and variables of the null backend: operations of struct backend_ops (backend.h).
#ifndef VGPU_EXECUTOR_BACKENDS_NULL_NULL_MODULE_H
#define VGPU_EXECUTOR_BACKENDS_NULL_NULL_MODULE_H

#include <stdint.h>
#include <sys/queue.h>

#include "executor/backends/backend.h"

#define NULL_GLOBAL_BYTES VGPU_KIB(64)

struct backend_function {
	LIST_ENTRY(backend_function) next;
	uint32_t param[1][2];
	uint32_t n_params;
	int32_t dynamic_shared;
	char name[];
};

// Address of a variable's NULL_GLOBAL_BYTES; 0: there are no more. null.c.
uint64_t null_place_variable(struct backend *b);

int null_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		     struct backend_module **ret);
int null_module_link(struct backend *b, const struct backend_input *inputs, uint32_t n,
		     struct backend_jit *jit, struct backend_module **ret);
void null_module_unload(struct backend *b, struct backend_module *m);
int null_function_get(struct backend *b, struct backend_module *m, const char *name,
		      struct backend_function **ret, struct backend_function_info *ret_info);
int null_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		      uint32_t *ret_count);
int null_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value);
int null_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		    uint64_t *ret_size);

#endif
