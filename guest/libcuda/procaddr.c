// SPDX-License-Identifier: Apache-2.0
// cuGetProcAddress in both versions. Runs in the guest program, before cuInit as well;
// nothing here takes a lock.
#include "guest/libcuda/procaddr.h"

#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/trace.h"

static const struct proc_entry *find_entry(const char *name)
{
	size_t low = 0, high = proc_table_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(name, proc_table[mid].name);

		if (order == 0)
			return &proc_table[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

void *proc_lookup(const char *name, int version, int per_thread, int *status)
{
	const struct proc_entry *entry = find_entry(name);
	int has_threaded = 0;

	if (!entry) {
		*status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
		return NULL;
	}
	*status = CU_GET_PROC_ADDRESS_SUCCESS;
	for (size_t i = 0; per_thread && i < entry->count; i++) {
		const struct proc_version *v = &entry->versions[i];

		has_threaded |= v->per_thread != NULL;
		if (v->per_thread && v->per_thread_since <= version)
			return v->per_thread;
	}
	// The driver gives no plain form of a name that has a per-thread one to who asked for that.
	for (size_t i = 0; !has_threaded && i < entry->count; i++)
		if (entry->versions[i].since <= version)
			return entry->versions[i].symbol;
	*status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
	return NULL;
}

static CUresult get_proc(const char *symbol, void **pfn, int version, uint64_t flags, int *status)
{
	const uint64_t known =
	    CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;

	if (!symbol || !pfn || version > VC_DRIVER_VERSION || (flags & ~known))
		return CUDA_ERROR_INVALID_VALUE;
	*pfn = proc_lookup(symbol, version, (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0,
			   status);
	if (*pfn)
		*pfn = vc_traced(*pfn);
	else if (*symbol)
		vc_log("cuGetProcAddress: %s at %d: %s", symbol, version,
		       *status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND ? "not found" : "version too low");
	return CUDA_SUCCESS;
}

CUresult cuGetProcAddress(const char *symbol, void **pfn, int version, uint64_t flags)
{
	int status;
	CUresult result = get_proc(symbol, pfn, version, flags, &status);

	if (result)
		return result;
	return status == CU_GET_PROC_ADDRESS_SUCCESS ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int version, uint64_t flags,
			     CUdriverProcAddressQueryResult *status)
{
	int found;
	CUresult result = get_proc(symbol, pfn, version, flags, &found);

	if (!result && status)
		*status = found;
	return result;
}
