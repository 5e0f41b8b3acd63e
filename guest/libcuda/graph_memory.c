// SPDX-License-Identifier: Apache-2.0
// What allocation nodes of graphs hold, as cuDeviceGetGraphMemAttribute counts it. The memory is an ordinary
// allocation that a node has from the time it is added, so nothing is kept in reserve. Runs in the guest
// program.
#include <string.h>

#include "guest/libcuda/graph.h"

static _Atomic uint64_t current, high;

void vc_graph_memory_counts(uint64_t bytes)
{
	uint64_t now = atomic_fetch_add(&current, bytes) + bytes, most = atomic_load(&high);

	while (now > most && !atomic_compare_exchange_weak(&high, &most, now)) {
	}
}

void vc_graph_memory_gone(uint64_t bytes)
{
	atomic_fetch_sub(&current, bytes);
}

static CUresult check(CUdevice device, const void *value)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (device)
		return CUDA_ERROR_INVALID_DEVICE;
	return value ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGetGraphMemAttribute(CUdevice device, int attribute, void *value)
{
	CUresult result = check(device, value);
	uint64_t answer;

	if (result)
		return result;
	switch (attribute) {
	case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT:
	case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT: answer = atomic_load(&current); break;
	case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH:
	case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: answer = atomic_load(&high); break;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	memcpy(value, &answer, sizeof(answer));
	return CUDA_SUCCESS;
}

// The high marks can be set back to now, with 0.
CUresult cuDeviceSetGraphMemAttribute(CUdevice device, int attribute, void *value)
{
	CUresult result = check(device, value);
	uint64_t wanted;

	if (result)
		return result;
	memcpy(&wanted, value, sizeof(wanted));
	if (wanted || (attribute != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH &&
		       attribute != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH))
		return CUDA_ERROR_INVALID_VALUE;
	atomic_store(&high, atomic_load(&current));
	return CUDA_SUCCESS;
}

CUresult cuDeviceGraphMemTrim(CUdevice device)
{
	return check(device, &current);
}
