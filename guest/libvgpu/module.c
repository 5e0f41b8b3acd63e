// SPDX-License-Identifier: Apache-2.0
// Modules and what is in them. An image goes into a blob of the executor and is loaded there; a kernel is
// asked for by name once. Runs in the program, in any of its threads; loading is one at a time.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/client/image.h"
#include "guest/client/params.h"
#include "guest/libvgpu/libvgpu.h"

#define OPTION(id) (1u << (id))

// ---- loading

// The compiler's two logs, one behind the other, NUL-terminated.
static void put_log(const struct reply_module_load *reply, const char *tail, uint32_t tail_bytes, char *log,
		    size_t room)
{
	uint64_t length = (uint64_t)reply->info_length + reply->error_length;

	if (!room)
		return;
	if (length > tail_bytes)
		length = tail_bytes;
	if (length > room - 1)
		length = room - 1;
	memcpy(log, tail, length);
	log[length] = '\0';
}

static void set_options(const struct vgpu_load_options *o, struct record_module_load *record)
{
	if (o->max_registers) {
		record->max_registers = o->max_registers;
		record->options |= OPTION(CU_JIT_MAX_REGISTERS);
	}
	if (o->threads_per_block) {
		record->threads_per_block = o->threads_per_block;
		record->options |= OPTION(CU_JIT_THREADS_PER_BLOCK);
	}
	if (o->optimization_and_1) {
		record->optimization = o->optimization_and_1 - 1;
		record->options |= OPTION(CU_JIT_OPTIMIZATION_LEVEL);
	}
}

// The blob is gone afterwards, whatever the result. load_lock is held.
static int load_blob(struct vgpu *gpu, struct record_module_load *record, char *log, size_t log_bytes)
{
	char tail[2 * LV_LOG_BYTES];
	struct reply_module_load reply = { 0, 0 };
	uint32_t tail_bytes = 0;
	int result;

	record->log_info = record->log_error = log_bytes ? LV_LOG_BYTES : 0;
	result =
	    lv_error(vgpu_call_module_load(gpu->client, record, &reply, tail, sizeof(tail), &tail_bytes));
	put_log(&reply, tail, tail_bytes, log, log_bytes);
	return result;
}

static int load(struct vgpu *gpu, struct record_module_load *record, const void *image, size_t bytes,
		char *log, size_t log_bytes)
{
	struct vgpu_object *blob = vgpu_object_new(&gpu->blobs);
	int result;

	if (!blob)
		return VGPU_E_HOST_MEMORY;
	record->blob = vgpu_object_handle(&gpu->blobs, blob);
	result = lv_error(vgpu_blob_fill(gpu->client, record->blob, image, bytes));
	if (!result)
		result = load_blob(gpu, record, log, log_bytes);
	vgpu_object_free(&gpu->blobs, blob);
	return result;
}

static bool options_are_right(const struct vgpu_load_options *o)
{
	return !o || (o->size >= sizeof(*o) && o->optimization_and_1 <= 5);
}

LV_EXPORT int vgpu_module_load(struct vgpu *gpu, const void *image, size_t bytes,
			       const struct vgpu_load_options *options, char *log, size_t log_bytes,
			       struct vgpu_module **ret)
{
	struct record_module_load record = { .options = 0 };
	int result = lv_enter(gpu);
	struct lv_module *m;

	if (result)
		return result;
	if (!image || !ret || (log_bytes && !log) || !options_are_right(options))
		return VGPU_E_ARGUMENT;
	if (log_bytes)
		log[0] = '\0';
	if (!bytes)
		bytes = vgpu_image_size(&image);
	if (!bytes || bytes > VGPU_MAX_IMAGE_BYTES)
		return VGPU_E_IMAGE;
	m = vgpu_object_new(&gpu->modules);
	if (!m)
		return VGPU_E_LIMIT;
	m->functions = NULL;
	record.module = vgpu_object_handle(&gpu->modules, m);
	if (options)
		set_options(options, &record);
	pthread_mutex_lock(&gpu->load_lock);
	result = load(gpu, &record, image, bytes, log, log_bytes);
	pthread_mutex_unlock(&gpu->load_lock);
	if (result) {
		vgpu_object_free(&gpu->modules, m);
		return result;
	}
	vgpu_object_publish(&gpu->modules, m);
	*ret = (struct vgpu_module *)(uintptr_t)record.module;
	return VGPU_OK;
}

// ---- kernels

static void function_free(struct vgpu *gpu, struct lv_function *f)
{
	free(f->name);
	free(f->params);
	f->name = NULL;
	f->params = NULL;
	f->n_params = 0;
	vgpu_object_free(&gpu->functions, f);
}

static void free_texts(void *object, void *unused)
{
	struct lv_function *f = object;

	(void)unused;
	free(f->name);
	free(f->params);
}

void lv_functions_done(struct vgpu *gpu)
{
	vgpu_object_each(&gpu->functions, 1, free_texts, NULL);
}

