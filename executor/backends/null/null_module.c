// SPDX-License-Identifier: Apache-2.0
// Modules of the null backend. An image is not read: a module has whatever kernel is asked for, without
// parameters, or with one parameter of N bytes when its name ends in __pN. Each name is also a variable of
// 64 KiB.
#include "executor/backends/null/null_module.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "executor/backends/null/null_device.h"
#include "protocol/cuda/cuda_abi.h"

struct null_global {
	LIST_ENTRY(null_global) next;
	uint64_t address;
	char name[];
};

struct backend_module {
	LIST_HEAD(, backend_function) functions;
	LIST_HEAD(, null_global) globals;
};

int null_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		     struct backend_module **ret)
{
	(void)b;
	(void)image;
	(void)image_bytes;
	(void)jit;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return CUDA_ERROR_OUT_OF_MEMORY;
	LIST_INIT(&(*ret)->functions);
	LIST_INIT(&(*ret)->globals);
	return CUDA_SUCCESS;
}

int null_module_link(struct backend *b, const struct backend_input *inputs, uint32_t n,
		     struct backend_jit *jit, struct backend_module **ret)
{
	(void)n;
	return null_module_load(b, inputs[0].data, inputs[0].bytes, jit, ret);
}

void null_module_unload(struct backend *b, struct backend_module *m)
{
	struct backend_function *f;
	struct null_global *g;

	(void)b;
	while ((f = LIST_FIRST(&m->functions))) {
		LIST_REMOVE(f, next);
		free(f);
	}
	while ((g = LIST_FIRST(&m->globals))) {
		LIST_REMOVE(g, next);
		free(g);
	}
	free(m);
}

// Bytes of the parameter that a name ending in __pN has; 0: none.
static uint32_t param_bytes_of(const char *name)
{
	const char *at = NULL;
	unsigned long n;
	char *end;

	for (const char *p = name; (p = strstr(p, "__p")); p++)
		at = p;
	if (!at || at[3] < '1' || at[3] > '9')
		return 0;
	n = strtoul(at + 3, &end, 10);
	return *end || n > VGPU_MAX_PARAM_BYTES ? 0 : (uint32_t)n;
}

static struct backend_function *function_of(struct backend_module *m, const char *name)
{
	size_t bytes = strlen(name) + 1;
	struct backend_function *f;

	LIST_FOREACH (f, &m->functions, next)
		if (strcmp(f->name, name) == 0)
			return f;
	f = calloc(1, sizeof(*f) + bytes);
	if (!f)
		return NULL;
	memcpy(f->name, name, bytes);
	f->param[0][1] = param_bytes_of(name);
	f->n_params = f->param[0][1] ? 1 : 0;
	f->dynamic_shared = 49152;
	LIST_INSERT_HEAD(&m->functions, f, next);
	return f;
}

int null_function_get(struct backend *b, struct backend_module *m, const char *name,
		      struct backend_function **ret, struct backend_function_info *ret_info)
{
	struct backend_function *f = function_of(m, name);

	(void)b;
	if (!f)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ret_info = (struct backend_function_info){
		.n_params = f->n_params,
		.param_bytes = f->param[0][1],
		.params = f->param,
		.attribute_valid = 0xffff,
	};
	null_function_attributes(ret_info->attributes);
	ret_info->attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = f->dynamic_shared;
	*ret = f;
	return CUDA_SUCCESS;
}

// Images are not read, so nothing is known to be in them.
int null_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		      uint32_t *ret_count)
{
	(void)b;
	(void)m;
	*ret_names = NULL;
	*ret_count = 0;
	return CUDA_SUCCESS;
}

int null_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value)
{
	(void)b;
	if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
		return CUDA_SUCCESS;
	if (value < 0 || value > NULL_SHARED_OPTIN)
		return CUDA_ERROR_INVALID_VALUE;
	f->dynamic_shared = value;
	return CUDA_SUCCESS;
}

int null_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		    uint64_t *ret_size)
{
	uint64_t address;
	size_t bytes = strlen(name) + 1;
	struct null_global *g;

	LIST_FOREACH (g, &m->globals, next)
		if (strcmp(g->name, name) == 0)
			break;
	if (!g) {
		address = null_place_variable(b);
		g = address ? calloc(1, sizeof(*g) + bytes) : NULL;
		if (!g)
			return CUDA_ERROR_OUT_OF_MEMORY;
		memcpy(g->name, name, bytes);
		g->address = address;
		LIST_INSERT_HEAD(&m->globals, g, next);
	}
	*ret_address = g->address;
	*ret_size = NULL_GLOBAL_BYTES;
	return CUDA_SUCCESS;
}
