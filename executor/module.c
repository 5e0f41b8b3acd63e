// SPDX-License-Identifier: Apache-2.0
// Images and what is in them: handlers of blob_*, module_*, function_*, global_get, occupancy. An image is
// collected in a private buffer first, so the backend's parser reads memory that nobody else can change.
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/pages.h"
#include "executor/executor.h"
#include "executor/link_image.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "image/image.h"
#include "protocol/cuda/cuda_abi.h"

// ---- blobs ----

int32_t on_blob_create(struct executor *x, const struct record_blob_create *r, struct blob **ret_blob)
{
	struct blob *b;

	if (x->sticky)
		return x->sticky;
	if (!r->size)
		return CUDA_ERROR_INVALID_VALUE;
	if (r->size > VGPU_MAX_IMAGE_BYTES || r->size > VGPU_MAX_IMAGES_BYTES - x->image_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b = calloc(1, sizeof(*b));
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->data = pages_alloc(r->size + 1);
	if (!b->data) {
		free(b);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	b->size = r->size;
	x->image_bytes += r->size;
	*ret_blob = b;
	return CUDA_SUCCESS;
}

void blob_free(struct executor *x, void *object)
{
	struct blob *b = object;

	x->image_bytes -= b->size;
	handle_remove(x, b->object.handle);
	pages_free(b->data, b->size + 1);
	free(b);
}

int32_t on_blob_write(struct executor *x, const struct record_blob_write *r, struct blob *blob)
{
	uint64_t arena_bytes = x->assign.geometry.arena_bytes;

	if (x->sticky)
		return x->sticky;
	if (r->length > blob->size || r->offset > blob->size - r->length || r->length > arena_bytes ||
	    r->arena_offset > arena_bytes - r->length)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(blob->data + r->offset,
	       (const uint8_t *)(uintptr_t)x->assign.geometry.host_window_base + r->arena_offset, r->length);
	return CUDA_SUCCESS;
}

int32_t on_blob_destroy(struct executor *x, const struct record_blob_destroy *r, struct blob *blob)
{
	(void)r;
	blob_free(x, blob);
	return CUDA_SUCCESS;
}

// ---- modules ----

static uint64_t feature_of(const void *image, uint64_t bytes)
{
	switch (image_kind(image, bytes)) {
	case IMAGE_ELF: return UINT64_C(1) << FEATURE_CUBIN;
	case IMAGE_FATBIN: return UINT64_C(1) << FEATURE_FAT_BINARY;
	case IMAGE_PTX: return UINT64_C(1) << FEATURE_PTX;
	default: return 0;
	}
}

// ret_features: what that is a use of.
static int32_t load_image(struct executor *x, const struct blob *blob, struct backend_jit *jit,
			  struct backend_module **ret, uint64_t *ret_features)
{
	struct backend_input inputs[VGPU_MAX_LINK_INPUTS];
	uint32_t n;
	int32_t result;

	*ret_features = feature_of(blob->data, blob->size);
	if (!link_image_is(blob->data, blob->size))
		return x->ops->module_load(x->backend, blob->data, blob->size, jit, ret);
	result = link_image_read(blob->data, blob->size, inputs, &n);
	*ret_features = UINT64_C(1) << FEATURE_LINKING;
	for (uint32_t i = 0; !result && i < n; i++)
		*ret_features |= feature_of(inputs[i].data, inputs[i].bytes);
	return result ? result : x->ops->module_link(x->backend, inputs, n, jit, ret);
}

// Brings the tenant's charge for the module to what it takes now. The caller gives it up when there is no
// room.
static int32_t charge_module(struct executor *x, struct module *m)
{
	uint64_t bytes = x->ops->module_memory ? x->ops->module_memory(x->backend, m->backend) : m->charged;

	if (bytes > m->charged && !memory_charge(&x->memory, bytes - m->charged))
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->charged = bytes > m->charged ? bytes : m->charged;
	return CUDA_SUCCESS;
}

int32_t on_module_load(struct executor *x, const struct record_module_load *r, struct module **ret_module,
		       struct blob *blob, struct reply_module_load *ret, struct reply_tail *ret_tail)
{
	char info[VGPU_MAX_JIT_LOG + 1] = "", error[VGPU_MAX_JIT_LOG + 1] = "";
	struct backend_jit jit = {
		.max_registers = r->max_registers,
		.threads_per_block = r->threads_per_block,
		.optimization = r->optimization,
		.options = r->options,
		.info_log = info,
		.error_log = error,
		.info_bytes = r->log_info,
		.error_bytes = r->log_error,
	};
	int32_t result = executor_ready(x);
	struct module *m = NULL;
	uint64_t features = 0;
	bool prints = x->ops->print_flush && print_in_image(blob->data, blob->size);

	if (!result) {
		m = calloc(1, sizeof(*m));
		result = m ? load_image(x, blob, &jit, &m->backend, &features) : CUDA_ERROR_OUT_OF_MEMORY;
		if (!result) {
			result = charge_module(x, m);
			if (result)
				x->ops->module_unload(x->backend, m->backend);
		}
	}
	blob_free(x, blob);
	ret->info_length = (uint32_t)strnlen(info, r->log_info);
	ret->error_length = (uint32_t)strnlen(error, r->log_error);
	if (ret->info_length + ret->error_length > ret_tail->room)
		ret->error_length = ret_tail->room - ret->info_length;
	memcpy(ret_tail->data, info, ret->info_length);
	memcpy(ret_tail->data + ret->info_length, error, ret->error_length);
	ret_tail->bytes = ret->info_length + ret->error_length;
	if (result) {
		free(m);
		return result;
	}
	if (prints)
		atomic_fetch_or_explicit(&x->header->print, CHANNEL_PRINT_ASK, memory_order_release);
	executor_used(x, features);
	LIST_INIT(&m->functions);
	SLIST_INIT(&m->globals);
	*ret_module = m;
	return CUDA_SUCCESS;
}

void module_free(struct executor *x, void *object)
{
	struct module *m = object;
	struct function *f;
	struct module_global *g;

	x->gone++;
	while ((f = LIST_FIRST(&m->functions))) {
		LIST_REMOVE(f, next);
		handle_remove(x, f->object.handle);
		free(f);
	}
	while ((g = SLIST_FIRST(&m->globals))) {
		SLIST_REMOVE_HEAD(&m->globals, next);
		memory_remove_foreign(&x->memory, g->address);
		free(g);
	}
	x->ops->module_unload(x->backend, m->backend);
	memory_uncharge(&x->memory, m->charged);
	handle_remove(x, m->object.handle);
	free(m);
}

int32_t on_module_unload(struct executor *x, const struct record_module_unload *r, struct module *module)
{
	int32_t result = executor_ready(x);

	(void)r;
	if (result)
		return result;
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	module_free(x, module);
	return CUDA_SUCCESS;
}

// ---- what is in a module ----

// A symbol's name travels without its terminator; one is tolerated. False: empty or with a 0 byte inside.
static bool symbol(const uint8_t *tail, uint32_t bytes, char *ret)
{
	memcpy(ret, tail, bytes);
	ret[bytes] = 0;
	if (bytes && !ret[bytes - 1])
		bytes--;
	return bytes && strlen(ret) == bytes;
}

static bool layout_fits(const struct backend_function_info *info, uint32_t room)
{
	if (info->param_bytes > VGPU_MAX_PARAM_BYTES || info->n_params > room / sizeof(info->params[0]))
		return false;
	for (uint32_t i = 0; i < info->n_params; i++)
		if (info->params[i][0] > info->param_bytes ||
		    info->params[i][1] > info->param_bytes - info->params[i][0])
			return false;
	return true;
}

int32_t on_function_get(struct executor *x, const struct record_function_get *r, struct module *module,
			struct function **ret_function, const uint8_t *tail, uint32_t tail_bytes,
			struct reply_function_get *ret, struct reply_tail *ret_tail)
{
	struct backend_function_info info = { 0 };
	struct backend_function *backend;
	char name[VGPU_MAX_SYMBOL + 1];
	int32_t result = executor_ready(x);
	struct function *f;

	(void)r;
	if (result)
		return result;
	if (!symbol(tail, tail_bytes, name))
		return CUDA_ERROR_NOT_FOUND;
	result = x->ops->function_get(x->backend, module->backend, name, &backend, &info);
	if (result)
		return result;
	if (!layout_fits(&info, ret_tail->room))
		return CUDA_ERROR_NOT_SUPPORTED;
	f = calloc(1, sizeof(*f));
	if (!f)
		return CUDA_ERROR_OUT_OF_MEMORY;
	f->backend = backend;
	f->param_bytes = info.param_bytes;
	f->id = ++x->last_function;
	LIST_INSERT_HEAD(&module->functions, f, next);
	ret->n_params = info.n_params;
	ret->param_bytes = info.param_bytes;
	memcpy(ret->attributes, info.attributes, sizeof(ret->attributes));
	ret->attribute_valid = info.attribute_valid;
	ret->refusal = info.refusal;
	ret_tail->bytes = info.n_params * (uint32_t)sizeof(info.params[0]);
	if (ret_tail->bytes)
		memcpy(ret_tail->data, info.params, ret_tail->bytes);
	*ret_function = f;
	return CUDA_SUCCESS;
}

int32_t on_module_names(struct executor *x, const struct record_module_names *r, struct module *module,
			struct reply_module_names *ret, struct reply_tail *ret_tail)
{
	int32_t result = executor_ready(x);
	const char *const *names;
	uint32_t count;

	if (!result)
		result = x->ops->module_names(x->backend, module->backend, &names, &count);
	if (result)
		return result;
	ret->count = count;
	for (uint32_t i = r->first; i < count; i++) {
		size_t bytes = strlen(names[i]) + 1;

		if (bytes > ret_tail->room - ret_tail->bytes)
			break;
		memcpy(ret_tail->data + ret_tail->bytes, names[i], bytes);
		ret_tail->bytes += (uint32_t)bytes;
		ret->named++;
	}
	return CUDA_SUCCESS;
}

static bool attribute_settable(uint32_t attribute)
{
	return attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
	       attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT ||
	       (attribute >= CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH &&
		attribute < CU_FUNC_ATTRIBUTE_COUNT) ||
	       attribute == 100; // cuFuncSetCacheConfig
}

int32_t on_function_set(struct executor *x, const struct record_function_set *r, struct function *function)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!attribute_settable(r->attribute))
		return CUDA_ERROR_INVALID_VALUE;
	return x->ops->function_set(x->backend, function->backend, r->attribute, r->value);
}

