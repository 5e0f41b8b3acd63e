// SPDX-License-Identifier: Apache-2.0
// Modules, functions and launches of the cuda backend. Executor process, loop thread. Images are the tenant's
// bytes and go to the driver as they are: the driver parses them, inside this tenant's sandboxed process.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>
#include <string.h>

// No kernel has more parameters than bytes of them.
#define MAX_PARAMS VGPU_MAX_PARAM_BYTES

static unsigned add_option(CUjit_option *options, void **values, unsigned n, CUjit_option option, void *value)
{
	options[n] = option;
	values[n] = value;
	return n + 1;
}

unsigned cuda_jit_options(struct backend_jit *jit, CUjit_option *options, void **values)
{
	unsigned n = 0;

	if (jit->max_registers)
		n = add_option(options, values, n, CU_JIT_MAX_REGISTERS,
			       (void *)(uintptr_t)jit->max_registers);
	if (jit->threads_per_block)
		n = add_option(options, values, n, CU_JIT_THREADS_PER_BLOCK,
			       (void *)(uintptr_t)jit->threads_per_block);
	if (jit->options & 1u << CU_JIT_OPTIMIZATION_LEVEL)
		n = add_option(options, values, n, CU_JIT_OPTIMIZATION_LEVEL,
			       (void *)(uintptr_t)jit->optimization);
	if (jit->info_bytes) {
		jit->info_log[0] = 0;
		n = add_option(options, values, n, CU_JIT_INFO_LOG_BUFFER, jit->info_log);
		n = add_option(options, values, n, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
			       (void *)(uintptr_t)jit->info_bytes);
	}
	if (jit->error_bytes) {
		jit->error_log[0] = 0;
		n = add_option(options, values, n, CU_JIT_ERROR_LOG_BUFFER, jit->error_log);
		n = add_option(options, values, n, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
			       (void *)(uintptr_t)jit->error_bytes);
	}
	return n;
}

void cuda_jit_end(struct backend_jit *jit)
{
	if (jit->info_bytes)
		jit->info_log[jit->info_bytes - 1] = 0;
	if (jit->error_bytes)
		jit->error_log[jit->error_bytes - 1] = 0;
}

int cuda_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		     struct backend_module **ret)
{
	struct backend_module *m = calloc(1, sizeof(*m));
	CUjit_option options[CUDA_JIT_OPTIONS];
	void *values[CUDA_JIT_OPTIONS];
	unsigned n;
	int result;

	(void)image_bytes; // the driver reads the image's own lengths; the executor keeps a 0 behind it
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	SLIST_INIT(&m->functions);
	n = cuda_jit_options(jit, options, values);
	result = cuda_result(b, b->cu.module_load_data_ex(&m->cu, image, n, options, values));
	cuda_jit_end(jit);
	if (result) {
		free(m);
		return result;
	}
	*ret = m;
	return 0;
}

static void function_free(struct backend_function *f)
{
	free(f->params);
	free(f);
}

void cuda_module_unload(struct backend *b, struct backend_module *m)
{
	struct backend_function *f;

	if (!m)
		return;
	cuda_result(b, b->cu.module_unload(m->cu));
	while ((f = SLIST_FIRST(&m->functions))) {
		SLIST_REMOVE_HEAD(&m->functions, link);
		function_free(f);
	}
	free(m->names);
	free(m);
}

static int read_names(struct backend *b, struct backend_module *m)
{
	CUfunction *functions;
	const char **names;
	unsigned int count;
	int result = cuda_result(b, b->cu.module_function_count(&count, m->cu));

	if (result)
		return result;
	functions = calloc(count ? count : 1, sizeof(*functions));
	names = calloc(count ? count : 1, sizeof(*names));
	if (!functions || !names)
		result = CUDA_ERROR_OUT_OF_MEMORY;
	if (!result && count)
		result = cuda_result(b, b->cu.module_enumerate(functions, count, m->cu));
	for (unsigned int i = 0; !result && i < count; i++)
		result = cuda_result(b, b->cu.func_get_name(&names[i], functions[i]));
	free(functions);
	if (result) {
		free(names);
		return result;
	}
	m->names = names;
	m->n_names = count;
	return 0;
}

