// SPDX-License-Identifier: Apache-2.0
// The cuda backend's life: opens the host's driver, holds the primary context of one device, notices sticky
// errors. Executor process of one tenant. The parts (memory, streams, copies, modules) are in the files
// beside.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// How many calls of error() may pass before the driver itself is asked again: a fault must be seen even when
// the executor only waits for fences that will never be written.
#define PROBE_EVERY 64

static const char warm_ptx[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n.visible .entry vgpu_warm()\n{\nret;\n}\n";

// Errors after which the context is lost, as far as a driver reports them.
static bool is_sticky(CUresult result)
{
	switch ((int)result) {
	case CUDA_ERROR_ECC_UNCORRECTABLE:
	case CUDA_ERROR_NVLINK_UNCORRECTABLE:
	case CUDA_ERROR_CONTAINED:
	case CUDA_ERROR_ILLEGAL_ADDRESS:
	case CUDA_ERROR_LAUNCH_TIMEOUT:
	case CUDA_ERROR_CONTEXT_IS_DESTROYED:
	case CUDA_ERROR_ASSERT:
	case CUDA_ERROR_HARDWARE_STACK_ERROR:
	case CUDA_ERROR_ILLEGAL_INSTRUCTION:
	case CUDA_ERROR_MISALIGNED_ADDRESS:
	case CUDA_ERROR_INVALID_ADDRESS_SPACE:
	case CUDA_ERROR_INVALID_PC:
	case CUDA_ERROR_LAUNCH_FAILED:
	case CUDA_ERROR_TENSOR_MEMORY_LEAK:
	case CUDA_ERROR_EXTERNAL_DEVICE: return true;
	default: return false;
	}
}

int cuda_result(struct backend *b, CUresult result)
{
	if (result != CUDA_SUCCESS && !b->sticky && is_sticky(result)) {
		b->sticky = (int)result;
		if (result == CUDA_ERROR_ASSERT) // the driver says where when it is waited for
			b->cu.ctx_synchronize();
		cuda_complaints_take(b);
	}
	return (int)result;
}

static int backend_open(const struct backend_env *env, struct backend **ret, char *error, size_t error_bytes)
{
	struct backend *b = calloc(1, sizeof(*b));
	int result;

	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->env = *env;
	b->tenant.peers = -1;
	LIST_INIT(&b->streams);
	SLIST_INIT(&b->stages);
	// A cache on disk would be shared between tenants, and is out of reach in the sandbox.
	setenv("CUDA_CACHE_DISABLE", "1", 1);
	cuda_window_prepare(b);
	result = env->print ? cuda_print_open(b) : 0;
	if (result < 0) {
		snprintf(error, error_bytes, "stdout for kernels: %s", strerror(-result));
		result = CUDA_ERROR_OPERATING_SYSTEM;
	}
	if (!result)
		result = cuda_driver_open(&b->cu, error, error_bytes);
	if (!result)
		result = cuda_device_read(b, error, error_bytes);
	if (result) {
		free(b);
		return result;
	}
	*ret = b;
	return 0;
}

static bool all_idle(struct backend *b)
{
	struct backend_stream *s;

	if (b->sticky || b->cu.stream_query(CU_STREAM_LEGACY) != CUDA_SUCCESS)
		return false;
	LIST_FOREACH (s, &b->streams, link)
		if (b->cu.stream_query(s->cu) != CUDA_SUCCESS)
			return false;
	return true;
}

static void release_context(struct backend *b)
{
	struct cuda_mapping *m, *next;

	HASH_ITER (hh, b->mappings, m, next)
		cuda_mem_unmap(b, m->address, m->size);
	cuda_stages_free(b);
	for (uint32_t i = 0; i <= VGPU_MAX_GRAPH_DEPTH; i++) {
		if (b->capture.streams[i])
			cuda_stream_destroy(b, b->capture.streams[i]);
		b->capture.streams[i] = NULL;
	}
	b->capture.stream = NULL;
	if (b->print_stream)
		b->cu.stream_destroy(b->print_stream);
	b->print_stream = NULL;
	b->cu.ctx_set_current(NULL);
	b->cu.primary_release(b->device);
	b->context = NULL;
}

// Never waits: with work still running (it may run for ever) or after a fault everything stays for the end of
// the process, which the executor's exit is, and which gives all of it back.
static void backend_close(struct backend *b)
{
	if (!b)
		return;
	atomic_store(&b->closing, true);
	if (b->context) {
		if (!all_idle(b))
			return;
		release_context(b);
	}
	free(b);
}

// Where the compiler's library was not found under its usual name: compiles, loads and runs an empty kernel,
// so that whatever the driver opens for that is in the process before the first tenant's byte is.
static int warm_up(struct backend *b)
{
	CUfunction function;
	CUmodule module;
	CUresult result = b->cu.module_load_data_ex(&module, warm_ptx, 0, NULL, NULL);

	if (result)
		return (int)result;
	result = b->cu.module_get_function(&function, module, "vgpu_warm");
	if (!result)
		result = b->cu.launch_kernel(function, 1, 1, 1, 1, 1, 1, 0, CU_STREAM_LEGACY, NULL, NULL);
	if (!result)
		result = b->cu.ctx_synchronize();
	b->cu.module_unload(module);
	return (int)result;
}

// Only a wish: scheduling flags mean nothing to a process that never waits.
static void wish_flags(struct backend *b, uint32_t flags)
{
	uint32_t wanted = (flags & ~(uint32_t)CU_CTX_SCHED_MASK) | CU_CTX_MAP_HOST;

	b->cu.primary_set_flags(b->device, wanted & (CU_CTX_MAP_HOST | CU_CTX_LMEM_RESIZE_TO_MAX));
}

static int make_context(struct backend *b, uint32_t flags)
{
	int result;

	wish_flags(b, flags);
	result = (int)b->cu.primary_retain(&b->context, b->device);
	if (result) {
		b->context = NULL;
		return result;
	}
	result = (int)b->cu.ctx_set_current(b->context);
	if (!result)
		result = cuda_window_reserve(b);
	if (!result)
		result = cuda_host_check(b);
	if (!result && !b->warm && !b->cu.compiler) {
		result = warm_up(b);
		b->warm = !result;
	}
	if (result)
		release_context(b);
	return result;
}

// The compiler's first run as well: it takes longer than the context.
static int backend_prepare(struct backend *b)
{
	int result = make_context(b, 0);

	if (!result && !b->warm) {
		result = warm_up(b);
		b->warm = !result;
		if (result)
			release_context(b);
	}
	return result;
}

static void backend_attach(struct backend *b, const struct backend_tenant *t)
{
	b->tenant = *t;
}

static int backend_activate(struct backend *b, uint32_t flags, struct reply_context_activate *ret)
{
	struct reply_context_activate reply = { 0 };
	unsigned version = 0;
	int result;

	if (b->context) {
		wish_flags(b, flags); // a driver may refuse it now
	} else {
		result = make_context(b, flags);
		if (result)
			return cuda_result(b, (CUresult)result);
	}
	for (unsigned i = 0; i < CU_LIMIT_COUNT; i++) {
		size_t value;

		if (b->cu.ctx_get_limit(&value, (CUlimit)i) != CUDA_SUCCESS)
			continue;
		reply.limits[i] = value;
		reply.limit_valid |= 1u << i;
	}
	result = (int)b->cu.ctx_priority_range(&reply.priority_least, &reply.priority_greatest);
	if (!result)
		result = (int)b->cu.ctx_get_api_version(b->context, &version);
	if (result)
		return cuda_result(b, (CUresult)result);
	reply.api_version = version;
	*ret = reply;
	return 0;
}

static int backend_deactivate(struct backend *b)
{
	int result;

	if (!b->context)
		return 0;
	result = cuda_result(b, b->cu.ctx_synchronize());
	release_context(b);
	return result;
}

static int backend_limit_set(struct backend *b, uint32_t limit, uint64_t value, uint64_t *ret)
{
	size_t now;
	int result = cuda_result(b, b->cu.ctx_set_limit((CUlimit)limit, value));

	if (!result)
		result = cuda_result(b, b->cu.ctx_get_limit(&now, (CUlimit)limit));
	if (!result)
		*ret = now;
	return result;
}

static int backend_error(struct backend *b)
{
	if (!b->sticky && b->context && ++b->since_probe >= PROBE_EVERY) {
		b->since_probe = 0;
		cuda_result(b, b->cu.stream_query(CU_STREAM_LEGACY));
	}
	return b->sticky;
}

static int backend_synchronize(struct backend *b)
{
	return cuda_result(b, b->cu.ctx_synchronize());
}

static const struct backend_ops cuda_ops = {
	.size = sizeof(struct backend_ops),
	.version = BACKEND_VERSION,
	.name = "cuda",
	.capabilities = BACKEND_CAP_ADDRESSES | BACKEND_CAP_RESULTS | BACKEND_CAP_GRAPHS | BACKEND_CAP_WAITS,
	.open = backend_open,
	.close = backend_close,
	.device_info = cuda_device_info,
	.mem_granularity = cuda_mem_granularity,
	.mem_available = cuda_mem_available,
	.prepare = backend_prepare,
	.attach = backend_attach,
	.activate = backend_activate,
	.deactivate = backend_deactivate,
	.limit_set = backend_limit_set,
	.mem_map = cuda_mem_map,
	.mem_unmap = cuda_mem_unmap,
	.mem_export = cuda_mem_export,
	.mem_park = cuda_mem_park,
	.mem_unpark = cuda_mem_unpark,
	.physical_park = cuda_physical_park,
	.physical_unpark = cuda_physical_unpark,
	.physical_create = cuda_physical_create,
	.physical_free = cuda_physical_free,
	.physical_map = cuda_physical_map,
	.physical_unmap = cuda_physical_unmap,
	.physical_access = cuda_physical_access,
	.physical_export = cuda_physical_export,
	.physical_import = cuda_physical_import,
	.host_register = cuda_host_register,
	.host_unregister = cuda_host_unregister,
	.stream_create = cuda_stream_create,
	.stream_destroy = cuda_stream_destroy,
	.stream_set = cuda_stream_set,
	.stream_wait_event = cuda_stream_wait_event,
	.stream_query = cuda_stream_query,
	.event_create = cuda_event_create,
	.event_destroy = cuda_event_destroy,
	.event_record = cuda_event_record,
	.event_query = cuda_event_query,
	.event_elapsed = cuda_event_elapsed,
	.event_export = cuda_event_export,
	.event_import = cuda_event_import,
	.event_follow = cuda_event_follow,
	.stream_write = cuda_stream_write,
	.stream_wait = cuda_stream_wait,
	.words = cuda_words,
	.copy = cuda_copy,
	.write = cuda_write,
	.set = cuda_set,
	.array_size = cuda_array_size,
	.array_create = cuda_array_create,
	.array_destroy = cuda_array_destroy,
	.array_part = cuda_array_part,
	.texture_create = cuda_texture_create,
	.texture_destroy = cuda_texture_destroy,
	.surface_create = cuda_surface_create,
	.surface_destroy = cuda_surface_destroy,
	.texture_linear_max = cuda_texture_linear_max,
	.module_load = cuda_module_load,
	.module_link = cuda_module_link,
	.module_unload = cuda_module_unload,
	.function_get = cuda_function_get,
	.module_names = cuda_module_names,
	.function_set = cuda_function_set,
	.global_get = cuda_global_get,
	.occupancy = cuda_occupancy,
	.launch = cuda_launch,
	.occupancy_clusters = cuda_occupancy_clusters,
	.tensor_map = cuda_tensor_map,
	.graph_begin = cuda_graph_begin,
	.branch_enter = cuda_branch_enter,
	.branch_body = cuda_branch_body,
	.branch_leave = cuda_branch_leave,
	.conditions_create = cuda_conditions_create,
	.condition_add = cuda_condition_add,
	.conditions_free = cuda_conditions_free,
	.graph_place = cuda_graph_place,
	.graph_placed = cuda_graph_placed,
	.graph_end = cuda_graph_end,
	.graph_enable = cuda_graph_enable,
	.graph_launch = cuda_graph_launch,
	.graph_upload = cuda_graph_upload,
	.graph_free = cuda_graph_free,
	.error = backend_error,
	.synchronize = backend_synchronize,
	.mem_alloc = cuda_mem_alloc,
	.mem_free = cuda_mem_free,
	.print_flush = cuda_print_flush,
};

__attribute__((visibility("default"))) const struct backend_ops *vgpu_backend(void);

const struct backend_ops *vgpu_backend(void)
{
	return &cuda_ops;
}
