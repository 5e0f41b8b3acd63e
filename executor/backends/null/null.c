// SPDX-License-Identifier: Apache-2.0
// The null backend: accepts everything, counts it, does nothing. All work is complete when it is submitted:
// fences are stored at once, events are complete; only what stands behind a wait is kept (null_queue.c). It
// measures what the way to a backend costs, and it is the least that a backend has to be. Loaded by the
// executor as vgpu-backend-null.so.
//
// Addresses are numbers without memory behind them (no BACKEND_CAP_ADDRESSES), copies only counted. Modules
// are null_module.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/limits.h"
#include "executor/backends/backend.h"
#include "executor/backends/event_word.h"
#include "executor/backends/null/null_array.h"
#include "executor/backends/null/null_device.h"
#include "executor/backends/null/null_graph.h"
#include "executor/backends/null/null_module.h"
#include "executor/backends/null/null_queue.h"
#include "executor/backends/null/null_share.h"
#include "protocol/cuda/cuda_abi.h"

#define NULL_GRANULARITY VGPU_MIB(2)

struct backend_stream {
	struct null_stream queue; // first: freed as the stream
};

struct backend {
	struct backend_env env;
	int peers;
	uint64_t mapped, next_global;
	uint64_t launches, copies, copy_bytes, fences;
	uint64_t limits[NULL_LIMITS];
	struct null_streams busy;
	struct null_stream legacy;
};

int null_peers(const struct backend *b)
{
	return b->peers;
}

uint64_t null_place_variable(struct backend *b)
{
	uint64_t address = b->next_global;

	if (address >= b->env.device_window + b->env.device_window_bytes)
		return 0;
	b->next_global += NULL_GLOBAL_BYTES; // never used again: 262144 variables, then none
	return address;
}

static struct null_stream *queue_of(struct backend *b, struct backend_stream *s)
{
	return s ? &s->queue : &b->legacy;
}

static int null_open(const struct backend_env *env, struct backend **ret, char *error, size_t error_bytes)
{
	struct backend *b;

	if (env->device) {
		snprintf(error, error_bytes, "the null backend has device 0 only");
		return CUDA_ERROR_INVALID_DEVICE;
	}
	b = calloc(1, sizeof(*b));
	if (!b) {
		snprintf(error, error_bytes, "out of memory");
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	b->env = *env;
	b->peers = -1;
	b->next_global = env->device_window + env->device_window_bytes - BACKEND_PRIVATE_WINDOW_BYTES;
	LIST_INIT(&b->busy);
	null_stream_init(&b->legacy);
	null_device_limits(b->limits);
	*ret = b;
	return CUDA_SUCCESS;
}

static void null_attach(struct backend *b, const struct backend_tenant *t)
{
	b->peers = t->peers;
}

static void null_close(struct backend *b)
{
	char line[160];

	snprintf(line, sizeof(line), "null: %llu launches, %llu copies of %llu bytes, %llu fences",
		 (unsigned long long)b->launches, (unsigned long long)b->copies,
		 (unsigned long long)b->copy_bytes, (unsigned long long)b->fences);
	b->env.log(b->env.opaque, line);
	null_queue_drop(&b->busy);
	free(b);
}

static int null_device_info_op(struct backend *b, struct reply_device_info *ret)
{
	(void)b;
	null_device_info(ret);
	return CUDA_SUCCESS;
}

static uint64_t null_mem_granularity(struct backend *b)
{
	(void)b;
	return NULL_GRANULARITY;
}

static int null_mem_available(struct backend *b, uint64_t *ret_free, uint64_t *ret_total)
{
	*ret_total = NULL_DEVICE_MEMORY;
	*ret_free = NULL_DEVICE_MEMORY - b->mapped;
	return CUDA_SUCCESS;
}

static int null_activate(struct backend *b, uint32_t flags, struct reply_context_activate *ret)
{
	(void)flags;
	memcpy(ret->limits, b->limits, sizeof(b->limits));
	ret->limit_valid = NULL_LIMIT_MASK;
	ret->api_version = 3020;
	ret->priority_least = 0;
	ret->priority_greatest = -5;
	return CUDA_SUCCESS;
}

static int null_deactivate(struct backend *b)
{
	// What stands behind a wait has nobody left who would end it.
	null_queue_drop(&b->busy);
	return CUDA_SUCCESS;
}

static int null_limit_set(struct backend *b, uint32_t limit, uint64_t value, uint64_t *ret)
{
	if (limit >= NULL_LIMITS || !(NULL_LIMIT_MASK & 1u << limit))
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	*ret = b->limits[limit] = value;
	return CUDA_SUCCESS;
}

// ---- memory ----

static int null_mem_map(struct backend *b, uint64_t address, uint64_t size)
{
	(void)address;
	if (size > NULL_DEVICE_MEMORY - b->mapped)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->mapped += size;
	return CUDA_SUCCESS;
}

static int null_mem_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	(void)address;
	b->mapped -= size;
	return CUDA_SUCCESS;
}

