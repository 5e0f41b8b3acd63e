// SPDX-License-Identifier: Apache-2.0
// Memory pools. An allocation from a pool is an allocation of the executor's, ready when the call returns, so
// it is ready in stream order too; one freed in stream order goes back when work in flight is done. A pool
// therefore holds nothing in reserve: what it keeps is which allocations are its own, and its attributes.
// Runs in the guest program; one lock.
#include <pthread.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t default_pool, current_pool; // handles; made on first use

static struct vc_pool *pool_new(uint64_t limit)
{
	struct vc_pool *p = vc_object_new(VC_POOL);

	if (!p)
		return NULL;
	memset((char *)p + sizeof(p->object), 0, sizeof(*p) - sizeof(p->object));
	p->limit = limit;
	p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
	vc_object_publish(VC_POOL, p);
	return p;
}

static struct vc_pool *find(CUmemoryPool pool)
{
	return vc_object_find(VC_POOL, (uint64_t)(uintptr_t)pool);
}

// Enters and locks; the default pool exists then.
static CUresult enter(void)
{
	CUresult result = vc_ready();
	struct vc_pool *p;

	if (result)
		return result;
	pthread_mutex_lock(&lock);
	if (default_pool)
		return CUDA_SUCCESS;
	p = pool_new(0);
	if (p) {
		default_pool = current_pool = vc_object_handle(VC_POOL, p);
		return CUDA_SUCCESS;
	}
	pthread_mutex_unlock(&lock);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult leave(CUresult result)
{
	pthread_mutex_unlock(&lock);
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
	if (!result && props->handleTypes)
		result = CUDA_ERROR_NOT_SUPPORTED; // nothing here can be handed to another process
	if (result)
		return leave(result);
	p = pool_new(props->maxSize);
	if (p)
		*ret = (CUmemoryPool)(uintptr_t)vc_object_handle(VC_POOL, p);
	return leave(p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

// Its allocations live on; the current pool becomes the default one if it was this.
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
	vc_object_free(VC_POOL, p);
	return leave(CUDA_SUCCESS);
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
	CUresult result = enter();

	(void)keep; // nothing is held in reserve
	return result ? result : leave(find(pool) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
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
		p->high = p->used;
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
	case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
	case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: wide = p->used; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH: wide = p->high; break;
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

// ---- allocations

// Counts bytes for the pool (0: the current one), which may refuse them; *handle is the pool's.
CUresult vc_pool_take(uint64_t *handle, uint64_t bytes)
{
	CUresult result = enter();
	struct vc_pool *p;

	if (result)
		return result;
	if (!*handle)
		*handle = current_pool;
	p = vc_object_find(VC_POOL, *handle);
	if (!p)
		return leave(CUDA_ERROR_INVALID_VALUE);
	if (p->limit && (p->used > p->limit || bytes > p->limit - p->used))
		return leave(CUDA_ERROR_OUT_OF_MEMORY);
	p->used += bytes;
	if (p->used > p->high)
		p->high = p->used;
	return leave(CUDA_SUCCESS);
}

void vc_pool_give(uint64_t handle, uint64_t bytes)
{
	struct vc_pool *p;

	pthread_mutex_lock(&lock);
	p = handle ? vc_object_find(VC_POOL, handle) : NULL;
	if (p)
		p->used -= bytes;
	pthread_mutex_unlock(&lock);
}
