// SPDX-License-Identifier: Apache-2.0
// Mappings of memory at reserved addresses, and what the device may do with each: a table in the order of
// addresses. Runs in the guest program, under the lock of vmem.h.
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

static struct vc_mapping *table;
static size_t n_mappings, room;

// Index of the first mapping that ends behind the address.
static size_t first_behind(uint64_t address)
{
	size_t low = 0, high = n_mappings;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table[middle].address + table[middle].bytes > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct vc_mapping *mapping_at(uint64_t address)
{
	size_t i = first_behind(address);

	return i < n_mappings && table[i].address <= address ? &table[i] : NULL;
}

// The mappings that fill exactly [address, address + bytes): how many, and the first; 0: none do.
static size_t filling(uint64_t address, uint64_t bytes, size_t *first)
{
	size_t i = *first = first_behind(address);
	uint64_t at = address;

	for (; i < n_mappings && table[i].address == at && at - address < bytes; i++)
		at += table[i].bytes;
	return at - address == bytes ? i - *first : 0;
}

int vc_mapping_find(uint64_t address, struct vc_mapping *ret)
{
	const struct vc_mapping *m;

	pthread_mutex_lock(&vc_vmem_lock);
	m = mapping_at(address);
	if (m)
		*ret = *m;
	pthread_mutex_unlock(&vc_vmem_lock);
	return m != NULL;
}

int vc_mappings_allow(uint64_t address, uint64_t bytes, int access)
{
	uint64_t end = address + bytes;

	pthread_mutex_lock(&vc_vmem_lock);
	for (size_t i = first_behind(address); i < n_mappings && table[i].address <= address && address < end;
	     i++) {
		if ((table[i].access & access) != access)
			break;
		address = table[i].address + table[i].bytes;
	}
	pthread_mutex_unlock(&vc_vmem_lock);
	return address >= end;
}

static CUresult map(struct vc_physical *p, uint64_t address, uint64_t bytes)
{
	struct record_vm_map record = { .physical = vc_object_handle(VC_PHYSICAL, p),
					.address = address,
					.size = bytes };
	CUresult result;
	size_t at;

	if (n_mappings == room) {
		size_t more = room ? 2 * room : 64;
		struct vc_mapping *grown = realloc(table, more * sizeof(*table));

		if (!grown)
			return CUDA_ERROR_OUT_OF_MEMORY;
		table = grown;
		room = more;
	}
	result = (CUresult)vgpu_call_vm_map(vc_client, &record);
	if (result)
		return result;
	at = first_behind(address);
	memmove(&table[at + 1], &table[at], (n_mappings - at) * sizeof(*table));
	table[at] = (struct vc_mapping){ .address = address,
					 .bytes = bytes,
					 .physical = p,
					 .access = CU_MEM_ACCESS_FLAGS_PROT_NONE,
					 .handle_types = p->prop.requestedHandleTypes,
					 .block_id = record.physical };
	n_mappings++;
	p->mappings++;
	return CUDA_SUCCESS;
}

CUresult cuMemMap(CUdeviceptr ptr, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
		  unsigned long long flags)
{
	struct vc_physical *p;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (offset) // as the driver: whatever else is wrong
		return CUDA_ERROR_NOT_SUPPORTED;
	if (flags || !vc_granular(bytes) || ptr % VC_GRANULE)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&vc_vmem_lock);
	p = vc_physical_find(handle);
	result = p && bytes <= p->bytes ? map(p, ptr, bytes) : CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_unlock(&vc_vmem_lock);
	return result;
}

static CUresult unmap(uint64_t address, uint64_t bytes)
{
	struct record_vm_unmap record = { .address = address, .size = bytes };
	size_t first, n = filling(address, bytes, &first);
	CUresult result;

	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	result = (CUresult)vgpu_call_vm_unmap(vc_client, &record);
	if (result)
		return result;
	for (size_t i = first; i < first + n; i++) {
		table[i].physical->mappings--;
		vc_physical_tidy(table[i].physical);
	}
	n_mappings -= n;
	memmove(&table[first], &table[first + n], (n_mappings - first) * sizeof(*table));
	return CUDA_SUCCESS;
}

