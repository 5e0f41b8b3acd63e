// SPDX-License-Identifier: Apache-2.0
// A device's life: opening, what it is, forks, closing. Owns the list of this process's devices, which only
// forks look at. Runs in the program, in any of its threads.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libvgpu/libvgpu.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, vgpu) devices = LIST_HEAD_INITIALIZER(devices);

LV_EXPORT uint32_t vgpu_version(void)
{
	return VGPU_VERSION_MAJOR << 16 | VGPU_VERSION_MINOR;
}

// ---- forks

static void lock_for_fork(void)
{
	pthread_mutex_lock(&list_lock);
}

static void unlock_in_parent(void)
{
	pthread_mutex_unlock(&list_lock);
}

static void leave_to_parent(void)
{
	struct vgpu *gpu;

	while ((gpu = LIST_FIRST(&devices))) {
		LIST_REMOVE(gpu, link);
		atomic_store(&gpu->forked, true);
		vgpu_client_forget(gpu->client);
	}
	pthread_mutex_unlock(&list_lock);
}

static int fork_watched;

static void watch_forks(void)
{
	fork_watched = !pthread_atfork(lock_for_fork, unlock_in_parent, leave_to_parent);
}

// ---- tables

static const struct {
	size_t offset;
	uint32_t limit, object_bytes;
	uint8_t kind;
	int host_limit; // enum vgpu_object_limit; -1: none of the tenant's
} tables[] = {
	{ offsetof(struct vgpu, streams), VGPU_MAX_STREAMS, sizeof(struct lv_stream), HANDLE_STREAM,
	  VGPU_OBJECTS_STREAMS },
	{ offsetof(struct vgpu, fences), VGPU_MAX_EVENTS, sizeof(struct lv_fence), HANDLE_EVENT,
	  VGPU_OBJECTS_EVENTS },
	{ offsetof(struct vgpu, modules), VGPU_MAX_MODULES, sizeof(struct lv_module), HANDLE_MODULE,
	  VGPU_OBJECTS_MODULES },
	{ offsetof(struct vgpu, functions), VGPU_MAX_FUNCTIONS, sizeof(struct lv_function), HANDLE_FUNCTION,
	  VGPU_OBJECTS_FUNCTIONS },
	{ offsetof(struct vgpu, blobs), VGPU_MAX_BLOBS, sizeof(struct vgpu_object), HANDLE_BLOB, -1 },
};
#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

static struct vgpu_objects *table_of(struct vgpu *gpu, size_t i)
{
	return (struct vgpu_objects *)(void *)((char *)gpu + tables[i].offset);
}

static int tables_init(struct vgpu *gpu)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		struct vgpu_objects *t = table_of(gpu, i);
		uint32_t most = tables[i].host_limit < 0
				    ? 0
				    : vgpu_client_object_limit(gpu->client, (unsigned)tables[i].host_limit);

		*t = (struct vgpu_objects){ .chunks = calloc(VGPU_OBJECT_CHUNKS(tables[i].limit),
							     sizeof(*t->chunks)),
					    .limit = most && most < tables[i].limit ? most : tables[i].limit,
					    .object_bytes = tables[i].object_bytes,
					    .kind = tables[i].kind,
					    .lock = PTHREAD_MUTEX_INITIALIZER };
		if (!t->chunks)
			return VGPU_E_HOST_MEMORY;
	}
	return VGPU_OK;
}

static void device_free(struct vgpu *gpu)
{
	lv_memory_done(gpu);
	for (size_t i = 0; i < N_TABLES; i++) {
		struct vgpu_objects *t = table_of(gpu, i);

		if (t->chunks) {
			if (t == &gpu->functions)
				lv_functions_done(gpu);
			vgpu_objects_done(t);
		}
		free(t->chunks);
	}
	free(gpu);
}

// ---- what it is

static void describe(struct vgpu *gpu, const struct reply_device_info *d,
		     const struct reply_context_activate *context)
{
	const int32_t *a = d->attributes;
	struct vgpu_info *i = &gpu->info;

	*i = (struct vgpu_info){
		.size = sizeof(*i),
		.protocol_version = CHANNEL_VERSION,
		.way = vgpu_client_is_virtual(gpu->client) ? VGPU_WAY_VIRTUAL_GPU : VGPU_WAY_SOCKET,
		.tenant = vgpu_client_tenant(gpu->client),
		.memory_bytes = d->total_memory,
		.compute_major = a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR],
		.compute_minor = a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR],
		.multiprocessors = a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT],
		.warp_size = a[CU_DEVICE_ATTRIBUTE_WARP_SIZE],
		.max_threads_per_block = a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
		.shared_bytes_per_block = a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK],
		.shared_bytes_per_block_most = a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN],
		.registers_per_block = a[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
		.clock_khz = a[CU_DEVICE_ATTRIBUTE_CLOCK_RATE],
		.priority_least = context->priority_least,
		.priority_greatest = context->priority_greatest,
		.max_streams = gpu->streams.limit - 1, // the first is taken
		.max_fences = gpu->fences.limit,
		.max_modules = gpu->modules.limit,
		.max_functions = gpu->functions.limit,
		.max_host_allocations = VGPU_MAX_HOST_RANGES - 1, // the arena is one
		.max_parameter_bytes = VGPU_MAX_PARAM_BYTES,
		.max_log_bytes = 2 * LV_LOG_BYTES,
		.max_image_bytes = VGPU_MAX_IMAGE_BYTES,
		.max_host_bytes = VGPU_HOST_WINDOW_LIMIT - VGPU_ARENA_BYTES,
	};
	memcpy(i->name, d->name, sizeof(i->name) - 1);
	memcpy(i->uuid, d->uuid, sizeof(i->uuid));
	for (int k = 0; k < 3; k++) {
		i->max_block[k] = a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + k];
		i->max_grid[k] = a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + k];
	}
}

