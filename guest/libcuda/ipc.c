// SPDX-License-Identifier: Apache-2.0
// Memory and events of other processes by cuIpc handles. A handle's 64 bytes hold a key that the executors of
// one tenant know (docs/decisions/0012) and where in the shared memory the allocation lies; to another
// tenant they mean nothing. Runs in the guest program; one lock, for these calls are rare.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

enum ipc_what { IPC_MEMORY = 1, IPC_EVENT = 2 };
#define IPC_MAGIC 0x43504976u // "vIPC"

struct ipc_handle {
	uint32_t magic, what;
	uint64_t key[2];
	uint64_t offset, bytes; // of the allocation in the shared memory
	uint64_t id;		// of the allocation in its process: another one at the same place differs
	uint64_t reserved[2];
};
static_assert(sizeof(struct ipc_handle) == sizeof(CUipcMemHandle) &&
		  sizeof(struct ipc_handle) == sizeof(CUipcEventHandle),
	      "handle");

// Memory of another process, mapped here: in it lie the allocations that were opened one by one.
struct import {
	uint64_t key[2], bytes, address;
	struct vc_physical *physical; // never published: programs have no handle of it
	uint32_t opened;
	struct import *next;
};

// An allocation of another process that is open here.
struct opened {
	struct ipc_handle handle;
	struct import *import;
	uint64_t address;
	uint32_t count;
	struct opened *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct import *imports;
static struct opened *opened;

static int is_handle(const struct ipc_handle *h, enum ipc_what what)
{
	return h->magic == IPC_MAGIC && h->what == what && !h->reserved[0] && !h->reserved[1];
}

// ---- memory

CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr ptr)
{
	struct ipc_handle h = { .magic = IPC_MAGIC, .what = IPC_MEMORY };
	struct record_mem_share record;
	struct reply_mem_share reply;
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!handle || vc_range_find(ptr, &range) || !vc_ipc_capable(&range))
		return CUDA_ERROR_INVALID_VALUE;
	record.address = range.base; // a pointer into the allocation names it too
	result = (CUresult)vgpu_call_mem_share(vc_client, &record, &reply);
	if (result)
		return result;
	memcpy(h.key, reply.key, sizeof(h.key));
	h.offset = reply.offset;
	h.bytes = range.bytes;
	h.id = range.id;
	memcpy(handle, &h, sizeof(h));
	return CUDA_SUCCESS;
}

static struct import *import_find(const uint64_t key[2])
{
	struct import *i = imports;

	while (i && (i->key[0] != key[0] || i->key[1] != key[1]))
		i = i->next;
	return i;
}

// Puts all of the memory anywhere, readable and writable.
static CUresult map_anywhere(uint64_t physical, uint64_t bytes, uint64_t *ret_address)
{
	struct record_vm_reserve reserve = { .size = bytes };
	struct record_vm_map map = { .physical = physical, .size = bytes };
	struct record_vm_access access = { .size = bytes, .access = VM_ACCESS_READ_WRITE };
	struct record_vm_unmap unmap = { .size = bytes };
	struct record_vm_free back;
	struct reply_vm_reserve reply;
	CUresult result = (CUresult)vgpu_call_vm_reserve(vc_client, &reserve, &reply);

	if (result)
		return result;
	map.address = access.address = unmap.address = back.address = reply.address;
	result = (CUresult)vgpu_call_vm_map(vc_client, &map);
	if (!result) {
		result = (CUresult)vgpu_call_vm_access(vc_client, &access);
		if (result)
			vgpu_call_vm_unmap(vc_client, &unmap);
	}
	if (result)
		vgpu_call_vm_free(vc_client, &back);
	else
		*ret_address = reply.address;
	return result;
}

static CUresult import_new(const uint64_t key[2], struct import **ret)
{
	struct import *i = malloc(sizeof(*i));
	CUresult result;

	if (!i)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*i = (struct import){ .key = { key[0], key[1] } };
	result = vc_physical_import(key, 1, &i->physical);
	if (result) {
		free(i);
		return result;
	}
	i->bytes = i->physical->bytes;
	result = map_anywhere(vc_object_handle(VC_PHYSICAL, i->physical), i->bytes, &i->address);
	if (result) {
		vc_physical_drop(i->physical);
		free(i);
		return result;
	}
	i->next = imports;
	imports = i;
	*ret = i;
	return CUDA_SUCCESS;
}

// Goes when nothing in it is open.
static void import_put(struct import *i)
{
	struct record_vm_unmap unmap = { .address = i->address, .size = i->bytes };
	struct record_vm_free back = { .address = i->address };
	struct import **link = &imports;

	if (i->opened)
		return;
	while (*link != i)
		link = &(*link)->next;
	*link = i->next;
	vgpu_call_vm_unmap(vc_client, &unmap);
	vgpu_call_vm_free(vc_client, &back);
	vc_physical_drop(i->physical);
	free(i);
}

