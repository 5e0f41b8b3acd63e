// SPDX-License-Identifier: Apache-2.0
// The cpu backend's life: a CUDA device without a GPU, for development, tests and hosts that have none.
// Executor process of one tenant, loop thread. Everything that could need a file or a thread later (the
// engine's workers, the compiler's start) happens at open, before the executor enters its sandbox.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/backends/cpu/cpu_array.h"

#define MAX_STACK_BYTES (512u * 1024) // what the engine gives a thread at most

// The compiler's first run is slow and looks at the processor; this is that run.
static const char warm_ptx[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n.visible .entry vgpu_warm()\n{\nret;\n}\n";

static int warm_up(struct backend *b, struct ptx_error *error)
{
	struct ptx_module_env env = cpu_module_env(b);
	struct ptx_module *module = NULL;
	int result = ptx_module_load(warm_ptx, sizeof(warm_ptx) - 1, &env, &module, error);

	ptx_module_free(module);
	return result;
}

static void backend_free(struct backend *b)
{
	cpu_memory_done(b);
	ptx_machine_free(b->machine);
	pthread_rwlock_destroy(&b->memory_lock);
	pthread_mutex_destroy(&b->conditions.lock);
	free(b);
}

static int open_machine(struct backend *b, char *error, size_t error_bytes)
{
	struct ptx_error why = { 0 };

	b->machine = ptx_machine_new(b->threads);
	if (!b->machine) {
		snprintf(error, error_bytes, "cpu device: %s", strerror(errno));
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (b->env.print)
		ptx_machine_output(b->machine, b->env.print, b->env.opaque);
	ptx_machine_conditions(b->machine, cpu_condition_set, b);
	if (warm_up(b, &why)) {
		snprintf(error, error_bytes, "cpu device: the compiler does not work: %s", why.text);
		return CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
	}
	if (cpu_queue_start(b)) {
		snprintf(error, error_bytes, "cpu device: no worker thread");
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return 0;
}

static int backend_open(const struct backend_env *env, struct backend **ret, char *error, size_t error_bytes)
{
	struct backend *b;
	int result;

	if (env->device != 0) {
		snprintf(error, error_bytes, "cpu device: there is one, number 0");
		return CUDA_ERROR_INVALID_DEVICE;
	}
	if (env->device_window != PTX_WINDOW_DEVICE || env->device_window_bytes > PTX_WINDOW_SIZE ||
	    env->device_window_bytes <= BACKEND_PRIVATE_WINDOW_BYTES) {
		snprintf(error, error_bytes, "cpu device: the device window is not where kernels can reach");
		return CUDA_ERROR_INVALID_VALUE;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->env = *env;
	b->tenant.peers = -1;
	pthread_rwlock_init(&b->memory_lock, NULL);
	pthread_mutex_init(&b->conditions.lock, NULL);
	b->private_end = env->device_window + env->device_window_bytes;
	b->private_base = b->private_end - BACKEND_PRIVATE_WINDOW_BYTES;
	b->memory_total = cpu_memory_total();
	b->threads = cpu_thread_count();
	b->limits[CU_LIMIT_STACK_SIZE] = 1024;
	b->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = VGPU_MIB(1);
	b->limits[CU_LIMIT_SHMEM_SIZE] = CPU_SHARED_OPTIN;
	cpu_device_read(b);
	result = open_machine(b, error, error_bytes);
	if (result) {
		backend_free(b);
		return result;
	}
	*ret = b;
	return 0;
}

static void backend_attach(struct backend *b, const struct backend_tenant *t)
{
	b->tenant = *t;
}

static void backend_close(struct backend *b)
{
	if (!b)
		return;
	cpu_queue_stop(b);
	backend_free(b);
}

static const struct limit_rule {
	bool known;
	uint64_t max;
} limit_rules[CU_LIMIT_COUNT] = {
	[CU_LIMIT_STACK_SIZE] = { true, MAX_STACK_BYTES },
	[CU_LIMIT_PRINTF_FIFO_SIZE] = { true, VGPU_GIB(1) }, // printed at once, nothing is ever full
	[CU_LIMIT_MALLOC_HEAP_SIZE] = { true, 0 },	     // no heap in kernels: stays 0
	// Graphics in CUDA is off; cuBLASLt asks, and gives up on an error.
	[CU_LIMIT_SHMEM_SIZE] = { true, CPU_SHARED_OPTIN },
	[CU_LIMIT_CIG_ENABLED] = { true, 0 },
};

static int backend_limit_set(struct backend *b, uint32_t limit, uint64_t value, uint64_t *ret)
{
	if (atomic_load(&b->sticky))
		return atomic_load(&b->sticky);
	if (limit >= CU_LIMIT_COUNT)
		return CUDA_ERROR_INVALID_VALUE;
	if (!limit_rules[limit].known)
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	if (value > limit_rules[limit].max)
		value = limit_rules[limit].max;
	b->limits[limit] = value;
	*ret = value;
	return 0;
}

static int backend_activate(struct backend *b, uint32_t flags, struct reply_context_activate *ret)
{
	struct reply_context_activate reply = { .api_version = CPU_API_VERSION };

	(void)flags; // how a caller waits; nobody waits here
	for (unsigned i = 0; i < CU_LIMIT_COUNT; i++) {
		if (!limit_rules[i].known)
			continue;
		reply.limits[i] = b->limits[i];
		reply.limit_valid |= 1u << i;
	}
	*ret = reply;
	return 0;
}

static int backend_deactivate(struct backend *b)
{
	return cpu_queue_drain(b);
}

static int backend_error(struct backend *b)
{
	return atomic_load(&b->sticky);
}

// Compute capability 8.0 has neither clusters nor tensor maps.
static int backend_occupancy_clusters(struct backend *b, struct backend_function *f,
				      const struct backend_launch *l, enum cluster_question what,
				      int32_t *ret)
{
	(void)b;
	(void)f;
	(void)l;
	(void)what;
	(void)ret;
	return CUDA_ERROR_NOT_SUPPORTED;
}

static int backend_tensor_map(struct backend *b, const struct record_tensor_map *r,
			      struct reply_tensor_map *ret)
{
	(void)b;
	(void)r;
	(void)ret;
	return CUDA_ERROR_NOT_SUPPORTED;
}

static const struct backend_ops cpu_ops = {
	.size = sizeof(struct backend_ops),
	.version = BACKEND_VERSION,
	.name = "cpu",
	.capabilities = BACKEND_CAP_ADDRESSES | BACKEND_CAP_RESULTS | BACKEND_CAP_GRAPHS,
	.open = backend_open,
	.close = backend_close,
	.device_info = cpu_device_info,
	.mem_granularity = cpu_mem_granularity,
	.mem_available = cpu_mem_available,
	.attach = backend_attach,
	.activate = backend_activate,
	.deactivate = backend_deactivate,
	.limit_set = backend_limit_set,
	.mem_map = cpu_mem_map,
	.mem_unmap = cpu_mem_unmap,
	.mem_export = cpu_mem_export,
	.mem_park = cpu_mem_park,
	.mem_unpark = cpu_mem_unpark,
	.physical_park = cpu_physical_park,
	.physical_unpark = cpu_physical_unpark,
	.physical_create = cpu_physical_create,
	.physical_free = cpu_physical_free,
	.physical_map = cpu_physical_map,
	.physical_unmap = cpu_physical_unmap,
	.physical_access = cpu_physical_access,
	.physical_export = cpu_physical_export,
	.physical_import = cpu_physical_import,
	.host_register = cpu_host_register,
	.host_unregister = cpu_host_unregister,
	.stream_create = cpu_stream_create,
	.stream_destroy = cpu_stream_destroy,
	.stream_set = cpu_stream_set,
	.stream_wait_event = cpu_stream_wait_event,
	.stream_query = cpu_stream_query,
	.event_create = cpu_event_create,
	.event_destroy = cpu_event_destroy,
	.event_record = cpu_event_record,
	.event_query = cpu_event_query,
	.event_elapsed = cpu_event_elapsed,
	.event_export = cpu_event_export,
	.event_import = cpu_event_import,
	.event_follow = cpu_event_follow,
	.stream_write = cpu_stream_write,
	.stream_wait = cpu_stream_wait,
	.words = cpu_words,
	.copy = cpu_copy,
	.write = cpu_write,
	.set = cpu_set,
	.array_size = cpu_array_size,
	.array_create = cpu_array_create,
	.array_destroy = cpu_array_destroy,
	.array_part = cpu_array_part,
	.texture_create = cpu_texture_create,
	.texture_destroy = cpu_object_destroy,
	.surface_create = cpu_surface_create,
	.surface_destroy = cpu_object_destroy,
	.texture_linear_max = cpu_texture_linear_max,
	.module_load = cpu_module_load,
	.module_link = cpu_module_link,
	.module_memory = cpu_module_memory,
	.module_unload = cpu_module_unload,
	.function_get = cpu_function_get,
	.module_names = cpu_module_names,
	.function_set = cpu_function_set,
	.global_get = cpu_global_get,
	.occupancy = cpu_occupancy,
	.launch = cpu_launch,
	.occupancy_clusters = backend_occupancy_clusters,
	.tensor_map = backend_tensor_map,
	.error = backend_error,
	.synchronize = cpu_queue_drain,
	.graph_begin = cpu_graph_begin,
	.graph_place = cpu_graph_place,
	.graph_placed = cpu_graph_placed,
	.graph_end = cpu_graph_end,
	.branch_enter = cpu_branch_enter,
	.branch_body = cpu_branch_body,
	.branch_leave = cpu_branch_leave,
	.graph_launch = cpu_graph_launch,
	.graph_upload = cpu_graph_upload,
	.graph_free = cpu_graph_free,
	.conditions_create = cpu_conditions_create,
	.condition_add = cpu_condition_add,
	.conditions_free = cpu_conditions_free,
};

__attribute__((visibility("default"))) const struct backend_ops *vgpu_backend(void);

const struct backend_ops *vgpu_backend(void)
{
	return &cpu_ops;
}