// The driver has these calls since 12.4.
int cuda_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		      uint32_t *ret_count)
{
	int result = 0;

	if (!b->cu.module_function_count || !b->cu.module_enumerate || !b->cu.func_get_name)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!m->names)
		result = read_names(b, m);
	if (result)
		return result;
	*ret_names = m->names;
	*ret_count = m->n_names;
	return 0;
}

// Asks for parameters until the driver says there is no further one.
static int read_layout(struct backend *b, struct backend_function *f)
{
	size_t room = 0, offset, size;

	while (f->n_params < MAX_PARAMS &&
	       b->cu.func_get_param_info(f->cu, f->n_params, &offset, &size) == CUDA_SUCCESS) {
		if (f->n_params == room) {
			void *grown;

			room = room ? 2 * room : 16;
			grown = realloc(f->params, room * sizeof(*f->params));
			if (!grown)
				return CUDA_ERROR_OUT_OF_MEMORY;
			f->params = grown;
		}
		f->params[f->n_params][0] = (uint32_t)offset;
		f->params[f->n_params][1] = (uint32_t)size;
		f->n_params++;
		if (offset + size > f->param_bytes)
			f->param_bytes = (uint32_t)(offset + size);
	}
	return 0;
}

static int function_new(struct backend *b, CUfunction cu, struct backend_function **ret)
{
	struct backend_function *f = calloc(1, sizeof(*f));
	int result;

	if (!f)
		return CUDA_ERROR_OUT_OF_MEMORY;
	f->cu = cu;
	result = read_layout(b, f);
	if (result) {
		function_free(f);
		return result;
	}
	*ret = f;
	return 0;
}

// A kernel has one function, however often it is asked for.
int cuda_function_get(struct backend *b, struct backend_module *m, const char *name,
		      struct backend_function **ret, struct backend_function_info *ret_info)
{
	struct backend_function_info info = { 0 };
	struct backend_function *f;
	CUfunction cu;
	int result = cuda_result(b, b->cu.module_get_function(&cu, m->cu, name));

	if (result)
		return result;
	SLIST_FOREACH(f, &m->functions, link)
	if (f->cu == cu)
		break;
	if (!f) {
		result = function_new(b, cu, &f);
		if (result)
			return result;
		SLIST_INSERT_HEAD(&m->functions, f, link);
	}
	for (int i = 0; i < CU_FUNC_ATTRIBUTE_COUNT; i++)
		if (b->cu.func_get_attribute(&info.attributes[i], i, f->cu) == CUDA_SUCCESS)
			info.attribute_valid |= 1u << i;
	info.n_params = f->n_params;
	info.param_bytes = f->param_bytes;
	info.params = (const uint32_t(*)[2])f->params;
	*ret = f;
	*ret_info = info;
	return 0;
}

int cuda_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value)
{
	if (attribute == 100)
		return cuda_result(b, b->cu.func_set_cache_config(f->cu, value));
	return cuda_result(b, b->cu.func_set_attribute(f->cu, (CUfunction_attribute)attribute, value));
}

int cuda_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		    uint64_t *ret_size)
{
	CUdeviceptr address;
	size_t size;
	int result = cuda_result(b, b->cu.module_get_global(&address, &size, m->cu, name));

	if (result)
		return result;
	*ret_address = address;
	*ret_size = size;
	return 0;
}

int cuda_occupancy(struct backend *b, struct backend_function *f, uint32_t block_threads,
		   uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks)
{
	int blocks;
	int result =
	    cuda_result(b, b->cu.occupancy(&blocks, f->cu, (int)block_threads, dynamic_shared, flags));

	if (!result)
		*ret_blocks = blocks;
	return result;
}