// A range that is parked is a number less.
static int null_mem_park(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	(void)address;
	(void)store;
	b->mapped -= size;
	return CUDA_SUCCESS;
}

static int null_mem_unpark(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	(void)address;
	(void)store;
	if (size > NULL_DEVICE_MEMORY - b->mapped)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->mapped += size;
	return CUDA_SUCCESS;
}

static int null_physical_park(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	p->parked = true;
	return null_mem_park(b, 0, size, store);
}

static int null_physical_unpark(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	int result = null_mem_unpark(b, 0, size, store);

	p->parked = result != CUDA_SUCCESS;
	return result;
}

static int null_physical_create(struct backend *b, uint64_t size, uint32_t handle_types,
				struct backend_physical **ret)
{
	struct backend_physical *p;

	(void)handle_types;
	if (size > NULL_DEVICE_MEMORY - b->mapped)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p = malloc(sizeof(*p));
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*p = (struct backend_physical){ .size = size };
	b->mapped += size;
	*ret = p;
	return CUDA_SUCCESS;
}

static int null_physical_free(struct backend *b, struct backend_physical *p)
{
	if (!p->imported && !p->parked)
		b->mapped -= p->size;
	free(p);
	return CUDA_SUCCESS;
}

static int null_physical_map(struct backend *b, uint64_t address, uint64_t size, struct backend_physical *p,
			     uint64_t offset)
{
	(void)b;
	(void)address;
	return size <= p->size && offset <= p->size - size ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static int null_physical_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	(void)b;
	(void)address;
	(void)size;
	return CUDA_SUCCESS;
}

static int null_physical_access(struct backend *b, uint64_t address, uint64_t size, enum vm_access access)
{
	(void)b;
	(void)address;
	(void)size;
	(void)access;
	return CUDA_SUCCESS;
}

static int null_host_register(struct backend *b, uint64_t address, uint64_t size)
{
	(void)b;
	(void)address;
	(void)size;
	return CUDA_SUCCESS;
}

static int null_host_unregister(struct backend *b, uint64_t address)
{
	(void)b;
	(void)address;
	return CUDA_SUCCESS;
}

// ---- streams and events ----

static int null_stream_create(struct backend *b, uint32_t flags, int32_t priority,
			      struct backend_stream **ret)
{
	(void)b;
	(void)flags;
	(void)priority;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return CUDA_ERROR_OUT_OF_MEMORY;
	null_stream_init(&(*ret)->queue);
	return CUDA_SUCCESS;
}

static void null_stream_destroy(struct backend *b, struct backend_stream *s)
{
	(void)b;
	null_stream_put(&s->queue);
}

static int null_stream_set(struct backend *b, struct backend_stream *s, uint32_t attribute,
			   const uint64_t value[8])
{
	(void)b;
	(void)s;
	(void)attribute;
	(void)value;
	return CUDA_SUCCESS;
}

