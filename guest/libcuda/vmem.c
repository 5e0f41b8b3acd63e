// SPDX-License-Identifier: Apache-2.0
// Virtual memory: addresses are reserved, memory is created, and mapped there. The executor sets memory aside
// at creation and makes it at the mapping, so a piece can be mapped once, in one place. Runs in the guest
// program; one lock, for these calls are rare.
#include <pthread.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

#define GRANULE		      (2ull << 20)
#define POSIX_FILE_DESCRIPTOR 1

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vc_vmem *mapped;

static int granular(uint64_t n)
{
	return n && n % GRANULE == 0;
}

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
	if (!ptr || !granular(bytes) || flags || (alignment & (alignment - 1)) || alignment > GRANULE)
		return ptr && granular(bytes) && !flags && !(alignment & (alignment - 1))
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

// Device memory of this device is what there is. PyTorch's expandable segments ask for memory that could be
// exported as a file descriptor and hardly ever export it: they get it, and the export is what is refused.
static CUresult check_kind(const CUmemAllocationProp *prop)
{
	if (!prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    (prop->requestedHandleTypes & ~POSIX_FILE_DESCRIPTOR)) {
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
	struct record_vm_release back = { .size = bytes };
	struct vc_vmem *m;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!handle || !granular(bytes) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	result = check_kind(prop);
	if (!result)
		result = vc_backend_activate(0);
	if (!result)
		result = (CUresult)vgpu_call_vm_create(vc_client, &record);
	if (result)
		return result;
	m = vc_object_new(VC_VMEM);
	if (!m) {
		vgpu_call_vm_release(vc_client, &back);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	m->bytes = bytes;
	m->references = 1;
	m->spent = 0;
	m->address = 0;
	vc_object_publish(VC_VMEM, m);
	*handle = vc_object_handle(VC_VMEM, m);
	return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
	struct record_vm_release record = { 0 };
	struct vc_vmem *m;
	CUresult result = vc_ready();

	if (result)
		return result;
	pthread_mutex_lock(&lock);
	m = vc_object_find(VC_VMEM, handle);
	if (!m || !m->references) {
		pthread_mutex_unlock(&lock);
		return CUDA_ERROR_INVALID_VALUE;
	}
	m->references--;
	if (!m->references && !m->address) {
		record.size = m->spent ? 0 : m->bytes;
		vc_object_free(VC_VMEM, m);
	}
	pthread_mutex_unlock(&lock);
	return record.size ? (CUresult)vgpu_call_vm_release(vc_client, &record) : CUDA_SUCCESS;
}

static struct vc_vmem *mapped_at(CUdeviceptr address)
{
	struct vc_vmem *m = mapped;

	while (m && (address < m->address || address - m->address >= m->bytes))
		m = m->next_mapped;
	return m;
}

static CUresult map(struct vc_vmem *m, CUdeviceptr ptr, size_t bytes)
{
	struct record_vm_map record = { .address = ptr, .size = bytes };
	CUresult result;

	if (bytes != m->bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (m->address || m->spent) {
		vc_log("cuMemMap: memory that was mapped before cannot be mapped again");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	result = (CUresult)vgpu_call_vm_map(vc_client, &record);
	if (result)
		return result;
	m->spent = 1;
	m->address = ptr;
	m->next_mapped = mapped;
	mapped = m;
	return CUDA_SUCCESS;
}

CUresult cuMemMap(CUdeviceptr ptr, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
		  unsigned long long flags)
{
	struct vc_vmem *m;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (offset || flags)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	m = vc_object_find(VC_VMEM, handle);
	result = m && m->references ? map(m, ptr, bytes) : CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_unlock(&lock);
	return result;
}

static CUresult unmap_one(struct vc_vmem **link)
{
	struct vc_vmem *m = *link;
	struct record_vm_unmap record = { .address = m->address, .size = m->bytes };
	CUresult result = (CUresult)vgpu_call_vm_unmap(vc_client, &record);

	if (result)
		return result;
	*link = m->next_mapped;
	m->address = 0;
	if (!m->references)
		vc_object_free(VC_VMEM, m);
	return CUDA_SUCCESS;
}

// Whole mappings only; they may be several.
static CUresult unmap(CUdeviceptr ptr, size_t bytes)
{
	uint64_t found = 0;
	CUresult result = CUDA_SUCCESS;

	for (struct vc_vmem *m = mapped; m; m = m->next_mapped) {
		if (m->address + m->bytes <= ptr || m->address >= ptr + bytes)
			continue;
		if (m->address < ptr || m->address + m->bytes > ptr + bytes)
			return CUDA_ERROR_INVALID_VALUE;
		found += m->bytes;
	}
	if (found != bytes)
		return CUDA_ERROR_INVALID_VALUE;
	for (struct vc_vmem **link = &mapped; *link && !result;) {
		if ((*link)->address >= ptr && (*link)->address < ptr + bytes)
			result = unmap_one(link);
		else
			link = &(*link)->next_mapped;
	}
	return result;
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t bytes)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!granular(bytes) || ptr % GRANULE)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	result = unmap(ptr, bytes);
	pthread_mutex_unlock(&lock);
	return result;
}

// Mapped memory can be read and written by this device at once; another wish than that is refused.
CUresult cuMemSetAccess(CUdeviceptr ptr, size_t bytes, const CUmemAccessDesc *desc, size_t count)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!desc || !count || !granular(bytes) || ptr % GRANULE)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++) {
		if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || desc[i].location.id)
			return CUDA_ERROR_INVALID_DEVICE;
		if (desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
			vc_log("cuMemSetAccess: access %d is not supported", (int)desc[i].flags);
			return CUDA_ERROR_NOT_SUPPORTED;
		}
	}
	pthread_mutex_lock(&lock);
	for (uint64_t at = ptr; !result && at < ptr + bytes;) {
		const struct vc_vmem *m = mapped_at(at);

		if (m)
			at = m->address + m->bytes;
		else
			result = CUDA_ERROR_INVALID_VALUE;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr)
{
	const struct vc_vmem *m;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE || location->id)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	m = mapped_at(ptr);
	if (m)
		*flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	pthread_mutex_unlock(&lock);
	return m ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
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
	*granularity = GRANULE;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
						CUmemGenericAllocationHandle handle)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!prop || !vc_object_find(VC_VMEM, handle))
		return CUDA_ERROR_INVALID_VALUE;
	*prop = (CUmemAllocationProp){ .type = CU_MEM_ALLOCATION_TYPE_PINNED,
				       .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
	struct vc_vmem *m;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	m = mapped_at((uintptr_t)address);
	if (m) {
		m->references++;
		*handle = vc_object_handle(VC_VMEM, m);
	}
	pthread_mutex_unlock(&lock);
	return m ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// What a context that goes had mapped or reserved there.
void vc_vmem_release(const struct vc_range *range)
{
	struct record_vm_free record = { .address = range->base };

	pthread_mutex_lock(&lock);
	for (struct vc_vmem **link = &mapped; *link;)
		if ((*link)->address < range->base || (*link)->address >= range->base + range->bytes ||
		    unmap_one(link))
			link = &(*link)->next_mapped;
	pthread_mutex_unlock(&lock);
	vgpu_call_vm_free(vc_client, &record);
}