static CUresult open_in(struct import *i, const struct ipc_handle *h, struct vc_context *ctx,
			CUdeviceptr *ptr)
{
	struct vc_range range = { .bytes = h->bytes, .kind = VC_RANGE_IMPORTED, .owner = ctx };
	struct opened *o;
	int r;

	if (!h->bytes || h->offset > i->bytes || h->bytes > i->bytes - h->offset)
		return CUDA_ERROR_INVALID_VALUE;
	o = malloc(sizeof(*o));
	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*o = (struct opened){
		.handle = *h, .import = i, .address = i->address + h->offset, .count = 1, .next = opened
	};
	range.base = o->address;
	r = vc_range_add(&range);
	if (r) {
		free(o);
		// An older allocation that its owner freed is still open here.
		return r == -EEXIST ? CUDA_ERROR_ALREADY_MAPPED : CUDA_ERROR_OUT_OF_MEMORY;
	}
	i->opened++;
	opened = o;
	*ptr = o->address;
	return CUDA_SUCCESS;
}

static CUresult open_locked(const struct ipc_handle *h, struct vc_context *ctx, CUdeviceptr *ptr)
{
	struct opened *o = opened;
	struct import *i;
	CUresult result = CUDA_SUCCESS;

	while (o && memcmp(&o->handle, h, sizeof(*h)) != 0)
		o = o->next;
	if (o) {
		o->count++;
		*ptr = o->address;
		return CUDA_SUCCESS;
	}
	i = import_find(h->key);
	if (!i)
		result = import_new(h->key, &i);
	if (result)
		return result;
	result = open_in(i, h, ctx, ptr);
	import_put(i);
	return result;
}

CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *ptr, CUipcMemHandle handle, unsigned int flags)
{
	struct ipc_handle h;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	memcpy(&h, &handle, sizeof(h));
	if (!ptr || (flags & ~CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) || !is_handle(&h, IPC_MEMORY))
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	result = open_locked(&h, ctx, ptr);
	pthread_mutex_unlock(&lock);
	return result;
}

// The one that begins at address, once or as often as it was opened. 0: none does.
static int close_at(uint64_t address, int all)
{
	struct opened **link, *o;
	struct vc_range range;

	pthread_mutex_lock(&lock);
	for (link = &opened; *link && (*link)->address != address;)
		link = &(*link)->next;
	o = *link;
	if (o && (all || !--o->count)) {
		*link = o->next;
		vc_range_remove(address, 1u << VC_RANGE_IMPORTED, &range);
		o->import->opened--;
		import_put(o->import);
		free(o);
	}
	pthread_mutex_unlock(&lock);
	return o != NULL;
}

CUresult cuIpcCloseMemHandle(CUdeviceptr ptr)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	return close_at(ptr, 0) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void vc_ipc_release(const struct vc_range *range)
{
	close_at(range->base, 1);
}

// ---- events

CUresult cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event)
{
	struct ipc_handle h = { .magic = IPC_MAGIC, .what = IPC_EVENT };
	struct record_event_share record;
	struct reply_event_share reply;
	struct vc_event *e;
	CUresult result = vc_event_enter(event, &e);

	if (result)
		return result;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	if (!(e->flags & CU_EVENT_INTERPROCESS))
		return CUDA_ERROR_INVALID_HANDLE;
	record.event = vc_object_handle(VC_EVENT, e);
	result = (CUresult)vgpu_call_event_share(vc_client, &record, &reply);
	if (result)
		return result;
	memcpy(h.key, reply.key, sizeof(h.key));
	memcpy(handle, &h, sizeof(h));
	return CUDA_SUCCESS;
}

CUresult cuIpcOpenEventHandle(CUevent *ret, CUipcEventHandle handle)
{
	struct record_event_open record = { 0 };
	struct ipc_handle h;
	struct vc_context *ctx;
	struct vc_event *e;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	memcpy(&h, &handle, sizeof(h));
	if (!ret || !is_handle(&h, IPC_EVENT))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_event_new(ctx, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING, &e);
	if (result)
		return result;
	record.event = vc_object_handle(VC_EVENT, e);
	memcpy(record.key, h.key, sizeof(record.key));
	result = (CUresult)vgpu_call_event_open(vc_client, &record);
	if (result) {
		vc_object_free(VC_EVENT, e);
		return result;
	}
	*ret = vc_event_publish(e);
	return CUDA_SUCCESS;
}
