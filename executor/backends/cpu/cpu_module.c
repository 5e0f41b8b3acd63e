// SPDX-License-Identifier: Apache-2.0
// Modules and functions of the cpu backend: PTX text goes to the engine, its refusals become the logs that a
// JIT compiler would have written. Where there is only machine code, the module knows its kernels and refuses
// to launch them, as a driver that loads lazily would. Executor process, loop thread.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/backends/cpu/cpu_code.h"
#include "executor/backends/cpu/cpu_image.h"
#include "executor/backends/cpu/cpu_link.h"

#define VARIABLE_ALIGN 256 // as the driver places them

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

// What m keeps has changed from so many bytes: more than VGPU_MAX_IMAGES_BYTES of all modules is not kept.
static int charge_code(struct backend *b, struct backend_module *m, size_t before)
{
	b->code_bytes += cpu_code_memory(m->code) - before;
	if (b->code_bytes <= VGPU_MAX_IMAGES_BYTES)
		return 0;
	b->code_bytes -= cpu_code_memory(m->code);
	cpu_code_drop(m->code);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static int code_kernels(struct backend *b, struct backend_module *m, const struct cpu_cubin **ret)
{
	size_t before = cpu_code_memory(m->code);
	int result = cpu_code_kernels(m->code, ret), charged = charge_code(b, m, before);

	return result ? result : charged;
}

static int load_linked(struct backend *b, const struct backend_input *inputs, uint32_t n,
		       struct backend_jit *jit, struct backend_module *m)
{
	struct cpu_image all;
	char text[200];
	int result = cpu_link_ptx(inputs, n, CPU_SM, &all, text, sizeof(text));

	if (result) {
		log_error(jit, text);
		return result;
	}
	result = load_ptx(b, &all, jit, &m->ptx);
	free(all.owned);
	return result;
}

// Fills m->ptx or m->code. PTX is preferred; machine code beside PTX that this device does not take is kept
// like machine code alone.
static int load(struct backend *b, const void *image, size_t bytes, struct backend_jit *jit,
		struct backend_module *m)
{
	struct cpu_image found = { 0 };
	struct fatbin_entry piece;
	char text[200];
	int result = cpu_image_ptx(image, bytes, CPU_SM, &found, text, sizeof(text));
	bool has_code = cpu_image_code(image, bytes, CPU_SM, &piece);

	if (!result) {
		result = load_ptx(b, &found, jit, &m->ptx);
		free(found.owned);
		if (result != CUDA_ERROR_INVALID_PTX || !has_code)
			return result;
		ptx_module_free(m->ptx);
		m->ptx = NULL;
	} else if (result != CUDA_ERROR_NO_BINARY_FOR_GPU || !has_code) {
		log_error(jit, text);
		return result;
	}
	result = cpu_code_new(&piece, &m->code, text, sizeof(text));
	if (!result)
		return charge_code(b, m, 0);
	log_error(jit, text);
	return result;
}

static struct backend_module *begin_load(struct backend_jit *jit)
{
	if (jit->info_bytes)
		jit->info_log[0] = 0;
	if (jit->error_bytes)
		jit->error_log[0] = 0;
	return calloc(1, sizeof(struct backend_module));
}

static int end_load(struct backend_module *m, int result, struct backend_jit *jit,
		    struct backend_module **ret)
{
	if (result) {
		ptx_module_free(m->ptx);
		cpu_code_free(m->code);
		free(m);
		return result;
	}
	if (jit->info_bytes && m->ptx)
		snprintf(jit->info_log, jit->info_bytes, "compiled %zu kernels for the host's processor\n",
			 ptx_module_kernel_count(m->ptx));
	SLIST_INIT(&m->functions);
	SLIST_INIT(&m->placed);
	*ret = m;
	return 0;
}

int cpu_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		    struct backend_module **ret)
{
	uint64_t before = b->variable_bytes;
	struct backend_module *m;
	int result;

	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	m = begin_load(jit);
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = load(b, image, image_bytes, jit, m);
	m->memory = b->variable_bytes - before;
	return end_load(m, result, jit, ret);
}

int cpu_module_link(struct backend *b, const struct backend_input *inputs, uint32_t n,
		    struct backend_jit *jit, struct backend_module **ret)
{
	uint64_t before = b->variable_bytes;
	struct backend_module *m;
	int result;

	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	m = begin_load(jit);
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = load_linked(b, inputs, n, jit, m);
	m->memory = b->variable_bytes - before;
	return end_load(m, result, jit, ret);
}

uint64_t cpu_module_memory(struct backend *b, struct backend_module *m)
{
	(void)b;
	return m->memory;
}

