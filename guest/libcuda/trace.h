// SPDX-License-Identifier: Apache-2.0
// Results of calls in the log (VGPU_LOG=debug, trace). Off, it costs nothing: programs then hold the plain
// functions. On, cuGetProcAddress hands out generated forms of them that pass their result through vc_trace;
// names that a program looks up with dlsym stay plain.
#ifndef VGPU_LIBCUDA_TRACE_H
#define VGPU_LIBCUDA_TRACE_H

#include <stddef.h>

#include "protocol/cuda/cuda_abi.h"

struct trace_entry {
	void *plain, *traced;
};

extern const struct trace_entry trace_table[]; // generated
extern const size_t trace_table_count;

// Logs that the call of that name (a constant text) returned result: at debug level once for each error that
// it returns, at trace level always. Returns result; keeps errno. Any thread.
CUresult vc_trace(const char *name, CUresult result);

// What cuGetProcAddress hands out for a symbol: itself, or the form that logs if the log is on.
void *vc_traced(void *symbol);

#endif
