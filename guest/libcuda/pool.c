// SPDX-License-Identifier: Apache-2.0
// Memory pools. A pool takes segments from the executor and cuts its allocations out of them (reserve.c);
// what is freed stays with the pool, in stream order, until the program waits for work with more than the
// threshold held, or memory gets scarce. So an allocation costs no call as long as the pool has room
// (docs/decisions/0014). Runs in the guest program; one lock.
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"

#define SEGMENT (32ull << 20) // bytes that a pool grows by at least
#define GRANULE (2ull << 20)

pthread_mutex_t vc_pool_lock = PTHREAD_MUTEX_INITIALIZER;
_Atomic int vc_pools_used, vc_pools_excess;

static uint64_t default_pool, current_pool; // handles; made on first use

static struct vc_pool *pool_new(uint64_t limit)
{
	struct vc_pool *p = vc_object_new(VC_POOL);

	if (!p)
		return NULL;
	memset((char *)p + sizeof(p->object), 0, sizeof(*p) - sizeof(p->object));
	p->limit = limit;
	p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
	vc_reserve_init(p);
	vc_object_publish(VC_POOL, p);
	return p;
}

static struct vc_pool *find(CUmemoryPool pool)
{
	struct vc_pool *p = vc_object_find(VC_POOL, (uint64_t)(uintptr_t)pool);

	return p && !p->destroyed ? p : NULL;
}

// Enters and locks; the default pool exists then.
static CUresult enter(void)
{
	CUresult result = vc_ready();
	struct vc_pool *p;

	if (result)
		return result;
	pthread_mutex_lock(&vc_pool_lock);
	if (default_pool)
		return CUDA_SUCCESS;
	p = pool_new(0);
	if (p) {
		default_pool = current_pool = vc_object_handle(VC_POOL, p);
		return CUDA_SUCCESS;
	}
	pthread_mutex_unlock(&vc_pool_lock);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult leave(CUresult result)
{
	pthread_mutex_unlock(&vc_pool_lock);
	return result;
}

// ---- which pool

static CUresult get(CUmemoryPool *pool, CUdevice device, const uint64_t *which)
{
	CUresult result = enter();

	if (result)
		return result;
	if (!pool || device)
		return leave(pool ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE);
	*pool = (CUmemoryPool)(uintptr_t)*which;
	return leave(CUDA_SUCCESS);
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
	return get(pool, device, &default_pool);
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device)
{
	return get(pool, device, &current_pool);
}

CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool)
{
	CUresult result = enter();

	if (result)
		return result;
	if (device || !find(pool))
		return leave(device ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE);
	current_pool = (uint64_t)(uintptr_t)pool;
	return leave(CUDA_SUCCESS);
}

// By location, since 13.0: device memory only.
static CUresult check_location(const CUmemLocation *location, CUmemAllocationType type)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!location || type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (location->type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_NOT_SUPPORTED;
	return location->id ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	CUresult result = check_location(location, type);

	return result ? result : get(pool, 0, &default_pool);
}

CUresult cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	CUresult result = check_location(location, type);

	return result ? result : get(pool, 0, &current_pool);
}

CUresult cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool)
{
	CUresult result = check_location(location, type);

	return result ? result : cuDeviceSetMemPool(0, pool);
}

