// SPDX-License-Identifier: Apache-2.0
// Memory of the cuda backend: the device window through the driver's virtual memory calls, and registration
// of host memory. Executor process, loop thread. Below us may be our own libcuda.so.1 over a second mediator
// (a test set-up), which offers neither: then mem_alloc serves, and host memory is copied instead of mapped.
#include "executor/backends/cuda/cuda_backend.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static bool has_vmm(const struct backend *b)
{
	const struct cuda_driver *cu = &b->cu;

	return b->attributes[CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED] &&
	       cu->address_reserve && cu->address_free && cu->mem_create && cu->mem_release && cu->mem_map &&
	       cu->mem_unmap && cu->mem_set_access && cu->mem_granularity;
}

// Memory can be shared with the tenant's other executors only if that was asked for when it was made, so it
// is always asked for where the device can (docs/decisions/0012).
bool cuda_can_share(const struct backend *b)
{
	return b->attributes[CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED] &&
	       b->cu.mem_export && b->cu.mem_import;
}

CUmemAllocationProp cuda_memory_kind(const struct backend *b)
{
	return (CUmemAllocationProp){ .type = CU_MEM_ALLOCATION_TYPE_PINNED,
				      .requestedHandleTypes =
					  cuda_can_share(b) ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : 0,
				      .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = b->device } };
}

static void log_line(struct backend *b, const char *text)
{
	if (b->env.log)
		b->env.log(b->env.opaque, text);
}

// The driver keeps address space for the whole process, whatever becomes of a context.
static bool window_reserved;

// Measured on an H100: asked for an address where anything is mapped, the driver reserves another place
// without a word, and keeps doing so after that mapping has gone. So the executor's own reservation must go
// before cuInit.
void cuda_window_prepare(struct backend *b)
{
	if (!window_reserved && b->env.device_window_bytes)
		munmap((void *)(uintptr_t)b->env.device_window, b->env.device_window_bytes);
}