// Whole mappings only; what lies between them may be empty, as may be all of it. The range is reserved.
static CUresult unmap_all_in(uint64_t address, uint64_t bytes)
{
	size_t first = first_behind(address), end = first;
	CUresult result = CUDA_SUCCESS;

	while (end < n_mappings && table[end].address < address + bytes)
		end++;
	if (end > first && (table[first].address < address ||
			    table[end - 1].address + table[end - 1].bytes > address + bytes))
		return CUDA_ERROR_INVALID_VALUE;
	if (filling(address, bytes, &first))
		return unmap(address, bytes);
	for (; !result && end > first; end--)
		result = unmap(table[end - 1].address, table[end - 1].bytes);
	return result;
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t bytes)
{
	struct vc_range range;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!vc_granular(bytes) || ptr % VC_GRANULE || vc_range_find(ptr, &range) ||
	    range.kind != VC_RANGE_RESERVED || bytes > range.base + range.bytes - ptr)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&vc_vmem_lock);
	result = unmap_all_in(ptr, bytes);
	pthread_mutex_unlock(&vc_vmem_lock);
	return result;
}

void vc_vmem_release(const struct vc_range *range)
{
	struct record_vm_free record = { .address = range->base };
	uint64_t end = range->base + range->bytes;
	size_t i;

	pthread_mutex_lock(&vc_vmem_lock);
	while (i = first_behind(range->base), i < n_mappings && table[i].address < end)
		if (unmap(table[i].address, table[i].bytes))
			break;
	pthread_mutex_unlock(&vc_vmem_lock);
	vgpu_call_vm_free(vc_client, &record);
}

// ---- access

static CUresult wire_access(int flags, uint32_t *ret)
{
	switch (flags) {
	case CU_MEM_ACCESS_FLAGS_PROT_NONE: *ret = VM_ACCESS_NONE; return CUDA_SUCCESS;
	case CU_MEM_ACCESS_FLAGS_PROT_READ: *ret = VM_ACCESS_READ; return CUDA_SUCCESS;
	case CU_MEM_ACCESS_FLAGS_PROT_READWRITE: *ret = VM_ACCESS_READ_WRITE; return CUDA_SUCCESS;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

static CUresult allow(uint64_t address, uint64_t bytes, int flags, uint32_t access)
{
	struct record_vm_access record = { .address = address, .size = bytes, .access = access };
	size_t first, n = filling(address, bytes, &first);
	CUresult result;

	if (!n)
		return CUDA_ERROR_INVALID_VALUE;
	result = (CUresult)vgpu_call_vm_access(vc_client, &record);
	for (size_t i = first; !result && i < first + n; i++)
		table[i].access = flags;
	return result;
}

CUresult cuMemSetAccess(CUdeviceptr ptr, size_t bytes, const CUmemAccessDesc *desc, size_t count)
{
	CUresult result = vc_ready();
	uint32_t access = VM_ACCESS_NONE;

	if (result)
		return result;
	if (!desc || !count || !vc_granular(bytes) || ptr % VC_GRANULE)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++) {
		if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || desc[i].location.id)
			return CUDA_ERROR_INVALID_DEVICE;
		if (wire_access(desc[i].flags, &access))
			return CUDA_ERROR_INVALID_VALUE;
	}
	pthread_mutex_lock(&vc_vmem_lock);
	result = allow(ptr, bytes, desc[count - 1].flags, access);
	pthread_mutex_unlock(&vc_vmem_lock);
	return result;
}

CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr)
{
	struct vc_mapping m;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE || location->id ||
	    !vc_mapping_find(ptr, &m))
		return CUDA_ERROR_INVALID_VALUE;
	*flags = (unsigned long long)m.access;
	return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
	struct vc_mapping *m;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&vc_vmem_lock);
	m = mapping_at((uintptr_t)address);
	if (m) {
		m->physical->references++;
		*handle = vc_object_handle(VC_PHYSICAL, m->physical);
	}
	pthread_mutex_unlock(&vc_vmem_lock);
	return m ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