CUresult cuMemPoolCreate(CUmemoryPool *ret, const CUmemPoolProps *props)
{
	struct vc_pool *p;
	CUresult result = enter();

	if (result)
		return result;
	if (!ret || !props)
		return leave(CUDA_ERROR_INVALID_VALUE);
	result = check_location(&props->location, props->allocType);
	if (result == CUDA_ERROR_INVALID_DEVICE) // as the driver answers here, unlike elsewhere
		result = CUDA_ERROR_INVALID_VALUE;
	if (!result && props->handleTypes)
		result = CUDA_ERROR_NOT_SUPPORTED; // nothing here can be handed to another process
	if (result)
		return leave(result);
	p = pool_new(props->maxSize);
	if (p)
		*ret = (CUmemoryPool)(uintptr_t)vc_object_handle(VC_POOL, p);
	return leave(p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

// A destroyed pool lives on until its last allocation has been freed and nothing uses its memory.
static void tidy(struct vc_pool *p)
{
	if (!p->destroyed)
		return;
	vc_reserve_trim(p, 0);
	if (!p->reserved)
		vc_object_free(VC_POOL, p);
}

// The current pool becomes the default one if it was this.
CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
	CUresult result = enter();
	struct vc_pool *p;

	if (result)
		return result;
	p = find(pool);
	if (!p || (uint64_t)(uintptr_t)pool == default_pool)
		return leave(CUDA_ERROR_INVALID_VALUE);
	if (current_pool == (uint64_t)(uintptr_t)pool)
		current_pool = default_pool;
	p->destroyed = 1;
	atomic_store_explicit(&vc_pools_excess, 1, memory_order_relaxed);
	tidy(p);
	return leave(CUDA_SUCCESS);
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
	CUresult result = enter();
	struct vc_pool *p;

	if (result)
		return result;
	p = find(pool);
	if (p)
		vc_reserve_trim(p, keep);
	return leave(p ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

// ---- attributes

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
	CUresult result = enter();
	struct vc_pool *p;
	uint64_t wide = 0;
	int flag = 0;

	if (result)
		return result;
	p = find(pool);
	if (!p || !value)
		return leave(CUDA_ERROR_INVALID_VALUE);
	if (attribute <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES)
		memcpy(&flag, value, sizeof(flag));
	else
		memcpy(&wide, value, sizeof(wide));
	switch (attribute) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: p->reuse[attribute - 1] = flag != 0; break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: p->threshold = wide; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH: // both can be set back to now, with 0
		if (wide)
			return leave(CUDA_ERROR_INVALID_VALUE);
		if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
			p->used_high = p->used;
		else
			p->reserved_high = p->reserved;
		break;
	default: return leave(CUDA_ERROR_INVALID_VALUE);
	}
	return leave(CUDA_SUCCESS);
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
	CUresult result = enter();
	struct vc_pool *p;
	uint64_t wide;

	if (result)
		return result;
	p = find(pool);
	if (!p || !value)
		return leave(CUDA_ERROR_INVALID_VALUE);
	switch (attribute) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		memcpy(value, &p->reuse[attribute - 1], sizeof(int));
		return leave(CUDA_SUCCESS);
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: wide = p->threshold; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: wide = p->reserved; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: wide = p->reserved_high; break;
	case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: wide = p->used; break;
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH: wide = p->used_high; break;
	default: return leave(CUDA_ERROR_INVALID_VALUE);
	}
	memcpy(value, &wide, sizeof(wide));
	return leave(CUDA_SUCCESS);
}

// The device that the pool is on has access, always; there is no other.
CUresult cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count)
{
	CUresult result = enter();

	if (result)
		return result;
	if (!find(pool) || (count && !map))
		return leave(CUDA_ERROR_INVALID_VALUE);
	for (size_t i = 0; i < count; i++) {
		if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || map[i].location.id)
			return leave(CUDA_ERROR_INVALID_DEVICE);
		if (map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			return leave(CUDA_ERROR_INVALID_VALUE);
	}
	return leave(CUDA_SUCCESS);
}

CUresult cuMemPoolGetAccess(int *flags, CUmemoryPool pool, CUmemLocation *location)
{
	CUresult result = enter();

	if (result)
		return result;
	if (!flags || !find(pool) || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    location->id)
		return leave(CUDA_ERROR_INVALID_VALUE);
	*flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	return leave(CUDA_SUCCESS);
}

// ---- memory under pressure

struct trim {
	int above_threshold;	 // else everything
	uint64_t released, left; // bytes given back; bytes that are free and stay
};

static void trim_pool(void *object, void *arg)
{
	struct vc_pool *p = object;
	struct trim *t = arg;
	uint64_t keep = t->above_threshold && !p->destroyed ? p->threshold : 0;

	t->released += vc_reserve_trim(p, keep);
	t->left += p->reserved > p->used ? p->reserved - p->used : 0;
	tidy(p);
}

// Freeing makes the executor wait for work in flight, so nothing is given back while there is some: the next
// wait comes. What stays then, stays until more is freed.
void vc_pools_trim_excess(void)
{
	struct trim t = { .above_threshold = 1 };

	if (!vc_streams_idle())
		return;
	pthread_mutex_lock(&vc_pool_lock);
	vc_object_each(VC_POOL, trim_pool, &t);
	atomic_store_explicit(&vc_pools_excess, 0, memory_order_relaxed);
	pthread_mutex_unlock(&vc_pool_lock);
}

static struct trim release_all(void)
{
	struct trim t = { 0 };

	pthread_mutex_lock(&vc_pool_lock);
	vc_object_each(VC_POOL, trim_pool, &t);
	pthread_mutex_unlock(&vc_pool_lock);
	return t;
}

