// SPDX-License-Identifier: Apache-2.0
// What CUDA's runtime keeps in a context: CONTEXT_LOCAL_STORAGE of the export tables. Each runtime in the
// process asks at nearly every call, so reading takes no lock: an entry is never given back, only emptied and
// used again, and a reader looks at the key a second time after the value. Runs in the guest program, any
// thread.
#include <pthread.h>
#include <stdlib.h>

#include "guest/libcuda/export_tables.h"
#include "guest/libcuda/libcuda.h"

struct vc_storage {
	struct vc_storage *next;   // does not change once the entry can be reached
	_Atomic(void *) key;	   // NULL: free
	_Atomic(void *) value;	   // written only while the entry is free
	export_storage_end on_end; // under the lock
};

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER; // of all contexts

// Keys are addresses of variables.
static struct vc_storage *_Atomic *bucket_of(struct vc_context *ctx, const void *key)
{
	uintptr_t k = (uintptr_t)key;

	return &ctx->storage[(k >> 4 ^ k >> 12) % VC_STORAGE_BUCKETS];
}

static struct vc_storage *find(struct vc_context *ctx, const void *key)
{
	struct vc_storage *s = atomic_load_explicit(bucket_of(ctx, key), memory_order_acquire);

	while (s && atomic_load_explicit(&s->key, memory_order_acquire) != key)
		s = s->next;
	return s;
}

// The live context that is meant, in *ret.
static CUresult enter(CUcontext handle, struct vc_context **ret)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (handle && (intptr_t)handle != -1) {
		*ret = vc_context_find(handle);
	} else {
		*ret = vc_thread.current;
		if (*ret && atomic_load_explicit(&(*ret)->object.handle, memory_order_relaxed) !=
				vc_thread.current_handle)
			*ret = NULL;
	}
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

// An entry of the bucket that nobody uses, a new one if there is none. Under the lock.
static struct vc_storage *unused(struct vc_storage *_Atomic *bucket)
{
	struct vc_storage *first = atomic_load(bucket), *s = first;

	while (s && atomic_load(&s->key))
		s = s->next;
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (s) {
		s->next = first;
		atomic_store_explicit(bucket, s, memory_order_release);
	}
	return s;
}

CUresult export_storage_put(CUcontext handle, void *key, void *value, export_storage_end on_end)
{
	struct vc_context *ctx;
	struct vc_storage *s;
	CUresult result = enter(handle, &ctx);

	if (result)
		return result;
	if (!key)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&write_lock);
	if (find(ctx, key)) {
		result = CUDA_ERROR_INVALID_HANDLE;
	} else {
		s = unused(bucket_of(ctx, key));
		if (s) {
			s->on_end = on_end;
			atomic_store_explicit(&s->value, value, memory_order_release);
			atomic_store_explicit(&s->key, key, memory_order_release);
		} else {
			result = CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	pthread_mutex_unlock(&write_lock);
	return result;
}

CUresult export_storage_delete(CUcontext handle, void *key)
{
	struct vc_context *ctx;
	struct vc_storage *s;
	CUresult result = enter(handle, &ctx);

	if (result)
		return result;
	if (!key)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&write_lock);
	s = find(ctx, key);
	if (s)
		atomic_store_explicit(&s->key, NULL, memory_order_release);
	else
		result = CUDA_ERROR_INVALID_HANDLE;
	pthread_mutex_unlock(&write_lock);
	return result;
}

CUresult export_storage_get(void **value, CUcontext handle, void *key)
{
	const struct vc_storage *s;
	struct vc_context *ctx;
	CUresult result = enter(handle, &ctx);
	void *found;

	if (result)
		return result;
	if (!value || !key)
		return CUDA_ERROR_INVALID_VALUE;
	s = find(ctx, key);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	// Whoever reuses the entry empties the key before it stores a value: the same key again means this
	// key's.
	found = atomic_load_explicit(&s->value, memory_order_acquire);
	if (atomic_load_explicit(&s->key, memory_order_relaxed) != key)
		return CUDA_ERROR_INVALID_HANDLE;
	*value = found;
	return CUDA_SUCCESS;
}

// Takes one entry out of the list from *at on: 1, or 0 when there is none.
static int take(struct vc_storage *at, void **key, void **value, export_storage_end *on_end)
{
	pthread_mutex_lock(&write_lock);
	while (at && !atomic_load(&at->key))
		at = at->next;
	if (at) {
		*key = atomic_load(&at->key);
		*value = atomic_load(&at->value);
		*on_end = at->on_end;
		atomic_store_explicit(&at->key, NULL, memory_order_release);
	}
	pthread_mutex_unlock(&write_lock);
	return at != NULL;
}

void vc_storage_release(struct vc_context *ctx)
{
	CUcontext handle = vc_context_handle(ctx);
	export_storage_end on_end;
	void *key, *value;

	for (size_t i = 0; i < VC_STORAGE_BUCKETS; i++) {
		struct vc_storage *first = atomic_load(&ctx->storage[i]);

		while (take(first, &key, &value, &on_end))
			if (on_end)
				on_end(handle, key, value);
	}
}
