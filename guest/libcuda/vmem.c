// SPDX-License-Identifier: Apache-2.0
// Virtual memory: reserved addresses, and memory without an address. What is mapped where is in vmap.c. Runs
// in the guest program; one lock for both files, for these calls are rare.
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

pthread_mutex_t vc_vmem_lock = PTHREAD_MUTEX_INITIALIZER;

// ---- addresses

CUresult cuMemAddressReserve(CUdeviceptr *ptr, size_t bytes, size_t alignment, CUdeviceptr addr,
			     unsigned long long flags)
{
	struct record_vm_reserve record = { .size = bytes, .hint = addr };
	struct record_vm_free back;
	struct reply_vm_reserve reply;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ptr || !vc_granular(bytes) || flags || (alignment & (alignment - 1)) || alignment > VC_GRANULE)
		return ptr && vc_granular(bytes) && !flags && !(alignment & (alignment - 1))
			   ? CUDA_ERROR_NOT_SUPPORTED
			   : CUDA_ERROR_INVALID_VALUE;
	result = (CUresult)vgpu_call_vm_reserve(vc_client, &record, &reply);
	if (result)
		return result;
	if (vc_range_add(&(struct vc_range){
		.base = reply.address, .bytes = bytes, .kind = VC_RANGE_RESERVED, .owner = ctx })) {
		back.address = reply.address;
		vgpu_call_vm_free(vc_client, &back);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*ptr = reply.address;
	return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr ptr, size_t bytes)
{
	struct record_vm_free record = { .address = ptr };
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (vc_range_find(ptr, &range) || range.kind != VC_RANGE_RESERVED || range.base != ptr ||
	    range.bytes != bytes)
		return CUDA_ERROR_INVALID_VALUE;
	result = (CUresult)vgpu_call_vm_free(vc_client, &record);
	if (!result)
		vc_range_remove(ptr, 1u << VC_RANGE_RESERVED, &range);
	return result;
}

// ---- memory

// Device memory of this device is what there is. It can be exported as a file descriptor (shareable.c) where
// the device can; PyTorch's expandable segments always ask for that and hardly ever do.
static CUresult check_kind(const CUmemAllocationProp *prop)
{
	if (!prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    (prop->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)) {
		vc_log("cuMemCreate: location type %d, handle types %d are not supported",
		       prop->location.type, prop->requestedHandleTypes);
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	return prop->location.id ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *prop,
		     unsigned long long flags)
{
	struct record_vm_create record = { .size = bytes };
	struct vc_physical *p;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!handle || !vc_granular(bytes) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	result = check_kind(prop);
	if (!result)
		result = vc_backend_activate(0);
	if (result)
		return result;
	p = vc_object_new(VC_PHYSICAL);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record.physical = vc_object_handle(VC_PHYSICAL, p);
	record.handle_types = (uint32_t)prop->requestedHandleTypes;
	result = (CUresult)vgpu_call_vm_create(vc_client, &record);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && vc_pools_give_up())
		result = (CUresult)vgpu_call_vm_create(vc_client, &record);
	if (result) {
		vc_object_free(VC_PHYSICAL, p);
		return result;
	}
	p->bytes = bytes;
	p->references = 1;
	p->mappings = 0;
	p->prop = *prop;
	p->prop.allocFlags.compressionType = 0; // asked for, never given
	vc_object_publish(VC_PHYSICAL, p);
	*handle = record.physical;
	return CUDA_SUCCESS;
}

CUresult vc_physical_import(const uint64_t key[2], int others, struct vc_physical **ret)
{
	struct record_vm_import record = { .key = { key[0], key[1] }, .others = (uint32_t)others };
	struct reply_vm_import reply;
	struct vc_physical *p = vc_object_new(VC_PHYSICAL);
	CUresult result;

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	record.physical = vc_object_handle(VC_PHYSICAL, p);
	result = (CUresult)vgpu_call_vm_import(vc_client, &record, &reply);
	if (result) {
		vc_object_free(VC_PHYSICAL, p);
		return result;
	}
	p->bytes = reply.size;
	p->references = 1;
	p->mappings = 0;
	p->prop = (CUmemAllocationProp){ .type = CU_MEM_ALLOCATION_TYPE_PINNED,
					 .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	*ret = p;
	return CUDA_SUCCESS;
}

void vc_physical_drop(struct vc_physical *p)
{
	struct record_vm_release record = { .physical = vc_object_handle(VC_PHYSICAL, p) };

	vgpu_push_vm_release(vc_client, &record);
	vc_object_free(VC_PHYSICAL, p);
}

struct vc_physical *vc_physical_find(CUmemGenericAllocationHandle handle)
{
	struct vc_physical *p = vc_object_find(VC_PHYSICAL, handle);

	return p && p->references ? p : NULL;
}

void vc_physical_tidy(struct vc_physical *p)
{
	if (!p->references && !p->mappings)
		vc_physical_drop(p);
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
	struct vc_physical *p;
	CUresult result = vc_ready();

	if (result)
		return result;
	pthread_mutex_lock(&vc_vmem_lock);
	p = vc_physical_find(handle);
	if (p) {
		p->references--;
		vc_physical_tidy(p);
	}
	pthread_mutex_unlock(&vc_vmem_lock);
	return p ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
				       CUmemAllocationGranularity option)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!granularity || !prop || option < CU_MEM_ALLOC_GRANULARITY_MINIMUM ||
	    option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
		return CUDA_ERROR_INVALID_VALUE;
	*granularity = VC_GRANULE;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
						CUmemGenericAllocationHandle handle)
{
	struct vc_physical *p;
	CUresult result = vc_ready();

	if (result)
		return result;
	pthread_mutex_lock(&vc_vmem_lock);
	p = prop ? vc_physical_find(handle) : NULL;
	if (p)
		*prop = p->prop;
	pthread_mutex_unlock(&vc_vmem_lock);
	return p ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