static int window_take(struct backend *b)
{
	CUdeviceptr got = 0;
	int result;

	if (window_reserved)
		return 0;
	result = (int)b->cu.address_reserve(&got, b->env.device_window_bytes, 0, b->env.device_window, 0);
	if (!result && got != b->env.device_window) {
		b->cu.address_free(got, b->env.device_window_bytes);
		result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	window_reserved = !result;
	return result;
}

// Our own library below knows these calls, but its addresses are its executor's: it refuses the window.
uint64_t cuda_mem_granularity(struct backend *b)
{
	CUmemAllocationProp kind = cuda_memory_kind(b);
	size_t n = 0;

	if (b->granularity || !has_vmm(b) || (getenv("VGPU_HOST_LIBCUDA") && window_take(b)))
		return b->granularity;
	if (b->cu.mem_granularity(&n, &kind, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED) == CUDA_SUCCESS)
		b->granularity = n;
	return b->granularity;
}

int cuda_window_reserve(struct backend *b)
{
	char text[160];
	int result;

	if (!cuda_mem_granularity(b))
		return 0;
	result = window_take(b);
	if (result) {
		snprintf(text, sizeof(text),
			 "cuda backend: the driver did not reserve 0x%" PRIx64
			 " for device memory (error %d)",
			 b->env.device_window, result);
		log_line(b, text);
	}
	return result;
}

int cuda_mem_available(struct backend *b, uint64_t *ret_free, uint64_t *ret_total)
{
	size_t free_bytes = 0, total = 0;
	CUresult result;

	if (b->context) {
		result = b->cu.mem_get_info(&free_bytes, &total);
	} else {
		result = b->cu.device_total_mem(&total, b->device);
		free_bytes = total;
	}
	if (result)
		return cuda_result(b, result);
	*ret_free = free_bytes;
	*ret_total = total;
	return 0;
}

int cuda_mem_map(struct backend *b, uint64_t address, uint64_t size)
{
	CUmemAllocationProp kind = cuda_memory_kind(b);
	CUmemAccessDesc access = { .location = kind.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	struct cuda_mapping *m;
	CUresult result;

	if (!window_reserved)
		return CUDA_ERROR_NOT_SUPPORTED;
	m = calloc(1, sizeof(*m));
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->address = address;
	m->size = size;
	result = b->cu.mem_create(&m->handle, size, &kind, 0);
	if (result)
		goto out_free;
	result = b->cu.mem_map(address, size, 0, m->handle, 0);
	if (result)
		goto out_release;
	result = b->cu.mem_set_access(address, size, &access, 1);
	if (result)
		goto out_unmap;
	HASH_ADD(hh, b->mappings, address, sizeof(m->address), m);
	return 0;
out_unmap:
	b->cu.mem_unmap(address, size);
out_release:
	b->cu.mem_release(m->handle);
out_free:
	free(m);
	return cuda_result(b, result);
}

int cuda_mem_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	struct cuda_mapping *m;
	CUresult result;

	HASH_FIND(hh, b->mappings, &address, sizeof(address), m);
	if (!m || m->size != size)
		return CUDA_ERROR_INVALID_VALUE;
	result = m->parked ? CUDA_SUCCESS : b->cu.mem_unmap(address, size);
	if (result)
		return cuda_result(b, result);
	result = m->parked ? CUDA_SUCCESS : b->cu.mem_release(m->handle);
	HASH_DEL(b->mappings, m);
	free(m);
	return cuda_result(b, result);
}

int cuda_mem_export(struct backend *b, uint64_t address, uint64_t size, struct backend_share *ret)
{
	struct cuda_mapping *m;

	HASH_FIND(hh, b->mappings, &address, sizeof(address), m);
	return m && m->size == size ? cuda_handle_export(b, m->handle, ret) : CUDA_ERROR_INVALID_VALUE;
}

int cuda_mem_alloc(struct backend *b, uint64_t size, uint64_t *ret_address)
{
	CUdeviceptr address;
	int result = cuda_result(b, b->cu.mem_alloc(&address, size));

	if (!result)
		*ret_address = address;
	return result;
}

int cuda_mem_free(struct backend *b, uint64_t address)
{
	return cuda_result(b, b->cu.mem_free(address));
}

// Registers memory and makes sure that a kernel may use the host's address for it.
static int register_same(struct backend *b, void *p, size_t size)
{
	CUdeviceptr device = 0;
	CUresult result =
	    b->cu.host_register(p, size, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);

	if (result)
		return (int)result;
	result = b->cu.host_device_pointer(&device, p, 0);
	if (!result && device != (uintptr_t)p)
		result = CUDA_ERROR_NOT_SUPPORTED;
	if (result)
		b->cu.host_unregister(p);
	return (int)result;
}

// One page is registered on trial. A real driver that fails here cannot run tenants at all; our own library
// below can: it is asked for copies only.
int cuda_host_check(struct backend *b)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	if (p == MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = getenv("VGPU_HOST_LIBCUDA") && !b->granularity ? CUDA_ERROR_NOT_SUPPORTED
								: register_same(b, p, page);
	if (!result)
		b->cu.host_unregister(p);
	munmap(p, page);
	b->host_mapped = !result;
	if (!result)
		return 0;
	if (getenv("VGPU_HOST_LIBCUDA")) {
		log_line(b, "cuda backend: the driver below cannot map host memory: it is copied, kernels do "
			    "not see it");
		return 0;
	}
	log_line(b, "cuda backend: registered host memory has another address on this device: it cannot "
		    "serve tenants");
	return result;
}

int cuda_host_register(struct backend *b, uint64_t address, uint64_t size)
{
	if (!b->host_mapped)
		return 0;
	return cuda_result(b, (CUresult)register_same(b, (void *)(uintptr_t)address, size));
}

int cuda_host_unregister(struct backend *b, uint64_t address)
{
	if (!b->host_mapped)
		return 0;
	return cuda_result(b, b->cu.host_unregister((void *)(uintptr_t)address));
}
