// SPDX-License-Identifier: Apache-2.0
// Parking of the cuda backend: device memory out to the host and back to its address, at the copy engine's
// speed where the driver registers the host's memory. Executor process, loop thread, while nothing runs.
#include "executor/backends/cuda/cuda_backend.h"

#include <pthread.h>
#include <sys/mman.h>

// The host's kernel zeroes new pages at some gigabytes a second and processor: several make them, before
// registering would do it alone.
#define TOUCHERS       4u
#define HUGE_PAGE      ((size_t)2 << 20)
#define TOUCH_ALONE    (64u << 20) // not worth a thread
#define POPULATE_WRITE 23	   // MADV_POPULATE_WRITE, of Linux 5.14 and later C libraries

struct touch {
	uint8_t *from;
	size_t bytes;
};

static void *touch(void *opaque)
{
	const struct touch *t = opaque;

	madvise(t->from, t->bytes, POPULATE_WRITE); // refused: registering makes the pages
	return NULL;
}

static void touch_together(void *store, size_t size)
{
	size_t each = (size / TOUCHERS + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	struct touch parts[TOUCHERS];
	pthread_t threads[TOUCHERS];
	unsigned n = 0, i;

	if (size < TOUCH_ALONE)
		return;
	for (size_t at = 0; at < size; at += each, n++) {
		parts[n] = (struct touch){ (uint8_t *)store + at, size - at < each ? size - at : each };
		if (pthread_create(&threads[n], NULL, touch, &parts[n]))
			break;
	}
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

// Registered from the way out to the end of the way back: registering costs more than copying.
static CUresult copy_out(struct backend *b, void *store, uint64_t address, uint64_t size)
{
	CUresult result;

	touch_together(store, size);
	b->cu.host_register(store, size, 0); // without it the driver copies in pieces of its own
	result = b->cu.copy_d2h(store, address, size, CU_STREAM_LEGACY);
	if (!result)
		result = b->cu.stream_synchronize(CU_STREAM_LEGACY);
	if (result)
		b->cu.host_unregister(store);
	return result;
}

static CUresult copy_back(struct backend *b, uint64_t address, const void *store, uint64_t size)
{
	CUresult result = b->cu.copy_h2d(address, store, size, CU_STREAM_LEGACY);

	return result ? result : b->cu.stream_synchronize(CU_STREAM_LEGACY);
}

static CUresult show(struct backend *b, uint64_t address, uint64_t size, CUmemGenericAllocationHandle handle)
{
	CUmemAccessDesc access = { .location = cuda_memory_kind(b).location,
				   .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	CUresult result = b->cu.mem_map(address, size, 0, handle, 0);

	if (result)
		return result;
	result = b->cu.mem_set_access(address, size, &access, 1);
	if (result)
		b->cu.mem_unmap(address, size);
	return result;
}

// New memory with what is in store, shown at the address.
static CUresult bring_back(struct backend *b, const CUmemAllocationProp *kind, uint64_t address,
			   uint64_t size, const void *store, CUmemGenericAllocationHandle *ret)
{
	CUmemGenericAllocationHandle handle;
	CUresult result = b->cu.mem_create(&handle, size, kind, 0);

	if (result)
		return result;
	result = show(b, address, size, handle);
	if (!result) {
		result = copy_back(b, address, store, size);
		if (result)
			b->cu.mem_unmap(address, size);
	}
	if (result)
		b->cu.mem_release(handle);
	else
		*ret = handle;
	return result;
}

int cuda_mem_park(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	struct cuda_mapping *m;
	CUresult result = CUDA_SUCCESS;

	HASH_FIND(hh, b->mappings, &address, sizeof(address), m);
	if (!m || m->size != size || m->parked)
		return CUDA_ERROR_INVALID_VALUE;
	if (store)
		result = copy_out(b, store, address, size);
	if (!result)
		result = b->cu.mem_unmap(address, size);
	if (result)
		return cuda_result(b, result);
	m->parked = true;
	return cuda_result(b, b->cu.mem_release(m->handle));
}

int cuda_mem_unpark(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	CUmemAllocationProp kind = cuda_memory_kind(b);
	struct cuda_mapping *m;
	CUresult result;

	HASH_FIND(hh, b->mappings, &address, sizeof(address), m);
	if (!m || m->size != size || !m->parked)
		return CUDA_ERROR_INVALID_VALUE;
	result = bring_back(b, &kind, address, size, store, &m->handle);
	if (result)
		return cuda_result(b, result);
	m->parked = false;
	b->cu.host_unregister(store); // if it was registered
	return 0;
}

// Memory without an address is shown in the backend's own part of the window to be copied.
static uint64_t place_for(const struct backend *b, uint64_t size)
{
	return size <= BACKEND_PRIVATE_WINDOW_BYTES
		   ? b->env.device_window + b->env.device_window_bytes - BACKEND_PRIVATE_WINDOW_BYTES
		   : 0;
}

int cuda_physical_park(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	uint64_t place = place_for(b, size);
	CUresult result = CUDA_SUCCESS;

	if (!place)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (store) {
		result = show(b, place, size, p->handle);
		if (result)
			return cuda_result(b, result);
		result = copy_out(b, store, place, size);
		b->cu.mem_unmap(place, size);
	}
	if (result)
		return cuda_result(b, result);
	p->parked = true;
	return cuda_result(b, b->cu.mem_release(p->handle));
}

int cuda_physical_unpark(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	CUmemAllocationProp kind = cuda_memory_kind(b);
	uint64_t place = place_for(b, size);
	CUresult result;

	kind.requestedHandleTypes = p->handle_types;
	result = bring_back(b, &kind, place, size, store, &p->handle);
	if (result)
		return cuda_result(b, result);
	p->parked = false;
	b->cu.host_unregister(store);
	return cuda_result(b, b->cu.mem_unmap(place, size));
}
