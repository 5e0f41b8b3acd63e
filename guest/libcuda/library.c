// SPDX-License-Identifier: Apache-2.0
// Libraries and kernels: modules that belong to no context. The executor has one context, so a library is one
// module and a kernel one function, under handles of their own. Runs in the guest program.
#include <pthread.h>

#include "guest/libcuda/libcuda.h"

static struct vc_library *library_find(CUlibrary library)
{
	return vc_object_find(VC_LIBRARY, (uint64_t)(uintptr_t)library);
}

static struct vc_kernel *kernel_find(CUkernel kernel)
{
	return vc_object_find(VC_KERNEL, (uint64_t)(uintptr_t)kernel);
}

static CUresult ready(void)
{
	CUresult result = vc_ready();

	if (!result && vc_thread.in_callback)
		result = CUDA_ERROR_NOT_PERMITTED;
	return result ? result : (CUresult)vgpu_client_sticky(vc_client);
}

static CUresult make(struct vc_module *m, CUlibrary *ret)
{
	struct vc_library *library = vc_object_new(VC_LIBRARY);

	if (!library) {
		vc_module_unload(m);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	library->module = m;
	library->kernels = NULL;
	vc_object_publish(VC_LIBRARY, library);
	*ret = (CUlibrary)(uintptr_t)vc_object_handle(VC_LIBRARY, library);
	return CUDA_SUCCESS;
}

static int jit_is_valid(const struct vc_jit *jit)
{
	return !jit->count || (jit->options && jit->values);
}

// Library options: 0 hands out host universal functions (nothing to do), 1 says the image stays where it is.
// cuBLASLt 13 names an option and gives no values at all; the driver takes that.
static int options_are_valid(const CUlibraryOption *options, void **values, unsigned int count)
{
	if (count && !options)
		return 0;
	for (unsigned int i = 0; values && i < count; i++)
		if (options[i] < 0 || options[i] > 1)
			return 0;
	return 1;
}

CUresult cuLibraryLoadData(CUlibrary *ret, const void *code, CUjit_option *jit_options, void **jit_values,
			   unsigned int jit_count, CUlibraryOption *lib_options, void **lib_values,
			   unsigned int lib_count)
{
	struct vc_jit jit = { jit_count, jit_options, jit_values };
	struct vc_module *m;
	CUresult result = ready();

	if (result)
		return result;
	if (!ret || !code || !jit_is_valid(&jit) || !options_are_valid(lib_options, lib_values, lib_count))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_module_load(NULL, code, &jit, &m);
	return result ? result : make(m, ret);
}

CUresult cuLibraryLoadFromFile(CUlibrary *ret, const char *path, CUjit_option *jit_options, void **jit_values,
			       unsigned int jit_count, CUlibraryOption *lib_options, void **lib_values,
			       unsigned int lib_count)
{
	struct vc_jit jit = { jit_count, jit_options, jit_values };
	struct vc_module *m;
	CUresult result = ready();

	if (result)
		return result;
	if (!ret || !path || !jit_is_valid(&jit) || !options_are_valid(lib_options, lib_values, lib_count))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_module_load_file(NULL, path, &jit, &m);
	return result ? result : make(m, ret);
}

CUresult cuLibraryUnload(CUlibrary handle)
{
	struct vc_library *library;
	struct vc_kernel *kernel;
	CUresult result = ready();

	if (result)
		return result;
	library = library_find(handle);
	if (!library || !vc_object_claim(library, (uint64_t)(uintptr_t)handle))
		return CUDA_ERROR_INVALID_HANDLE;
	pthread_mutex_lock(&library->lock);
	while ((kernel = library->kernels)) {
		library->kernels = kernel->next;
		vc_object_free(VC_KERNEL, kernel);
	}
	pthread_mutex_unlock(&library->lock);
	vc_module_unload(library->module);
	vc_object_free(VC_LIBRARY, library);
	return CUDA_SUCCESS;
}

static CUresult kernel_of(struct vc_library *library, struct vc_function *f, CUkernel *ret)
{
	struct vc_kernel *kernel;

	pthread_mutex_lock(&library->lock);
	for (kernel = library->kernels; kernel && kernel->function != f; kernel = kernel->next)
		;
	if (!kernel) {
		kernel = vc_object_new(VC_KERNEL);
		if (kernel) {
			kernel->library = library;
			kernel->function = f;
			kernel->next = library->kernels;
			library->kernels = kernel;
			vc_object_publish(VC_KERNEL, kernel);
		}
	}
	pthread_mutex_unlock(&library->lock);
	if (!kernel)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ret = (CUkernel)(uintptr_t)vc_object_handle(VC_KERNEL, kernel);
	return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel *ret, CUlibrary handle, const char *name)
{
	struct vc_library *library;
	struct vc_function *f;
	CUresult result = ready();

	if (result)
		return result;
	if (!ret || !name)
		return CUDA_ERROR_INVALID_VALUE;
	library = library_find(handle);
	if (!library)
		return CUDA_ERROR_INVALID_HANDLE;
	result = vc_module_function(library->module, name, &f);
	return result ? result : kernel_of(library, f, ret);
}

CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary handle)
{
	struct vc_library *library;
	CUresult result = ready();

	if (result)
		return result;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	library = library_find(handle);
	return library ? vc_module_count(library->module, count) : CUDA_ERROR_INVALID_HANDLE;
}