static int null_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
				  uint32_t flags)
{
	(void)flags;
	if (e->event.word) // one that another process records is no matter of these queues
		return CUDA_ERROR_NOT_SUPPORTED;
	return null_queue_wait_event(&b->busy, queue_of(b, s), &e->event);
}

static int null_stream_query(struct backend *b, struct backend_stream *s)
{
	return STAILQ_EMPTY(&queue_of(b, s)->steps) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

static int null_event_create(struct backend *b, uint32_t flags, struct backend_event **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if ((flags & CU_EVENT_INTERPROCESS) && event_word_new(b->peers, &(*ret)->event.word)) {
		free(*ret);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	(*ret)->event.references = 1;
	(*ret)->event.timed = !(flags & CU_EVENT_DISABLE_TIMING);
	return CUDA_SUCCESS;
}

static void null_event_destroy(struct backend *b, struct backend_event *e)
{
	(void)b;
	null_event_put(&e->event);
}

static int null_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s,
			     uint32_t flags)
{
	(void)flags;
	return null_queue_record(&b->busy, queue_of(b, s), &e->event);
}

static int null_event_query(struct backend *b, struct backend_event *e)
{
	(void)b;
	return null_event_done(&e->event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

static int null_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
			      float *ret_ms)
{
	const struct null_event *from = &start->event, *to = &end->event;

	(void)b;
	if (!from->records || !to->records || !from->timed || !to->timed)
		return CUDA_ERROR_INVALID_HANDLE;
	if (from->complete != from->records || to->complete != to->records)
		return CUDA_ERROR_NOT_READY;
	*ret_ms = (float)((double)(int64_t)(to->recorded_ns - from->recorded_ns) / 1e6);
	return CUDA_SUCCESS;
}

static int null_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where,
			     uint64_t value)
{
	b->fences++;
	return null_queue_write(&b->busy, queue_of(b, s), where, value);
}

static int null_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where,
			    uint64_t value)
{
	return null_queue_wait(&b->busy, queue_of(b, s), where, value);
}

// ---- work ----

static int null_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *s)
{
	(void)s;
	b->copies++;
	b->copy_bytes += c->width * c->height * c->depth;
	return CUDA_SUCCESS;
}

static int null_write(struct backend *b, uint64_t dst, bool dst_device, const void *data, uint32_t size,
		      struct backend_stream *s)
{
	(void)dst;
	(void)dst_device;
	(void)data;
	(void)s;
	b->copies++;
	b->copy_bytes += size;
	return CUDA_SUCCESS;
}

// Words in memory without memory: every wait is over.
static int null_words(struct backend *b, const struct word_op *ops, uint32_t n, struct backend_stream *s)
{
	(void)ops;
	(void)s;
	b->copies += n;
	return CUDA_SUCCESS;
}

static int null_set(struct backend *b, const struct backend_set *set, struct backend_stream *s)
{
	(void)s;
	b->copies++;
	b->copy_bytes += set->width * set->element * set->height;
	return CUDA_SUCCESS;
}

static int null_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
		       struct backend_stream *s)
{
	uint64_t threads = (uint64_t)l->block[0] * l->block[1];

	(void)s;
	if (l->block[0] > 1024 || l->block[1] > 1024 || l->block[2] > 64 || threads * l->block[2] > 1024 ||
	    l->grid[0] > INT32_MAX || l->grid[1] > 65535 || l->grid[2] > 65535 ||
	    l->dynamic_shared > (uint32_t)f->dynamic_shared)
		return CUDA_ERROR_INVALID_VALUE;
	b->launches++;
	return CUDA_SUCCESS;
}

// ---- what the device is asked ----

static int null_occupancy(struct backend *b, struct backend_function *f, uint32_t block_threads,
			  uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks)
{
	(void)b;
	(void)f;
	(void)flags;
	*ret_blocks = null_device_occupancy(block_threads, dynamic_shared);
	return CUDA_SUCCESS;
}