// The variable is memory that the program may use from here on, and is charged with its module, or by itself
// where the backend does not know what a module takes.
static int32_t know_variable(struct executor *x, struct module *module, uint64_t address, uint64_t size)
{
	struct module_global *g = malloc(sizeof(*g));
	int32_t result = g ? charge_module(x, module) : CUDA_ERROR_OUT_OF_MEMORY;
	bool is_new = false;

	if (!result)
		result = memory_add_foreign(&x->memory, address, size, &is_new);
	if (!result && is_new && !x->ops->module_memory) {
		if (memory_charge(&x->memory, size)) {
			module->charged += size;
		} else {
			memory_remove_foreign(&x->memory, address);
			result = CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	if (result || !is_new) {
		free(g);
		return result;
	}
	g->address = address;
	SLIST_INSERT_HEAD(&module->globals, g, next);
	return CUDA_SUCCESS;
}

int32_t on_global_get(struct executor *x, const struct record_global_get *r, struct module *module,
		      const uint8_t *tail, uint32_t tail_bytes, struct reply_global_get *ret)
{
	int32_t result = executor_ready(x);
	char name[VGPU_MAX_SYMBOL + 1];
	uint64_t address, size;

	(void)r;
	if (result)
		return result;
	if (!symbol(tail, tail_bytes, name))
		return CUDA_ERROR_NOT_FOUND;
	result = x->ops->global_get(x->backend, module->backend, name, &address, &size);
	if (result)
		return result;
	result = know_variable(x, module, address, size);
	if (result)
		return result;
	ret->address = address;
	ret->size = size;
	return CUDA_SUCCESS;
}

int32_t on_occupancy(struct executor *x, const struct record_occupancy *r, struct function *function,
		     struct reply_occupancy *ret)
{
	int32_t result = executor_ready(x);

	return result ? result
		      : x->ops->occupancy(x->backend, function->backend, r->block_threads, r->dynamic_shared,
					  r->flags, &ret->blocks);
}
