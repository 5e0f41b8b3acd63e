// SPDX-License-Identifier: Apache-2.0
// Memory without an address of the cuda backend: the driver's own virtual memory calls, one to one. Executor
// process, loop thread.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>

int cuda_physical_create(struct backend *b, uint64_t size, uint32_t handle_types,
			 struct backend_physical **ret)
{
	CUmemAllocationProp kind = cuda_memory_kind(b);
	struct backend_physical *p = malloc(sizeof(*p));
	CUresult result;

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	kind.requestedHandleTypes = handle_types;
	*p = (struct backend_physical){ .handle_types = handle_types };
	result = b->cu.mem_create(&p->handle, size, &kind, 0);
	if (result)
		free(p);
	else
		*ret = p;
	return cuda_result(b, result);
}

int cuda_physical_free(struct backend *b, struct backend_physical *p)
{
	CUresult result = p->parked ? CUDA_SUCCESS : b->cu.mem_release(p->handle);

	free(p);
	return cuda_result(b, result);
}

int cuda_physical_map(struct backend *b, uint64_t address, uint64_t size, struct backend_physical *p,
		      uint64_t offset)
{
	return cuda_result(b, b->cu.mem_map(address, size, offset, p->handle, 0));
}

int cuda_physical_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	return cuda_result(b, b->cu.mem_unmap(address, size));
}

int cuda_physical_access(struct backend *b, uint64_t address, uint64_t size, enum vm_access access)
{
	static const int flags[] = { [VM_ACCESS_NONE] = CU_MEM_ACCESS_FLAGS_PROT_NONE,
				     [VM_ACCESS_READ] = CU_MEM_ACCESS_FLAGS_PROT_READ,
				     [VM_ACCESS_READ_WRITE] = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	CUmemAccessDesc desc = { .location = cuda_memory_kind(b).location, .flags = flags[access] };

	return cuda_result(b, b->cu.mem_set_access(address, size, &desc, 1));
}

int cuda_handle_export(struct backend *b, CUmemGenericAllocationHandle handle, struct backend_share *ret)
{
	struct backend_share share = { .fd = -1 };
	int result;

	if (!cuda_can_share(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	result =
	    cuda_result(b, b->cu.mem_export(&share.fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
	if (!result)
		*ret = share;
	return result;
}

int cuda_physical_export(struct backend *b, struct backend_physical *p, struct backend_share *ret)
{
	return cuda_handle_export(b, p->handle, ret);
}

// The driver knows its own descriptors, and their size: a mapping beyond it fails.
int cuda_physical_import(struct backend *b, const struct backend_share *share, uint64_t size,
			 struct backend_physical **ret)
{
	struct backend_physical *p;
	CUresult result;

	(void)size;
	if (!cuda_can_share(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (share->fd < 0)
		return CUDA_ERROR_INVALID_VALUE;
	p = malloc(sizeof(*p));
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*p = (struct backend_physical){ 0 };
	result = b->cu.mem_import(&p->handle, (void *)(intptr_t)share->fd,
				  CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
	if (result)
		free(p);
	else
		*ret = p;
	return cuda_result(b, result);
}