// The device is one without clusters.
static int null_occupancy_clusters(struct backend *b, struct backend_function *f,
				   const struct backend_launch *l, enum cluster_question what, int32_t *ret)
{
	(void)b;
	(void)f;
	(void)l;
	(void)what;
	(void)ret;
	return CUDA_ERROR_NOT_SUPPORTED;
}

static int null_tensor_map(struct backend *b, const struct record_tensor_map *r, struct reply_tensor_map *ret)
{
	(void)b;
	(void)r;
	(void)ret;
	return CUDA_ERROR_NOT_SUPPORTED;
}

// Asked in each round of the executor's loop, so this is where waits are looked at.
static int null_error(struct backend *b)
{
	if (!LIST_EMPTY(&b->busy))
		null_queue_step(&b->busy);
	return CUDA_SUCCESS;
}

static int null_synchronize(struct backend *b)
{
	null_queue_step(&b->busy);
	return CUDA_SUCCESS;
}

static const struct backend_ops null_ops = {
	.size = sizeof(struct backend_ops),
	.version = BACKEND_VERSION,
	.name = "null",
	.capabilities = BACKEND_CAP_GRAPHS,
	.open = null_open,
	.close = null_close,
	.device_info = null_device_info_op,
	.mem_granularity = null_mem_granularity,
	.mem_available = null_mem_available,
	.attach = null_attach,
	.activate = null_activate,
	.deactivate = null_deactivate,
	.limit_set = null_limit_set,
	.mem_map = null_mem_map,
	.mem_unmap = null_mem_unmap,
	.mem_export = null_mem_export,
	.mem_park = null_mem_park,
	.mem_unpark = null_mem_unpark,
	.physical_park = null_physical_park,
	.physical_unpark = null_physical_unpark,
	.physical_create = null_physical_create,
	.physical_free = null_physical_free,
	.physical_map = null_physical_map,
	.physical_unmap = null_physical_unmap,
	.physical_access = null_physical_access,
	.physical_export = null_physical_export,
	.physical_import = null_physical_import,
	.host_register = null_host_register,
	.host_unregister = null_host_unregister,
	.stream_create = null_stream_create,
	.stream_destroy = null_stream_destroy,
	.stream_set = null_stream_set,
	.stream_wait_event = null_stream_wait_event,
	.stream_query = null_stream_query,
	.event_create = null_event_create,
	.event_destroy = null_event_destroy,
	.event_record = null_event_record,
	.event_query = null_event_query,
	.event_elapsed = null_event_elapsed,
	.event_export = null_event_export,
	.event_import = null_event_import,
	.event_follow = null_event_follow,
	.stream_write = null_stream_write,
	.stream_wait = null_stream_wait,
	.words = null_words,
	.copy = null_copy,
	.write = null_write,
	.set = null_set,
	.array_size = null_array_size,
	.array_create = null_array_create,
	.array_destroy = null_array_destroy,
	.array_part = null_array_part,
	.texture_create = null_texture_create,
	.texture_destroy = null_object_destroy,
	.surface_create = null_surface_create,
	.surface_destroy = null_object_destroy,
	.texture_linear_max = null_texture_linear_max,
	.module_load = null_module_load,
	.module_link = null_module_link,
	.module_unload = null_module_unload,
	.function_get = null_function_get,
	.module_names = null_module_names,
	.function_set = null_function_set,
	.global_get = null_global_get,
	.occupancy = null_occupancy,
	.launch = null_launch,
	.occupancy_clusters = null_occupancy_clusters,
	.tensor_map = null_tensor_map,
	.error = null_error,
	.synchronize = null_synchronize,
	NULL_GRAPH_OPS,
};

const struct backend_ops *vgpu_backend(void);

__attribute__((visibility("default"))) const struct backend_ops *vgpu_backend(void)
{
	return &null_ops;
}