void cpu_module_unload(struct backend *b, struct backend_module *m)
{
	struct backend_function *f;

	struct ptx_module_env env = cpu_module_env(b);
	struct cpu_placed *p;

	if (!m)
		return;
	while ((f = SLIST_FIRST(&m->functions))) {
		SLIST_REMOVE_HEAD(&m->functions, link);
		free(f->params);
		free(f);
	}
	while ((p = SLIST_FIRST(&m->placed))) {
		SLIST_REMOVE_HEAD(&m->placed, link);
		env.free(env.opaque, p->address);
		free(p);
	}
	ptx_module_free(m->ptx);
	if (m->code)
		b->code_bytes -= cpu_code_memory(m->code);
	cpu_code_free(m->code);
	free(m->names);
	free(m);
}

// Makes the list of names of a module's kernels, n of them.
static int list_names(struct backend_module *m, const struct cpu_cubin *code, size_t n)
{
	m->names = calloc(n ? n : 1, sizeof(*m->names));
	if (!m->names)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (size_t i = 0; i < n; i++)
		m->names[i] = code ? cpu_cubin_kernel_at(code, i)->name
				   : ptx_kernel_info(ptx_module_kernel_at(m->ptx, i))->name;
	return 0;
}

int cpu_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		     uint32_t *ret_count)
{
	const struct cpu_cubin *code = NULL;
	int result = atomic_load(&b->sticky);
	size_t count;

	if (!result && m->code)
		result = code_kernels(b, m, &code);
	if (result)
		return result;
	count = code ? cpu_cubin_count(code) : ptx_module_kernel_count(m->ptx);
	if (!m->names)
		result = list_names(m, code, count);
	if (result)
		return result;
	*ret_names = m->names;
	*ret_count = (uint32_t)count;
	return 0;
}

// k is NULL for machine code.
static struct backend_function *function_new(const struct ptx_kernel *k, const struct ptx_kernel_info *info)
{
	struct backend_function *f = calloc(1, sizeof(*f));

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
		.refusal = f->kernel ? CUDA_SUCCESS : CUDA_ERROR_NO_BINARY_FOR_GPU,
	};
}

static int find_kernel(struct backend *b, struct backend_module *m, const char *name,
		       const struct ptx_kernel **ret, const struct ptx_kernel_info **ret_info)
{
	const struct cpu_cubin *code;
	int result;

	if (m->code) {
		result = code_kernels(b, m, &code);
		if (result)
			return result;
		*ret = NULL;
		*ret_info = cpu_cubin_kernel(code, name);
		return *ret_info ? 0 : CUDA_ERROR_NOT_FOUND;
	}
	*ret = ptx_module_kernel(m->ptx, name);
	if (!*ret)
		return CUDA_ERROR_NOT_FOUND;
	*ret_info = ptx_kernel_info(*ret);
	return 0;
}

// A kernel has one function, however often it is asked for, so what function_set changed is seen by all.
int cpu_function_get(struct backend *b, struct backend_module *m, const char *name,
		     struct backend_function **ret, struct backend_function_info *ret_info)
{
	const struct ptx_kernel_info *info;
	const struct ptx_kernel *k;
	struct backend_function *f;
	int result = atomic_load(&b->sticky);

	if (!result)
		result = find_kernel(b, m, name, &k, &info);
	if (result)
		return result;
	SLIST_FOREACH(f, &m->functions, link)
	if (f->info == info)
		break;
	if (!f) {
		f = function_new(k, info);
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

// Variables of machine code get memory when they are asked for: few ever are.
static int place_variable(struct backend *b, struct backend_module *m, const char *name,
			  uint64_t *ret_address, uint64_t *ret_size)
{
	struct ptx_module_env env = cpu_module_env(b);
	const struct cpu_variable *v;
	const struct cpu_cubin *code;
	struct cpu_placed *p;
	int result = code_kernels(b, m, &code);

	if (result)
		return result;
	v = cpu_cubin_variable(code, name);
	if (!v)
		return CUDA_ERROR_NOT_FOUND;
	SLIST_FOREACH(p, &m->placed, link)
	if (p->variable == v)
		break;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p || env.alloc(env.opaque, v->size, VARIABLE_ALIGN, &p->address)) {
			free(p);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		p->variable = v;
		m->memory += cpu_private_bytes(v->size);
		SLIST_INSERT_HEAD(&m->placed, p, link);
		if (v->bytes)
			memcpy((void *)(uintptr_t)p->address, v->bytes, v->size);
	}
	*ret_address = p->address;
	*ret_size = v->size;
	return 0;
}

int cpu_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		   uint64_t *ret_size)
{
	uint64_t address;
	size_t size;

	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	if (m->code)
		return place_variable(b, m, name, ret_address, ret_size);
	if (ptx_module_global(m->ptx, name, &address, &size))
		return CUDA_ERROR_NOT_FOUND;
	*ret_address = address;
	*ret_size = size;
	return 0;
}