struct kernel_list {
	struct vc_library *library;
	CUkernel *kernels;
};

static CUresult put_kernel(struct vc_function *f, unsigned int i, void *arg)
{
	const struct kernel_list *list = arg;

	return kernel_of(list->library, f, &list->kernels[i]);
}

CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int count, CUlibrary handle)
{
	struct kernel_list list = { .kernels = kernels };
	CUresult result = ready();

	if (result)
		return result;
	if (!kernels)
		return CUDA_ERROR_INVALID_VALUE;
	list.library = library_find(handle);
	if (!list.library)
		return CUDA_ERROR_INVALID_HANDLE;
	return vc_module_each(list.library->module, count, put_kernel, &list);
}

CUresult cuLibraryGetModule(CUmodule *ret, CUlibrary handle)
{
	struct vc_library *library;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	library = library_find(handle);
	if (!library)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = (CUmodule)(uintptr_t)vc_object_handle(VC_MODULE, library->module);
	return CUDA_SUCCESS;
}

CUresult cuLibraryGetGlobal(CUdeviceptr *ptr, size_t *bytes, CUlibrary handle, const char *name)
{
	struct vc_library *library;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!name || (!ptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	library = library_find(handle);
	return library ? vc_module_global(library->module, name, ptr, bytes) : CUDA_ERROR_INVALID_HANDLE;
}

// ---- kernels

static CUresult enter_kernel(CUkernel handle, struct vc_kernel **ret)
{
	CUresult result = ready();

	if (result)
		return result;
	*ret = kernel_find(handle);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuKernelGetFunction(CUfunction *ret, CUkernel handle)
{
	struct vc_context *ctx;
	struct vc_kernel *kernel;
	CUresult result = vc_enter(&ctx);

	if (!result)
		result = enter_kernel(handle, &kernel);
	if (result)
		return result;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = (CUfunction)(uintptr_t)vc_object_handle(VC_FUNCTION, kernel->function);
	return CUDA_SUCCESS;
}

CUresult cuKernelGetLibrary(CUlibrary *ret, CUkernel handle)
{
	struct vc_kernel *kernel;
	CUresult result = enter_kernel(handle, &kernel);

	if (result)
		return result;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = (CUlibrary)(uintptr_t)vc_object_handle(VC_LIBRARY, kernel->library);
	return CUDA_SUCCESS;
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel handle, CUdevice device)
{
	struct vc_kernel *kernel;
	CUresult result = enter_kernel(handle, &kernel);

	if (result)
		return result;
	return device ? CUDA_ERROR_INVALID_DEVICE : vc_function_attribute(kernel->function, attribute, value);
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle, CUdevice device)
{
	struct vc_kernel *kernel;
	CUresult result = enter_kernel(handle, &kernel);

	if (result)
		return result;
	return device ? CUDA_ERROR_INVALID_DEVICE : vc_function_set(kernel->function, attribute, value);
}

CUresult cuKernelSetCacheConfig(CUkernel handle, CUfunc_cache config, CUdevice device)
{
	struct vc_kernel *kernel;
	CUresult result = enter_kernel(handle, &kernel);

	if (result)
		return result;
	return device ? CUDA_ERROR_INVALID_DEVICE : vc_function_cache_config(kernel->function, config);
}

CUresult cuKernelGetName(const char **name, CUkernel handle)
{
	struct vc_kernel *kernel;
	CUresult result = enter_kernel(handle, &kernel);

	if (result)
		return result;
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = kernel->function->name;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset, size_t *size)
{
	struct vc_kernel *kernel;
	CUresult result = enter_kernel(handle, &kernel);

	return result ? result : vc_function_param(kernel->function, index, offset, size);
}
