// SPDX-License-Identifier: Apache-2.0
// Modules: an image is sent to the executor through the arena into a blob, and loaded there. Functions and
// variables are asked for by name once and remembered. Runs in the guest program; loading is one at a time.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"
#include "image/image.h"

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;

// ---- JIT options

static unsigned int log_room(const struct vc_jit *jit, CUjit_option buffer, CUjit_option size)
{
	unsigned int room = 0;
	int has_buffer = 0;

	for (unsigned int i = 0; i < jit->count; i++) {
		if (jit->options[i] == buffer && jit->values[i])
			has_buffer = 1;
		if (jit->options[i] == size)
			room = (unsigned int)(uintptr_t)jit->values[i];
	}
	return !has_buffer ? 0 : room > VGPU_MAX_JIT_LOG ? (unsigned int)VGPU_MAX_JIT_LOG : room;
}

static void set_options(const struct vc_jit *jit, struct record_module_load *record)
{
	for (unsigned int i = 0; i < jit->count; i++) {
		uint32_t value = (uint32_t)(uintptr_t)jit->values[i];

		switch (jit->options[i]) {
		case CU_JIT_MAX_REGISTERS: record->max_registers = value; break;
		case CU_JIT_THREADS_PER_BLOCK: record->threads_per_block = value; break;
		case CU_JIT_OPTIMIZATION_LEVEL: record->optimization = value; break;
		default: continue; // hints about debugging, caching and the target, or handled elsewhere
		}
		record->options |= 1u << jit->options[i];
	}
	record->log_info = log_room(jit, CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
	record->log_error = log_room(jit, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
}

// Copies one log to the program's buffer, terminated, and its length to the size option.
static void put_log(const struct vc_jit *jit, CUjit_option buffer, CUjit_option size, const char *log,
		    uint32_t length)
{
	char *to = NULL;
	size_t room = 0;

	for (unsigned int i = 0; i < jit->count; i++) {
		if (jit->options[i] == buffer)
			to = jit->values[i];
		if (jit->options[i] == size)
			room = (unsigned int)(uintptr_t)jit->values[i];
	}
	if (!to || !room)
		return;
	if (length > room - 1)
		length = (uint32_t)(room - 1);
	memcpy(to, log, length);
	to[length] = '\0';
	for (unsigned int i = 0; i < jit->count; i++)
		if (jit->options[i] == size)
			jit->values[i] = (void *)(uintptr_t)(length ? length + 1 : 0);
}

static void put_logs(const struct vc_jit *jit, const struct reply_module_load *reply, const char *tail,
		     uint32_t bytes)
{
	uint32_t info = reply->info_length < bytes ? reply->info_length : bytes;
	uint32_t error = reply->error_length < bytes - info ? reply->error_length : bytes - info;

	put_log(jit, CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, tail, info);
	put_log(jit, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, tail + info, error);
}

// ---- loading

// The blob is gone afterwards, whatever the result.
static CUresult load_blob(uint64_t module, uint64_t blob, const struct vc_jit *jit)
{
	static char tail[2 * VGPU_MAX_JIT_LOG]; // under load_lock
	struct record_module_load record = { .module = module, .blob = blob };
	struct reply_module_load reply = { 0, 0 };
	uint32_t tail_bytes = 0;
	CUresult result;

	set_options(jit, &record);
	result = (CUresult)vgpu_call_module_load(vc_client, &record, &reply, tail, sizeof(tail), &tail_bytes);
	put_logs(jit, &reply, tail, tail_bytes);
	return result;
}

CUresult vc_blob_send(const void *data, size_t bytes, struct vgpu_object **ret)
{
	struct vgpu_object *blob = vc_object_new(VC_BLOB);
	CUresult result;

	if (!blob)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = (CUresult)vgpu_blob_fill(vc_client, vc_object_handle(VC_BLOB, blob), data, bytes);
	if (result)
		vc_object_free(VC_BLOB, blob);
	else
		*ret = blob;
	return result;
}

static CUresult load_locked(uint64_t module, const void *image, size_t bytes, const struct vc_jit *jit)
{
	struct vgpu_object *blob;
	CUresult result = vc_blob_send(image, bytes, &blob);

	if (result)
		return result;
	result = load_blob(module, vc_object_handle(VC_BLOB, blob), jit);
	vc_object_free(VC_BLOB, blob);
	return result;
}

static CUresult load_bytes(struct vc_context *owner, const void *image, size_t bytes,
			   const struct vc_jit *jit, struct vc_module **ret)
{
	static const struct vc_jit none;
	struct vc_module *m;
	CUresult result = vc_backend_activate(0);

	if (result)
		return result;
	if (!bytes)
		return CUDA_ERROR_INVALID_IMAGE;
	if (bytes > VGPU_MAX_IMAGE_BYTES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m = vc_linked_take(image, bytes);
	if (m) {
		if (jit)
			put_logs(jit, &(struct reply_module_load){ 0, 0 }, "", 0);
		m->ctx = owner;
		*ret = m;
		return CUDA_SUCCESS;
	}
	m = vc_object_new(VC_MODULE);
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->ctx = owner;
	m->functions = NULL;
	pthread_mutex_lock(&load_lock);
	result = load_locked(vc_object_handle(VC_MODULE, m), image, bytes, jit ? jit : &none);
	pthread_mutex_unlock(&load_lock);
	if (result) {
		vc_object_free(VC_MODULE, m);
		return result;
	}
	vc_object_publish(VC_MODULE, m);
	*ret = m;
	return CUDA_SUCCESS;
}

CUresult vc_module_load(struct vc_context *owner, const void *image, const struct vc_jit *jit,
			struct vc_module **ret)
{
	size_t bytes = vgpu_image_size(&image);

	return load_bytes(owner, image, bytes, jit, ret);
}

CUresult vc_module_load_file(struct vc_context *owner, const char *path, const struct vc_jit *jit,
			     struct vc_module **ret)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *image = NULL;
	enum image_kind kind;
	const void *start;
	struct stat st;
	size_t have = 0, bytes;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return CUDA_ERROR_FILE_NOT_FOUND;
	if (st.st_size <= 0 || (uint64_t)st.st_size > VGPU_MAX_IMAGE_BYTES)
		return CUDA_ERROR_INVALID_IMAGE;
	// Zeros behind, so that headers that point past a short file's end meet nothing foreign.
	image = calloc(1, (size_t)st.st_size + 64);
	if (!image)
		return CUDA_ERROR_OUT_OF_MEMORY;
	while (have < (size_t)st.st_size) {
		ssize_t n = read(fd, image + have, (size_t)st.st_size - have);

		if (n <= 0 && errno != EINTR)
			return CUDA_ERROR_FILE_NOT_FOUND;
		have += n > 0 ? (size_t)n : 0;
	}
	// A file has a length of its own; text needs its terminator. A wrapper's address means nothing in a
	// file.
	start = image;
	kind = image_kind(image, (size_t)st.st_size);
	if (kind == IMAGE_WRAPPER)
		return CUDA_ERROR_INVALID_IMAGE;
	bytes = kind == IMAGE_ELF || kind == IMAGE_FATBIN ? (size_t)st.st_size : vgpu_image_size(&start);
	if (bytes > (size_t)st.st_size + 1) // of a linked image that was cut
		return CUDA_ERROR_INVALID_IMAGE;
	return load_bytes(owner, start, bytes, jit, ret);
}

void vc_module_unload(struct vc_module *m)
{
	struct record_module_unload record = { .module = vc_object_handle(VC_MODULE, m) };
	struct vc_function *f;
	struct vc_range range;

	if (!vc_object_claim(m, record.module))
		return;
	vc_linked_forget(m);
	pthread_mutex_lock(&m->lock);
	while ((f = m->functions)) {
		m->functions = f->next;
		vc_function_free(f);
	}
	pthread_mutex_unlock(&m->lock);
	while (!vc_range_remove_owned(m, &range))
		;
	vgpu_push_module_unload(vc_client, &record);
	vc_object_free(VC_MODULE, m);
}

static void release_one(void *object, void *arg)
{
	struct vc_module *m = object;

	if (m->ctx == arg)
		vc_module_unload(m);
}

void vc_modules_release(struct vc_context *ctx)
{
	vc_object_each(VC_MODULE, release_one, ctx);
}

// ---- what is in a module

CUresult vc_module_global(struct vc_module *m, const char *name, CUdeviceptr *ptr, size_t *bytes)
{
	struct record_global_get record = { .module = vc_object_handle(VC_MODULE, m) };
	struct reply_global_get reply;
	struct vc_range known;
	size_t length = strlen(name);
	CUresult result;

	if (!length || length > VGPU_MAX_SYMBOL)
		return CUDA_ERROR_NOT_FOUND;
	result = (CUresult)vgpu_call_global_get(vc_client, &record, name, (uint32_t)length, &reply);
	if (result)
		return result;
	if (reply.size && vc_range_find(reply.address, &known) &&
	    vc_range_add(&(struct vc_range){
		.base = reply.address, .bytes = reply.size, .kind = VC_RANGE_GLOBAL, .owner = m }) == -ENOMEM)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (ptr)
		*ptr = reply.address;
	if (bytes)
		*bytes = reply.size;
	return CUDA_SUCCESS;
}

static struct vc_module *module_find(CUmodule module)
{
	return vc_object_find(VC_MODULE, (uint64_t)(uintptr_t)module);
}

static CUresult finish_load(CUresult result, const struct vc_module *m, CUmodule *ret)
{
	if (!result)
		*ret = (CUmodule)(uintptr_t)vc_object_handle(VC_MODULE, m);
	return result;
}

CUresult cuModuleLoadDataEx(CUmodule *ret, const void *image, unsigned int count, CUjit_option *options,
			    void **values)
{
	struct vc_jit jit = { count, options, values };
	struct vc_module *m = NULL;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ret || !image || (count && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_module_load(ctx, image, &jit, &m);
	return finish_load(result, m, ret);
}

CUresult cuModuleLoadData(CUmodule *ret, const void *image)
{
	return cuModuleLoadDataEx(ret, image, 0, NULL, NULL);
}

CUresult cuModuleLoadFatBinary(CUmodule *ret, const void *image)
{
	return cuModuleLoadDataEx(ret, image, 0, NULL, NULL);
}

CUresult cuModuleLoad(CUmodule *ret, const char *path)
{
	struct vc_module *m = NULL;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ret || !path)
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_module_load_file(ctx, path, NULL, &m);
	return finish_load(result, m, ret);
}

CUresult cuModuleUnload(CUmodule module)
{
	struct vc_module *m;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	m = module_find(module);
	if (!m || !m->ctx)
		return CUDA_ERROR_INVALID_HANDLE; // a library's module goes with the library
	vc_module_unload(m);
	return CUDA_SUCCESS;
}

CUresult cuModuleGetLoadingMode(CUmodule_loading_mode *mode)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!mode)
		return CUDA_ERROR_INVALID_VALUE;
	*mode = CU_MODULE_LAZY_LOADING;
	return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *ret, CUmodule module, const char *name)
{
	struct vc_function *f;
	struct vc_module *m;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ret || !name)
		return CUDA_ERROR_INVALID_VALUE;
	m = module_find(module);
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	result = vc_module_function(m, name, &f);
	if (!result)
		*ret = (CUfunction)(uintptr_t)vc_object_handle(VC_FUNCTION, f);
	return result;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *ptr, size_t *bytes, CUmodule module, const char *name)
{
	struct vc_module *m;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!name || (!ptr && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	m = module_find(module);
	return m ? vc_module_global(m, name, ptr, bytes) : CUDA_ERROR_INVALID_HANDLE;
}
