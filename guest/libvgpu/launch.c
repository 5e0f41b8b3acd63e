// SPDX-License-Identifier: Apache-2.0
// Launches, and what is asked of kernels. What can be said of a launch here is said here, so that an error
// comes from the call that made it. Runs in the program, in any of its threads.
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/client/params.h"
#include "guest/libvgpu/libvgpu.h"

static int find_function(struct vgpu *gpu, struct vgpu_function *function, struct lv_function **ret)
{
	*ret = vgpu_object_find(&gpu->functions, (uintptr_t)function);
	return *ret ? VGPU_OK : VGPU_E_HANDLE;
}

static int32_t attribute(const struct lv_function *f, int id)
{
	return atomic_load_explicit(&f->attributes[id], memory_order_relaxed);
}

// ---- launches

struct launch {
	struct lv_stream *stream;
	struct lv_function *f;
	const struct vgpu_shape *shape;
	const void *const *parameters; // or
	const void *packed;
};

static int check_shape(const struct vgpu *gpu, const struct lv_function *f, const struct vgpu_shape *shape)
{
	const struct vgpu_info *i = &gpu->info;
	uint64_t threads = (uint64_t)shape->block[0] * shape->block[1] * shape->block[2];

	for (int k = 0; k < 3; k++) {
		if (!shape->grid[k] || shape->grid[k] > (uint32_t)i->max_grid[k])
			return VGPU_E_LAUNCH;
		if (!shape->block[k] || shape->block[k] > (uint32_t)i->max_block[k])
			return VGPU_E_LAUNCH;
	}
	if (threads > (uint64_t)i->max_threads_per_block ||
	    threads > (uint64_t)attribute(f, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK) ||
	    shape->dynamic_shared_bytes >
		(uint64_t)attribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES))
		return VGPU_E_LAUNCH;
	return VGPU_OK;
}

static int enter_launch(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_function *function,
			struct launch *l)
{
	int result = lv_enter_stream(gpu, stream, &l->stream);

	if (!result)
		result = find_function(gpu, function, &l->f);
	if (result)
		return result;
	if (!l->shape || l->shape->size < sizeof(*l->shape))
		return VGPU_E_ARGUMENT;
	if (l->f->refusal)
		return lv_error(l->f->refusal);
	return check_shape(gpu, l->f, l->shape);
}

static int submit(struct vgpu *gpu, const struct launch *l)
{
	const struct vgpu_shape *s = l->shape;
	const struct lv_function *f = l->f;
	struct record_launch record = { .stream = vgpu_object_handle(&gpu->streams, l->stream),
					.function = vgpu_object_handle(&gpu->functions, f),
					.grid_x = s->grid[0],
					.grid_y = s->grid[1],
					.grid_z = s->grid[2],
					.block_x = s->block[0],
					.block_y = s->block[1],
					.block_z = s->block[2],
					.dynamic_shared = s->dynamic_shared_bytes,
					.param_bytes = f->param_bytes };
	char *tail = vgpu_client_begin(gpu->client, OPCODE_LAUNCH, &record, sizeof(record), f->param_bytes);

	if (!tail)
		return lv_error(vgpu_client_lost(gpu->client));
	if (l->packed)
		memcpy(tail, l->packed, f->param_bytes);
	else
		vgpu_params_pack(f->params, f->n_params, f->param_bytes, l->parameters, tail);
	vgpu_client_commit(gpu->client);
	lv_submitted(l->stream);
	return VGPU_OK;
}

LV_EXPORT int vgpu_launch(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_function *function,
			  const struct vgpu_shape *shape, const void *const *parameters)
{
	struct launch l = { .shape = shape, .parameters = parameters };
	int result = enter_launch(gpu, stream, function, &l);

	if (result)
		return result;
	for (uint32_t i = 0; i < l.f->n_params; i++)
		if (!parameters || !parameters[i])
			return VGPU_E_ARGUMENT;
	return submit(gpu, &l);
}

LV_EXPORT int vgpu_launch_packed(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_function *function,
				 const struct vgpu_shape *shape, const void *parameters, size_t bytes)
{
	struct launch l = { .shape = shape, .packed = parameters };
	int result = enter_launch(gpu, stream, function, &l);

	if (result)
		return result;
	if (bytes != l.f->param_bytes || (bytes && !parameters))
		return VGPU_E_ARGUMENT;
	return submit(gpu, &l);
}

// ---- questions

static int enter_function(struct vgpu *gpu, struct vgpu_function *function, struct lv_function **ret)
{
	int result = lv_enter(gpu);

	return result ? result : find_function(gpu, function, ret);
}

LV_EXPORT int vgpu_function_info(struct vgpu *gpu, struct vgpu_function *function,
				 struct vgpu_function_info *info)
{
	struct vgpu_function_info all;
	struct lv_function *f;
	int result = enter_function(gpu, function, &f);

	if (result)
		return result;
	if (!info || info->size < offsetof(struct vgpu_function_info, max_threads_per_block))
		return VGPU_E_ARGUMENT;
	all = (struct vgpu_function_info){
		.size = info->size < sizeof(all) ? info->size : (uint32_t)sizeof(all),
		.parameters = f->n_params,
		.parameter_bytes = f->param_bytes,
		.max_threads_per_block = attribute(f, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
		.registers = attribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS),
		.static_shared_bytes = attribute(f, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
		.constant_bytes = attribute(f, CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES),
		.local_bytes = attribute(f, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES),
		.max_dynamic_shared_bytes = attribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
	};
	memcpy(info, &all, all.size);
	return VGPU_OK;
}

LV_EXPORT int vgpu_function_parameter(struct vgpu *gpu, struct vgpu_function *function, uint32_t index,
				      uint32_t *ret_offset, uint32_t *ret_bytes)
{
	struct lv_function *f;
	int result = enter_function(gpu, function, &f);

	if (result)
		return result;
	if (index >= f->n_params)
		return VGPU_E_ARGUMENT;
	if (ret_offset)
		*ret_offset = f->params[index].offset;
	if (ret_bytes)
		*ret_bytes = f->params[index].size;
	return VGPU_OK;
}

LV_EXPORT int vgpu_function_shared(struct vgpu *gpu, struct vgpu_function *function, uint32_t bytes)
{
	struct record_function_set record = { .function = (uintptr_t)function,
					      .attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
					      .value = (int32_t)bytes };
	struct lv_function *f;
	int64_t most;
	int result = enter_function(gpu, function, &f);

	if (result)
		return result;
	most = (int64_t)gpu->info.shared_bytes_per_block_most -
	       attribute(f, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
	if (bytes > most)
		return VGPU_E_LAUNCH;
	result = lv_error(vgpu_call_function_set(gpu->client, &record));
	if (!result)
		atomic_store(&f->attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES], record.value);
	return result;
}