// The executor's context, what the device is, the first stream.
static int prepare(struct vgpu *gpu)
{
	struct record_context_activate activate = { .flags = 0 };
	struct reply_context_activate context;
	struct reply_device_info device;
	int result = tables_init(gpu);

	if (!result)
		result = lv_error(vgpu_call_device_info(gpu->client, &device));
	if (!result)
		result = lv_error(vgpu_call_context_activate(gpu->client, &activate, &context));
	if (result)
		return result;
	describe(gpu, &device, &context);
	return lv_stream_make(gpu, 0, &gpu->first);
}

LV_EXPORT const char *vgpu_open_error(void)
{
	return vgpu_client_open_error();
}

static int open_client(struct vgpu *gpu, const char *socket)
{
	int result = vgpu_client_open_apart(socket, &gpu->client);

	if (!result)
		return VGPU_OK;
	if (result == -ENOMEM)
		return VGPU_E_HOST_MEMORY;
	return vgpu_client_open_result() == CUDA_ERROR_NO_DEVICE ? VGPU_E_NO_DEVICE : VGPU_E_REFUSED;
}

LV_EXPORT int vgpu_open(const char *socket, struct vgpu **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct vgpu *gpu;
	int result;

	if (!ret)
		return VGPU_E_ARGUMENT;
	pthread_once(&once, watch_forks);
	gpu = fork_watched ? calloc(1, sizeof(*gpu)) : NULL;
	if (!gpu)
		return VGPU_E_HOST_MEMORY;
	pthread_mutex_init(&gpu->memory_lock, NULL);
	pthread_mutex_init(&gpu->load_lock, NULL);
	// Under the lock: a fork meanwhile finds the device in the list, or does not find its files.
	pthread_mutex_lock(&list_lock);
	result = open_client(gpu, socket);
	if (!result)
		LIST_INSERT_HEAD(&devices, gpu, link);
	pthread_mutex_unlock(&list_lock);
	if (!result)
		result = prepare(gpu);
	if (result) {
		vgpu_close(gpu);
		return result;
	}
	*ret = gpu;
	return VGPU_OK;
}

LV_EXPORT void vgpu_close(struct vgpu *gpu)
{
	if (!gpu)
		return;
	if (gpu->client && !atomic_load(&gpu->forked)) {
		pthread_mutex_lock(&list_lock);
		LIST_REMOVE(gpu, link);
		pthread_mutex_unlock(&list_lock);
		vgpu_client_close(gpu->client);
	}
	device_free(gpu);
}

LV_EXPORT int vgpu_info(struct vgpu *gpu, struct vgpu_info *info)
{
	int result = lv_enter(gpu);
	uint32_t size;

	if (result)
		return result;
	if (!info || info->size < offsetof(struct vgpu_info, memory_bytes))
		return VGPU_E_ARGUMENT;
	size = info->size < sizeof(*info) ? info->size : (uint32_t)sizeof(*info);
	memcpy(info, &gpu->info, size);
	info->size = size;
	return VGPU_OK;
}

LV_EXPORT int vgpu_check(struct vgpu *gpu)
{
	int result = lv_enter(gpu);

	if (!result)
		result = lv_error(vgpu_client_look(gpu->client));
	return result ? result : lv_deferred(gpu);
}

LV_EXPORT int vgpu_printed(struct vgpu *gpu, char *text, size_t room, size_t *ret_bytes)
{
	struct record_print_take record = { .what = PRINT_KIND_TEXT };
	struct reply_print_take reply;
	uint32_t bytes = 0;
	int result;

	if (!gpu || !text || !ret_bytes || room < VGPU_PRINT_BYTES)
		return VGPU_E_ARGUMENT;
	if (atomic_load_explicit(&gpu->forked, memory_order_relaxed))
		return VGPU_E_FORKED;
	// Also after a fault: what was printed before it helps to find it.
	if (!vgpu_client_printed(gpu->client)) {
		*ret_bytes = 0;
		return VGPU_OK;
	}
	result = lv_error(vgpu_call_print_take(gpu->client, &record, &reply, text, VGPU_PRINT_BYTES, &bytes));
	if (!result)
		*ret_bytes = bytes;
	return result;
}
