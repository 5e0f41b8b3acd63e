// SPDX-License-Identifier: Apache-2.0
// Results of calls in the log; see the header. Runs in the guest program, in any thread, only when the log is
// on.
#include "guest/libcuda/trace.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/client/log.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/log.h"

#define SEEN 1024u // pairs of name and error that are remembered; one that finds no room is logged again

// True the first time that it is asked for this pair.
static bool first_time(const char *name, CUresult result)
{
	static _Atomic uint64_t seen[SEEN];
	uint64_t key = (uint64_t)(uintptr_t)name << 16 | (uint16_t)result;
	uint64_t at = key * 0x9e3779b97f4a7c15u >> 32;

	for (size_t i = 0; i < SEEN; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&seen[(at + i) % SEEN], &none, key))
			return true;
		if (none == key)
			return false;
	}
	return true;
}

CUresult vc_trace(const char *name, CUresult result)
{
	int level = vgpu_log_level();

	if (level == VGPU_LOG_OFF || (level == VGPU_LOG_DEBUG && (!result || !first_time(name, result))))
		return result;
	vc_log_result(name, (int)result, vc_error_name(result));
	return result;
}

void *vc_traced(void *symbol)
{
	if (vgpu_log_level() == VGPU_LOG_OFF)
		return symbol;
	for (size_t i = 0; i < trace_table_count; i++)
		if (trace_table[i].plain == symbol)
			return trace_table[i].traced;
	return symbol;
}
