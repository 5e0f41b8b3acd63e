// SPDX-License-Identifier: Apache-2.0
// Modules and functions of the cpu backend: PTX text goes to the engine, its refusals become the logs that a
// JIT compiler would have written. Executor process, loop thread.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/backends/cpu/cpu_image.h"

static void log_error(struct backend_jit *jit, const char *text)
{
	if (jit->error_bytes)
		snprintf(jit->error_log, jit->error_bytes, "%s\n", text);
}

static void log_ptx_error(struct backend_jit *jit, const struct ptx_error *e)
{
	char text[320];

	if (e->opcode[0])
		snprintf(text, sizeof(text), "ptx, line %u; error: %s: %s", e->line, e->opcode, e->text);
	else if (e->line)
		snprintf(text, sizeof(text), "ptx, line %u; error: %s", e->line, e->text);
	else
		snprintf(text, sizeof(text), "ptx; error: %s", e->text);
	log_error(jit, text);
}

// The engine takes the target from the text; all kernels of a module share it.
static int check_target(const struct ptx_module *m, struct backend_jit *jit)
{
	const struct ptx_kernel *k = ptx_module_kernel_at(m, 0);
	char text[96];

	if (!k || ptx_kernel_info(k)->target_sm <= CPU_SM)
		return 0;
	snprintf(text, sizeof(text), "ptx; error: .target sm_%u is above this device's sm_%u",
		 ptx_kernel_info(k)->target_sm, CPU_SM);
	log_error(jit, text);
	return CUDA_ERROR_INVALID_PTX;
}

static int load_ptx(struct backend *b, const struct cpu_image *image, struct backend_jit *jit,
		    struct ptx_module **ret)
{
	struct ptx_module_env env = cpu_module_env(b);
	struct ptx_error error = { 0 };
	int result = ptx_module_load(image->text, image->bytes, &env, ret, &error);

	if (!result)
		return check_target(*ret, jit);
	log_ptx_error(jit, &error);
	return result == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_PTX;
}

int cpu_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		    struct backend_module **ret)
{
	struct cpu_image found = { 0 };
	struct ptx_module *ptx = NULL;
	struct backend_module *m;
	char text[200];
	int result;

	if (jit->info_bytes)
		jit->info_log[0] = 0;
	if (jit->error_bytes)
		jit->error_log[0] = 0;
	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	result = cpu_image_ptx(image, image_bytes, CPU_SM, &found, text, sizeof(text));
	if (result) {
		log_error(jit, text);
		return result;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		result = CUDA_ERROR_OUT_OF_MEMORY;
	if (!result)
		result = load_ptx(b, &found, jit, &ptx);
	free(found.owned);
	if (result) {
		ptx_module_free(ptx);
		free(m);
		return result;
	}
	if (jit->info_bytes)
		snprintf(jit->info_log, jit->info_bytes, "compiled %zu kernels for the host's processor\n",
			 ptx_module_kernel_count(ptx));
	m->ptx = ptx;
	SLIST_INIT(&m->functions);
	*ret = m;
	return 0;
}

void cpu_module_unload(struct backend *b, struct backend_module *m)
{
	struct backend_function *f;

	(void)b;
	if (!m)
		return;
	while ((f = SLIST_FIRST(&m->functions))) {
		SLIST_REMOVE_HEAD(&m->functions, link);
		free(f->params);
		free(f);
	}
	ptx_module_free(m->ptx);
	free(m->names);
	free(m);
}

int cpu_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		     uint32_t *ret_count)
{
	size_t count = ptx_module_kernel_count(m->ptx);

	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	if (!m->names) {
		m->names = calloc(count ? count : 1, sizeof(*m->names));
		if (!m->names)
			return CUDA_ERROR_OUT_OF_MEMORY;
		for (size_t i = 0; i < count; i++)
			m->names[i] = ptx_kernel_info(ptx_module_kernel_at(m->ptx, i))->name;
	}
	*ret_names = m->names;
	*ret_count = (uint32_t)count;
	return 0;
}

static struct backend_function *function_new(const struct ptx_kernel *k)
{
	struct backend_function *f = calloc(1, sizeof(*f));
	const struct ptx_kernel_info *info = ptx_kernel_info(k);

	if (!f)
		return NULL;
	f->kernel = k;
	f->info = info;
	f->carveout = -1;
	f->max_dynamic = info->shared_static < CPU_SHARED_DEFAULT
			     ? (int32_t)(CPU_SHARED_DEFAULT - info->shared_static)
			     : 0;
	if (info->n_params) {
		f->params = calloc(info->n_params, sizeof(*f->params));
		if (!f->params) {
			free(f);
			return NULL;
		}
	}
	for (uint32_t i = 0; i < info->n_params; i++) {
		f->params[i][0] = info->params[i].offset;
		f->params[i][1] = info->params[i].size;
	}
	return f;
}

static void describe(const struct backend_function *f, struct backend_function_info *ret)
{
	const struct ptx_kernel_info *info = f->info;

	*ret = (struct backend_function_info){
		.n_params = info->n_params,
		.param_bytes = info->param_bytes,
		.params = (const uint32_t(*)[2])f->params,
		.attributes = {
			[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = (int32_t)info->max_threads,
			[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES] = (int32_t)info->shared_static,
			[CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES] = (int32_t)info->const_bytes,
			[CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES] = (int32_t)info->local_bytes,
			[CU_FUNC_ATTRIBUTE_NUM_REGS] = (int32_t)info->regs_estimate,
			[CU_FUNC_ATTRIBUTE_PTX_VERSION] = (int32_t)info->ptx_version,
			[CU_FUNC_ATTRIBUTE_BINARY_VERSION] = CPU_SM,
			[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = f->max_dynamic,
			[CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = f->carveout,
		},
		.attribute_valid = (1u << CU_FUNC_ATTRIBUTE_COUNT) - 1,
	};
}

// A kernel has one function, however often it is asked for, so what function_set changed is seen by all.
int cpu_function_get(struct backend *b, struct backend_module *m, const char *name,
		     struct backend_function **ret, struct backend_function_info *ret_info)
{
	const struct ptx_kernel *k = ptx_module_kernel(m->ptx, name);
	struct backend_function *f;

	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	if (!k)
		return CUDA_ERROR_NOT_FOUND;
	SLIST_FOREACH(f, &m->functions, link)
	if (f->kernel == k)
		break;
	if (!f) {
		f = function_new(k);
		if (!f)
			return CUDA_ERROR_OUT_OF_MEMORY;
		SLIST_INSERT_HEAD(&m->functions, f, link);
	}
	describe(f, ret_info);
	*ret = f;
	return 0;
}

int cpu_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value)
{
	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	switch (attribute) {
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
		if (value < 0 || (uint64_t)value + f->info->shared_static > CPU_SHARED_OPTIN)
			return CUDA_ERROR_INVALID_VALUE;
		f->max_dynamic = value;
		return 0;
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
		if (value < -1 || value > 100)
			return CUDA_ERROR_INVALID_VALUE;
		f->carveout = value;
		return 0;
	case 100: // the cache configuration: a preference, and there is nothing to configure
		return value < CU_FUNC_CACHE_PREFER_NONE || value > CU_FUNC_CACHE_PREFER_EQUAL
			   ? CUDA_ERROR_INVALID_VALUE
			   : 0;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

int cpu_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		   uint64_t *ret_size)
{
	uint64_t address;
	size_t size;

	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	if (ptx_module_global(m->ptx, name, &address, &size))
		return CUDA_ERROR_NOT_FOUND;
	*ret_address = address;
	*ret_size = size;
	return 0;
}
