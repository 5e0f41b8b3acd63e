// SPDX-License-Identifier: Apache-2.0
// Debug lines of libcuda.so.1 and the answer of calls that are not there yet. Runs in the guest program; any
// thread may call.
#include "guest/libcuda/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "guest/client/log.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/logs.h"

static _Atomic uint64_t unsupported_calls;

#define LOG_LINE 512

static void __attribute__((format(printf, 1, 2))) print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vgpu_log_line("libcuda", format, args);
	va_end(args);
}

void vc_log(const char *format, ...)
{
	char text[LOG_LINE];
	int saved = errno;
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) >= 0) {
		vc_logs_keep(text);
		print("%s", text);
	}
	va_end(args);
	errno = saved;
}

void vc_log_result(const char *name, int result, const char *text)
{
	print("%s: %d %s", name, result, text);
}

int vc_not_supported(struct vc_unsupported *call)
{
	CUresult state = vc_ready();

	if (atomic_fetch_add_explicit(&call->count, 1, memory_order_relaxed) == 0 ||
	    vgpu_log_level() == VGPU_LOG_TRACE)
		vc_log("%s is not supported yet", call->name);
	atomic_fetch_add_explicit(&unsupported_calls, 1, memory_order_relaxed);
	return state ? (int)state : CUDA_ERROR_NOT_SUPPORTED;
}

uint64_t vc_unsupported_calls(void)
{
	return atomic_load_explicit(&unsupported_calls, memory_order_relaxed);
}
