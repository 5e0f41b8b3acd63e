// SPDX-License-Identifier: Apache-2.0
// Device memory of the cpu backend: anonymous memory mapped into the reserved window, at the addresses that
// the executor chooses, and in the window's private end at addresses for modules' variables. Executor
// process; changes on the loop thread, reads also on the worker.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_range(struct backend *b, uint64_t address, uint64_t size)
{
	void *p = (void *)(uintptr_t)address;
	int result;

	if (size > b->memory_total - b->memory_used)
		return CUDA_ERROR_OUT_OF_MEMORY;
	pthread_rwlock_wrlock(&b->memory_lock);
	result = cpu_ranges_add(&b->device, address, size, VM_ACCESS_READ_WRITE);
	pthread_rwlock_unlock(&b->memory_lock);
	if (result)
		return result == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
	// Ranges in the table never overlap, so what this replaces is the reservation.
	if (mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED) {
		pthread_rwlock_wrlock(&b->memory_lock);
		cpu_ranges_remove(&b->device, address, &size);
		pthread_rwlock_unlock(&b->memory_lock);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	b->memory_used += size;
	return 0;
}

int cpu_window_close(uint64_t address, uint64_t size)
{
	return mmap((void *)(uintptr_t)address, size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED
		   ? -errno
		   : 0;
}

static int unmap_range(struct backend *b, uint64_t address)
{
	uint64_t size;
	int result;

	pthread_rwlock_wrlock(&b->memory_lock);
	result = cpu_ranges_remove(&b->device, address, &size);
	if (!result)
		result = cpu_window_close(address, size);
	pthread_rwlock_unlock(&b->memory_lock);
	if (result)
		return result == -ENOENT ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OPERATING_SYSTEM;
	b->memory_used -= size;
	cpu_shared_forget(b, address);
	return 0;
}

uint64_t cpu_mem_granularity(struct backend *b)
{
	(void)b;
	return CPU_GRANULARITY;
}

int cpu_mem_available(struct backend *b, uint64_t *ret_free, uint64_t *ret_total)
{
	*ret_free = b->memory_total - b->memory_used;
	*ret_total = b->memory_total;
	return 0;
}

int cpu_mem_map(struct backend *b, uint64_t address, uint64_t size)
{
	uint64_t end;

	if (!size || address % CPU_GRANULARITY || size % CPU_GRANULARITY ||
	    __builtin_add_overflow(address, size, &end) || address < b->env.device_window ||
	    end > b->private_base)
		return CUDA_ERROR_INVALID_VALUE;
	return map_range(b, address, size);
}

int cpu_mem_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	if (address >= b->private_base || !cpu_ranges_has(&b->device, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	return unmap_range(b, address);
}

// The range stays in the table; without the worker nobody looks there. The copy goes before the memory.
int cpu_mem_park(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	if (address >= b->private_base || !cpu_ranges_has(&b->device, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	if (store)
		memcpy(store, (const void *)(uintptr_t)address, size);
	if (cpu_window_close(address, size) < 0)
		return CUDA_ERROR_OPERATING_SYSTEM;
	b->memory_used -= size;
	return 0;
}

int cpu_mem_unpark(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	void *p = (void *)(uintptr_t)address;

	if (size > b->memory_total - b->memory_used ||
	    mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(p, store, size);
	b->memory_used += size;
	return 0;
}

// The processor sees all memory of the process; only what may be touched is noted.
int cpu_host_register(struct backend *b, uint64_t address, uint64_t size)
{
	int result;

	pthread_rwlock_wrlock(&b->memory_lock);
	result = cpu_ranges_add(&b->host, address, size, VM_ACCESS_READ_WRITE);
	if (!result && ptx_extra_add(address, size)) {
		cpu_ranges_remove(&b->host, address, &size);
		result = -ENOMEM;
	}
	pthread_rwlock_unlock(&b->memory_lock);
	if (result)
		return result == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
					 : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	return 0;
}

int cpu_host_unregister(struct backend *b, uint64_t address)
{
	uint64_t size;
	int result;

	pthread_rwlock_wrlock(&b->memory_lock);
	result = cpu_ranges_remove(&b->host, address, &size);
	ptx_extra_remove(address);
	pthread_rwlock_unlock(&b->memory_lock);
	return result ? CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED : 0;
}

bool cpu_memory_covers(const struct backend *b, bool device, uint64_t address, uint64_t size,
		       enum vm_access access)
{
	uint64_t base = (uintptr_t)b->tenant.host_window;

	if (device)
		return cpu_ranges_cover(&b->device, address, size, access);
	if (address >= base && address - base <= b->tenant.host_window_bytes &&
	    size <= b->tenant.host_window_bytes - (address - base))
		return true;
	return cpu_ranges_cover(&b->host, address, size, access);
}

uint64_t cpu_private_bytes(uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return size ? (size + page - 1) & ~(page - 1) : page;
}

int cpu_private_alloc(struct backend *b, uint64_t size, uint64_t align, uint64_t *ret_address)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), address;
	int result;

	if (size > b->private_end - b->private_base)
		return CUDA_ERROR_OUT_OF_MEMORY;
	size = cpu_private_bytes(size);
	if (!cpu_ranges_gap(&b->device, b->private_base, b->private_end, size, align > page ? align : page,
			    &address))
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = map_range(b, address, size);
	if (!result)
		*ret_address = address;
	return result;
}

void cpu_private_free(struct backend *b, uint64_t address)
{
	unmap_range(b, address);
}

static int variable_alloc(void *opaque, size_t size, size_t align, uint64_t *ret_address)
{
	struct backend *b = opaque;

	if (cpu_private_alloc(b, size, align, ret_address))
		return -ENOMEM;
	b->variable_bytes += cpu_private_bytes(size);
	return 0;
}

static void variable_free(void *opaque, uint64_t address)
{
	cpu_private_free(opaque, address);
}

struct ptx_module_env cpu_module_env(struct backend *b)
{
	return (struct ptx_module_env){ .opaque = b, .alloc = variable_alloc, .free = variable_free };
}

void cpu_memory_done(struct backend *b)
{
	while (b->device.n)
		unmap_range(b, b->device.at[b->device.n - 1].address);
	cpu_ranges_done(&b->device);
	cpu_ranges_done(&b->host);
}
