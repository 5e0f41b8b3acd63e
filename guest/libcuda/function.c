// SPDX-License-Identifier: Apache-2.0
// Kernels: one call by name tells parameter layout and attributes; all questions after that are answered
// here. Runs in the guest program.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

#define SET_CACHE_CONFIG 100 // function_set's number for cuFuncSetCacheConfig

void vc_function_free(struct vc_function *f)
{
	if (!vc_object_claim(f, vc_object_handle(VC_FUNCTION, f)))
		return;
	free(f->name);
	free(f->params);
	free(f->old_launch);
	f->name = NULL;
	f->params = NULL;
	f->old_launch = NULL;
	f->n_params = 0;
	vc_object_free(VC_FUNCTION, f);
}

static CUresult take_layout(struct vc_function *f, const struct reply_function_get *reply,
			    const struct vgpu_param *params, uint32_t tail_bytes)
{
	if (!vgpu_params_are_sane(params, reply->n_params, tail_bytes, reply->param_bytes))
		return CUDA_ERROR_INVALID_IMAGE;
	f->params = malloc(tail_bytes ? tail_bytes : 1);
	if (!f->params)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(f->params, params, tail_bytes);
	f->n_params = reply->n_params;
	f->param_bytes = reply->param_bytes;
	f->attribute_valid = reply->attribute_valid;
	f->refusal = reply->refusal;
	for (int i = 0; i < CU_FUNC_ATTRIBUTE_COUNT; i++)
		atomic_store_explicit(&f->attributes[i], reply->attributes[i], memory_order_relaxed);
	atomic_store(&f->occupancy, 0);
	return CUDA_SUCCESS;
}

static CUresult ask(struct vc_module *m, const char *name, size_t length, struct vc_function *f)
{
	struct record_function_get record = { .module = vc_object_handle(VC_MODULE, m),
					      .function = vc_object_handle(VC_FUNCTION, f) };
	struct vgpu_param params[VGPU_MAX_PARAMS];
	struct reply_function_get reply;
	uint32_t tail_bytes;
	CUresult result;

	result = (CUresult)vgpu_call_function_get(vc_client, &record, name, (uint32_t)length, &reply, params,
						  sizeof(params), &tail_bytes);
	if (result)
		return result;
	f->name = strdup(name);
	if (!f->name)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = take_layout(f, &reply, params, tail_bytes);
	if (result) {
		free(f->name);
		f->name = NULL;
	}
	return result;
}

CUresult vc_module_function(struct vc_module *m, const char *name, struct vc_function **ret)
{
	size_t length = strlen(name);
	struct vc_function *f;
	CUresult result = CUDA_SUCCESS;

	if (!length || length > VGPU_MAX_SYMBOL)
		return CUDA_ERROR_NOT_FOUND;
	pthread_mutex_lock(&m->lock);
	for (f = m->functions; f && strcmp(f->name, name) != 0; f = f->next)
		;
	if (!f) {
		f = vc_object_new(VC_FUNCTION);
		result = f ? ask(m, name, length, f) : CUDA_ERROR_OUT_OF_MEMORY;
		if (!result) {
			f->module = m;
			f->next = m->functions;
			m->functions = f;
			vc_object_publish(VC_FUNCTION, f);
		} else if (f) {
			vc_object_free(VC_FUNCTION, f);
		}
	}
	pthread_mutex_unlock(&m->lock);
	*ret = f;
	return result;
}

struct vc_function *vc_function_find(CUfunction function)
{
	uint64_t handle = (uint64_t)(uintptr_t)function;
	const struct vc_kernel *kernel;

	if (VC_LIKELY(handle_kind(handle) == VC_FUNCTION))
		return vc_object_find(VC_FUNCTION, handle);
	kernel = vc_object_find(VC_KERNEL, handle);
	return kernel ? kernel->function : NULL;
}

CUresult vc_function_attribute(struct vc_function *f, int attribute, int *value)
{
	if (!value || attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_COUNT ||
	    !(f->attribute_valid >> attribute & 1))
		return CUDA_ERROR_INVALID_VALUE;
	*value = atomic_load_explicit(&f->attributes[attribute], memory_order_relaxed);
	return CUDA_SUCCESS;
}

// Whether a program may set the attribute to the value; what else is wrong the executor's driver says.
static int may_set(const struct vc_function *f, int attribute, int value)
{
	int limit = vc_device.attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN];

	if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
		return value >= 0 &&
		       value <= limit - atomic_load(&f->attributes[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES]);
	if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
		return value >= -1 && value <= 100;
	return attribute >= CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH && attribute < CU_FUNC_ATTRIBUTE_COUNT;
}

static CUresult push_set(const struct vc_function *f, int attribute, int value)
{
	struct record_function_set record = { .function = vc_object_handle(VC_FUNCTION, f),
					      .attribute = (uint32_t)attribute,
					      .value = value };

	return (CUresult)vgpu_call_function_set(vc_client, &record);
}

CUresult vc_function_set(struct vc_function *f, int attribute, int value)
{
	CUresult result;

	if (!may_set(f, attribute, value))
		return CUDA_ERROR_INVALID_VALUE;
	if (atomic_load(&f->attributes[attribute]) == value)
		return CUDA_SUCCESS;
	result = push_set(f, attribute, value);
	if (!result) {
		atomic_store(&f->attributes[attribute], value);
		atomic_store(&f->occupancy, 0);
	}
	return result;
}

CUresult vc_function_cache_config(struct vc_function *f, CUfunc_cache config)
{
	if (config < CU_FUNC_CACHE_PREFER_NONE || config > CU_FUNC_CACHE_PREFER_EQUAL)
		return CUDA_ERROR_INVALID_VALUE;
	return push_set(f, SET_CACHE_CONFIG, config);
}

CUresult vc_function_param(const struct vc_function *f, size_t index, size_t *offset, size_t *size)
{
	if (!offset || index >= f->n_params)
		return CUDA_ERROR_INVALID_VALUE;
	*offset = f->params[index].offset;
	if (size)
		*size = f->params[index].size;
	return CUDA_SUCCESS;
}

// ---- the calls; a CUkernel will not do where the driver asks for a CUfunction

static CUresult enter_function(CUfunction function, struct vc_function **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	*ret = vc_object_find(VC_FUNCTION, (uint64_t)(uintptr_t)function);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	return result ? result : vc_function_attribute(f, attribute, value);
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	return result ? result : vc_function_set(f, attribute, value);
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	return result ? result : vc_function_cache_config(f, config);
}

// Banks have had one width since sm_50; the preference means nothing.
CUresult cuFuncSetSharedMemConfig(CUfunction function, CUsharedconfig config)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	return config >= 0 && config <= 2 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	*module = (CUmodule)(uintptr_t)vc_object_handle(VC_MODULE, f->module);
	return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char **name, CUfunction function)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = f->name;
	return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	return result ? result : vc_function_param(f, index, offset, size);
}

// Asking for a function's attributes loaded it.
CUresult cuFuncIsLoaded(int *state, CUfunction function)
{
	struct vc_function *f;
	CUresult result = enter_function(function, &f);

	if (result)
		return result;
	if (!state)
		return CUDA_ERROR_INVALID_VALUE;
	*state = 1;
	return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction function)
{
	struct vc_function *f;

	return enter_function(function, &f);
}
