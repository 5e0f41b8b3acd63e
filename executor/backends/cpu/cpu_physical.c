// SPDX-License-Identifier: Apache-2.0
// Memory without an address of the cpu backend: a memfd a piece, shown in the window as often as the executor
// says. The processor's page protection is what enforces access; the table of ranges repeats it for copies.
// Executor process, loop thread.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

struct backend_physical {
	int fd; // -1: it is parked
	uint64_t size;
	bool imported;
};

int cpu_memfd_new(uint64_t size)
{
	cleanup_fd int fd = memfd_create("vgpu-device-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return take_fd(&fd);
}

int cpu_physical_create(struct backend *b, uint64_t size, uint32_t handle_types,
			struct backend_physical **ret)
{
	struct backend_physical *p;

	(void)handle_types;
	if (size > b->memory_total - b->memory_used)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p = malloc(sizeof(*p));
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*p = (struct backend_physical){ .size = size, .fd = cpu_memfd_new(size) };
	if (p->fd < 0) {
		free(p);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	b->memory_used += size;
	*ret = p;
	return 0;
}

int cpu_physical_free(struct backend *b, struct backend_physical *p)
{
	if (!p->imported && p->fd >= 0)
		b->memory_used -= p->size;
	close_fd(&p->fd);
	free(p);
	return 0;
}

static int copy(int fd, void *store, uint64_t size, bool out)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(out ? store : p, out ? p : store, size);
	munmap(p, size);
	return 0;
}

int cpu_physical_park(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	int result = store ? copy(p->fd, store, size, true) : 0;

	if (result)
		return result;
	close_fd(&p->fd);
	b->memory_used -= size;
	return 0;
}

int cpu_physical_unpark(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	cleanup_fd int fd = size > b->memory_total - b->memory_used ? -ENOMEM : cpu_memfd_new(size);
	int result = fd < 0 ? CUDA_ERROR_OUT_OF_MEMORY : copy(fd, store, size, false);

	if (result)
		return result;
	p->fd = take_fd(&fd);
	b->memory_used += size;
	return 0;
}

int cpu_physical_map(struct backend *b, uint64_t address, uint64_t size, struct backend_physical *p,
		     uint64_t offset)
{
	int result;

	pthread_rwlock_wrlock(&b->memory_lock);
	result = cpu_ranges_add(&b->device, address, size, VM_ACCESS_NONE);
	if (!result && mmap((void *)(uintptr_t)address, size, PROT_NONE, MAP_SHARED | MAP_FIXED, p->fd,
			    (off_t)offset) == MAP_FAILED) {
		result = -ENOMEM;
		cpu_ranges_remove(&b->device, address, &size);
	}
	pthread_rwlock_unlock(&b->memory_lock);
	if (result)
		return result == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
	return 0;
}

int cpu_physical_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	int result;

	if (!cpu_ranges_has(&b->device, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	pthread_rwlock_wrlock(&b->memory_lock);
	cpu_ranges_remove(&b->device, address, &size);
	result = cpu_window_close(address, size);
	pthread_rwlock_unlock(&b->memory_lock);
	return result ? CUDA_ERROR_OPERATING_SYSTEM : 0;
}

int cpu_physical_access(struct backend *b, uint64_t address, uint64_t size, enum vm_access access)
{
	static const int protection[] = { [VM_ACCESS_NONE] = PROT_NONE,
					  [VM_ACCESS_READ] = PROT_READ,
					  [VM_ACCESS_READ_WRITE] = PROT_READ | PROT_WRITE };
	int result = 0;

	pthread_rwlock_wrlock(&b->memory_lock);
	if (!cpu_ranges_allow(&b->device, address, size, access))
		result = CUDA_ERROR_INVALID_VALUE;
	else if (mprotect((void *)(uintptr_t)address, size, protection[access]) < 0) {
		cpu_ranges_allow(&b->device, address, size, VM_ACCESS_NONE);
		result = CUDA_ERROR_OPERATING_SYSTEM;
	}
	pthread_rwlock_unlock(&b->memory_lock);
	return result;
}

int cpu_physical_export(struct backend *b, struct backend_physical *p, struct backend_share *ret)
{
	(void)b;
	*ret = (struct backend_share){ .fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0) };
	return ret->fd < 0 ? CUDA_ERROR_OUT_OF_MEMORY : 0;
}

// The fd comes from another process of the tenant: it must hold what it says for as long as it is mapped.
int cpu_physical_import(struct backend *b, const struct backend_share *share, uint64_t size,
			struct backend_physical **ret)
{
	int seals = share->fd < 0 ? -1 : fcntl(share->fd, F_GET_SEALS);
	struct backend_physical *p;
	struct stat st;

	(void)b;
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(share->fd, &st) < 0 || !size ||
	    (uint64_t)st.st_size != size || size % CPU_GRANULARITY)
		return CUDA_ERROR_INVALID_VALUE;
	p = malloc(sizeof(*p));
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*p = (struct backend_physical){ .size = size,
					.fd = fcntl(share->fd, F_DUPFD_CLOEXEC, 0),
					.imported = true };
	if (p->fd < 0) {
		free(p);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ret = p;
	return 0;
}
