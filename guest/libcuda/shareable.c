// SPDX-License-Identifier: Apache-2.0
// Memory as a file descriptor: cuMemCreate's memory given to another process over a socket of the program's
// own. The descriptor is a small sealed file that holds the key of the memory (docs/decisions/0012); the
// host's own never comes here. Whoever holds one must be of the same tenant for it to open anything. Runs in
// the guest program.
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/vmem.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct shareable {
	char magic[16];
	uint64_t key[2];
};

static const char magic[sizeof(((struct shareable *)0)->magic)] = "vgpu-memory-1";

// -1: no descriptor can be had.
static int file_of(const uint64_t key[2])
{
	cleanup_fd int fd = memfd_create("vgpu-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct shareable s = { .key = { key[0], key[1] } };

	memcpy(s.magic, magic, sizeof(s.magic));
	if (fd < 0 || write(fd, &s, sizeof(s)) != (ssize_t)sizeof(s) || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -1;
	return take_fd(&fd);
}

// 0, or -1: it is none of ours. What it says is checked by the host.
static int key_of(int fd, uint64_t key[2])
{
	struct shareable s;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size != sizeof(s) ||
	    pread(fd, &s, sizeof(s), 0) != (ssize_t)sizeof(s) || memcmp(s.magic, magic, sizeof(magic)) != 0)
		return -1;
	memcpy(key, s.key, sizeof(s.key));
	return 0;
}

static CUresult check_type(int type)
{
	return type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ? CUDA_SUCCESS
	       : type == CU_MEM_HANDLE_TYPE_FABRIC		? CUDA_ERROR_NOT_SUPPORTED
								: CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemExportToShareableHandle(void *shareable, CUmemGenericAllocationHandle handle, int type,
				      unsigned long long flags)
{
	struct record_vm_share record = { .physical = handle };
	struct reply_vm_share reply;
	struct vc_physical *p;
	CUresult result = vc_ready();
	int fd;

	if (!result)
		result = check_type(type);
	if (result)
		return result;
	if (!shareable || flags)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&vc_vmem_lock);
	p = vc_physical_find(handle);
	if (!p || !(p->prop.requestedHandleTypes & type))
		result = CUDA_ERROR_INVALID_VALUE;
	else
		result = (CUresult)vgpu_call_vm_share(vc_client, &record, &reply);
	pthread_mutex_unlock(&vc_vmem_lock);
	if (result)
		return result;
	fd = file_of(reply.key);
	if (fd < 0)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(shareable, &fd, sizeof(fd));
	return CUDA_SUCCESS;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *shareable, int type)
{
	struct vc_physical *p;
	uint64_t key[2];
	CUresult result = vc_ready();

	if (!result)
		result = check_type(type);
	if (result)
		return result;
	if (!handle || key_of((int)(intptr_t)shareable, key))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_backend_activate(0);
	if (!result)
		result = vc_physical_import(key, 0, &p);
	if (result)
		return result;
	vc_object_publish(VC_PHYSICAL, p);
	*handle = vc_object_handle(VC_PHYSICAL, p);
	return CUDA_SUCCESS;
}