// The parameters as an array of pointers, for a driver without cuLaunchKernelEx: its cooperative launch knows
// no parameter buffer.
static int launch_pointers(struct backend *b, struct backend_function *f, const struct backend_launch *l,
			   CUstream s)
{
	void **pointers = NULL;
	int result;

	if (!b->cu.launch_cooperative || l->n_attributes)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (f->n_params) {
		pointers = calloc(f->n_params, sizeof(*pointers));
		if (!pointers)
			return CUDA_ERROR_OUT_OF_MEMORY;
		for (uint32_t i = 0; i < f->n_params; i++)
			pointers[i] = (char *)(uintptr_t)l->params + f->params[i][0];
	}
	result = cuda_result(b, b->cu.launch_cooperative(f->cu, l->grid[0], l->grid[1], l->grid[2],
							 l->block[0], l->block[1], l->block[2],
							 l->dynamic_shared, s, pointers));
	free(pointers);
	return result;
}

struct launch_config {
	CUlaunchConfig cu;
	CUlaunchAttribute attributes[VGPU_MAX_LAUNCH_ATTRS + 1]; // what cu points at
};

static int launch_config(const struct backend_launch *l, CUstream s, struct launch_config *ret)
{
	if (l->n_attributes > VGPU_MAX_LAUNCH_ATTRS)
		return CUDA_ERROR_INVALID_VALUE;
	ret->cu = (CUlaunchConfig){
		.gridDimX = l->grid[0],
		.gridDimY = l->grid[1],
		.gridDimZ = l->grid[2],
		.blockDimX = l->block[0],
		.blockDimY = l->block[1],
		.blockDimZ = l->block[2],
		.sharedMemBytes = l->dynamic_shared,
		.hStream = s,
		.attrs = ret->attributes,
		.numAttrs = l->n_attributes,
	};
	if (l->n_attributes)
		memcpy(ret->attributes, l->attributes, l->n_attributes * sizeof(ret->attributes[0]));
	if (l->cooperative)
		ret->attributes[ret->cu.numAttrs++] =
		    (CUlaunchAttribute){ .id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1 };
	return CUDA_SUCCESS;
}

static int launch_extended(struct backend *b, struct backend_function *f, const struct backend_launch *l,
			   CUstream s, void **extra)
{
	struct launch_config config;
	int result = launch_config(l, s, &config);

	return result ? result : cuda_result(b, b->cu.launch_kernel_ex(&config.cu, f->cu, NULL, extra));
}

int cuda_occupancy_clusters(struct backend *b, struct backend_function *f, const struct backend_launch *l,
			    enum cluster_question what, int32_t *ret)
{
	cuOccupancyMaxActiveClusters_fn ask =
	    what == CLUSTER_QUESTION_ACTIVE ? b->cu.active_clusters : b->cu.cluster_size;
	struct launch_config config;
	int result = ask ? launch_config(l, CU_STREAM_LEGACY, &config) : CUDA_ERROR_NOT_SUPPORTED, value;

	if (!result)
		result = cuda_result(b, ask(&value, f->cu, &config.cu));
	if (!result)
		*ret = value;
	return result;
}

int cuda_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
		struct backend_stream *stream)
{
	size_t bytes = f->param_bytes;
	void *buffer[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(uintptr_t)l->params,
			   CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END };
	void **extra = f->param_bytes ? buffer : NULL;
	CUstream s = cuda_stream(stream);

	if (l->param_bytes < f->param_bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (!l->cooperative && !l->n_attributes)
		return cuda_result(b, b->cu.launch_kernel(f->cu, l->grid[0], l->grid[1], l->grid[2],
							  l->block[0], l->block[1], l->block[2],
							  l->dynamic_shared, s, NULL, extra));
	if (!b->cu.launch_kernel_ex)
		return launch_pointers(b, f, l, s);
	return launch_extended(b, f, l, s, extra);
}