int vc_pools_give_up(void)
{
	struct trim t;

	if (!atomic_load_explicit(&vc_pools_used, memory_order_relaxed))
		return 0;
	t = release_all();
	if (t.released || !t.left)
		return t.released != 0;
	// Work in flight may use what is left. The lock is not held meanwhile: that work may wait for a
	// thread that needs it.
	vc_streams_wait_all(NULL);
	return release_all().released != 0;
}

// ---- allocations

static CUresult segment_from_executor(struct vc_pool *p, uint64_t bytes)
{
	struct record_mem_alloc record = { .size = bytes };
	struct reply_mem_alloc reply;
	CUresult result;

	if (p->limit && (p->reserved > p->limit || bytes > p->limit - p->reserved))
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = (CUresult)vgpu_call_mem_alloc(vc_client, &record, &reply);
	if (result)
		return result;
	if (vc_reserve_add(p, reply.address, bytes)) {
		struct record_mem_free back = { .address = reply.address };

		vgpu_push_mem_free(vc_client, &back);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	atomic_store_explicit(&vc_pools_used, 1, memory_order_relaxed);
	return CUDA_SUCCESS;
}

// At least bytes more for the pool; when a whole segment cannot be had, just these.
static CUresult grow(struct vc_pool *p, uint64_t bytes)
{
	uint64_t least = (bytes + GRANULE - 1) & ~(GRANULE - 1);
	CUresult result;

	result = segment_from_executor(p, least > SEGMENT ? least : SEGMENT);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && least < SEGMENT)
		result = segment_from_executor(p, least);
	return result;
}

static CUresult take(uint64_t pool, uint64_t bytes, const struct vc_stream *s, uint64_t *ret_handle,
		     struct vc_block **ret)
{
	CUresult result = enter();
	struct vc_pool *p;

	if (result)
		return result;
	p = find((CUmemoryPool)(uintptr_t)(pool ? pool : current_pool));
	if (!p)
		return leave(CUDA_ERROR_INVALID_VALUE);
	*ret = vc_reserve_take(p, bytes, s);
	if (!*ret) {
		result = grow(p, bytes);
		if (!result)
			*ret = vc_reserve_take(p, bytes, s);
	}
	if (result || !*ret)
		return leave(result ? result : CUDA_ERROR_OUT_OF_MEMORY);
	p->used += bytes;
	if (p->used > p->used_high)
		p->used_high = p->used;
	*ret_handle = vc_object_handle(VC_POOL, p);
	return leave(CUDA_SUCCESS);
}

CUresult vc_pool_alloc(uint64_t pool, uint64_t bytes, const struct vc_stream *s, uint64_t *ret_handle,
		       struct vc_block **ret)
{
	CUresult result;

	if (bytes > VGPU_WINDOW_BYTES)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = take(pool, bytes, s, ret_handle, ret);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && vc_pools_give_up())
		result = take(pool, bytes, s, ret_handle, ret);
	return result;
}

void vc_pool_free(struct vc_block *b, uint64_t bytes, const struct vc_stream *s)
{
	struct vc_pool *p = vc_block_pool(b);

	pthread_mutex_lock(&vc_pool_lock);
	p->used -= bytes;
	vc_reserve_give(b, s);
	if (p->destroyed || p->reserved > p->threshold)
		atomic_store_explicit(&vc_pools_excess, 1, memory_order_relaxed);
	pthread_mutex_unlock(&vc_pool_lock);
}

// ---- what streams know of each other

void vc_pools_stream_waits(struct vc_stream *s, uint64_t handle, uint64_t position)
{
	unsigned i = 0;

	pthread_mutex_lock(&vc_pool_lock);
	while (i < VC_STREAM_BEHIND && s->behind[i].stream != handle)
		i++;
	if (i == VC_STREAM_BEHIND) {
		i = s->next_behind++ % VC_STREAM_BEHIND;
		s->behind[i].stream = handle;
		s->behind[i].position = 0;
	}
	if (position > s->behind[i].position)
		s->behind[i].position = position;
	pthread_mutex_unlock(&vc_pool_lock);
}

static void stream_gone(void *object, void *arg)
{
	vc_reserve_stream_gone(object, arg);
}

void vc_pools_stream_gone(struct vc_stream *s)
{
	pthread_mutex_lock(&vc_pool_lock);
	vc_object_each(VC_POOL, stream_gone, s);
	pthread_mutex_unlock(&vc_pool_lock);
}