static int take_layout(struct lv_function *f, const struct reply_function_get *reply,
		       const struct vgpu_param *params, uint32_t tail_bytes)
{
	if (!vgpu_params_are_sane(params, reply->n_params, tail_bytes, reply->param_bytes))
		return VGPU_E_UNEXPECTED;
	f->params = malloc(tail_bytes ? tail_bytes : 1);
	if (!f->params)
		return VGPU_E_HOST_MEMORY;
	memcpy(f->params, params, tail_bytes);
	f->n_params = reply->n_params;
	f->param_bytes = reply->param_bytes;
	f->refusal = reply->refusal;
	for (int i = 0; i < CU_FUNC_ATTRIBUTE_COUNT; i++)
		atomic_store_explicit(&f->attributes[i], reply->attributes[i], memory_order_relaxed);
	return VGPU_OK;
}

// Asks the executor for the kernel; on failure the function holds nothing.
static int ask(struct vgpu *gpu, uint64_t module, const char *name, struct lv_function *f)
{
	struct record_function_get record = { .module = module,
					      .function = vgpu_object_handle(&gpu->functions, f) };
	struct vgpu_param params[VGPU_MAX_PARAMS];
	struct reply_function_get reply;
	uint32_t tail_bytes;
	int result = lv_error(vgpu_call_function_get(gpu->client, &record, name, (uint32_t)strlen(name),
						     &reply, params, sizeof(params), &tail_bytes));

	if (result)
		return result;
	f->name = strdup(name);
	return f->name ? take_layout(f, &reply, params, tail_bytes) : VGPU_E_HOST_MEMORY;
}

// The module's function of that name, made if it is not there. The module's lock is held.
static int find_or_make(struct vgpu *gpu, struct lv_module *m, const char *name, struct lv_function **ret)
{
	struct lv_function *f = m->functions;
	int result;

	while (f && strcmp(f->name, name) != 0)
		f = f->next;
	*ret = f;
	if (f)
		return VGPU_OK;
	f = vgpu_object_new(&gpu->functions);
	if (!f)
		return VGPU_E_LIMIT;
	f->name = NULL;
	f->params = NULL;
	result = ask(gpu, vgpu_object_handle(&gpu->modules, m), name, f);
	if (result) {
		function_free(gpu, f);
		return result;
	}
	f->next = m->functions;
	m->functions = f;
	vgpu_object_publish(&gpu->functions, f);
	*ret = f;
	return VGPU_OK;
}

static bool name_is_right(const char *name)
{
	return *name && strlen(name) <= VGPU_MAX_SYMBOL;
}

static int enter_module(struct vgpu *gpu, struct vgpu_module *module, struct lv_module **ret)
{
	int result = lv_enter(gpu);

	if (result)
		return result;
	*ret = vgpu_object_find(&gpu->modules, (uintptr_t)module);
	return *ret ? VGPU_OK : VGPU_E_HANDLE;
}

LV_EXPORT int vgpu_function_get(struct vgpu *gpu, struct vgpu_module *module, const char *name,
				struct vgpu_function **ret)
{
	struct lv_function *f;
	struct lv_module *m;
	int result = enter_module(gpu, module, &m);

	if (result)
		return result;
	if (!name || !ret)
		return VGPU_E_ARGUMENT;
	if (!name_is_right(name))
		return VGPU_E_NOT_FOUND;
	pthread_mutex_lock(&m->lock);
	result = find_or_make(gpu, m, name, &f);
	pthread_mutex_unlock(&m->lock);
	if (!result)
		*ret = (struct vgpu_function *)(uintptr_t)vgpu_object_handle(&gpu->functions, f);
	return result;
}

LV_EXPORT int vgpu_module_free(struct vgpu *gpu, struct vgpu_module *module)
{
	struct record_module_unload record = { .module = (uintptr_t)module };
	struct lv_function *f;
	struct lv_module *m;
	int result = enter_module(gpu, module, &m);

	if (result)
		return result;
	if (!vgpu_object_claim(m, record.module))
		return VGPU_E_HANDLE;
	pthread_mutex_lock(&m->lock);
	while ((f = m->functions)) {
		m->functions = f->next;
		function_free(gpu, f);
	}
	pthread_mutex_unlock(&m->lock);
	result = lv_error(vgpu_push_module_unload(gpu->client, &record));
	vgpu_object_free(&gpu->modules, m);
	return result;
}

LV_EXPORT int vgpu_module_variable(struct vgpu *gpu, struct vgpu_module *module, const char *name,
				   uint64_t *ret_address, uint64_t *ret_bytes)
{
	struct record_global_get record = { .module = (uintptr_t)module };
	struct reply_global_get reply;
	struct lv_module *m;
	int result = enter_module(gpu, module, &m);

	if (result)
		return result;
	if (!name)
		return VGPU_E_ARGUMENT;
	if (!name_is_right(name))
		return VGPU_E_NOT_FOUND;
	result = lv_error(vgpu_call_global_get(gpu->client, &record, name, (uint32_t)strlen(name), &reply));
	if (!result && ret_address)
		*ret_address = reply.address;
	if (!result && ret_bytes)
		*ret_bytes = reply.size;
	return result;
}
