// SPDX-License-Identifier: Apache-2.0
// Debug lines of libcuda.so.1 and the answer of calls that are not there yet. Runs in the guest program; any
// thread may call.
#include "guest/libcuda/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/libcuda/libcuda.h"

#define LOG_LINE 512

static _Atomic uint64_t unsupported_calls;

int vc_log_level(void)
{
	static _Atomic int known; // 0 not looked up, else the level + 1
	int k = atomic_load_explicit(&known, memory_order_relaxed);

	if (!k) {
		const char *level = getenv("VGPU_LOG");

		k = 1 + VC_LOG_OFF;
		if (level && strcmp(level, "debug") == 0)
			k = 1 + VC_LOG_DEBUG;
		else if (level && strcmp(level, "trace") == 0)
			k = 1 + VC_LOG_TRACE;
		atomic_store_explicit(&known, k, memory_order_relaxed);
	}
	return k - 1;
}

void vc_log(const char *format, ...)
{
	char line[LOG_LINE];
	int saved = errno;
	va_list args;
	int head;

	if (vc_log_level() == VC_LOG_OFF)
		return;
	head = snprintf(line, sizeof(line), "libcuda[%d]: ", (int)getpid());
	va_start(args, format);
	if (vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args) >= 0) {
		size_t length = strlen(line);

		line[length++] = '\n';
		if (write(STDERR_FILENO, line, length) < 0) {
			// nobody to tell
		}
	}
	va_end(args);
	errno = saved;
}

int vc_not_supported(struct vc_unsupported *call)
{
	CUresult state = vc_ready();

	if (atomic_fetch_add_explicit(&call->count, 1, memory_order_relaxed) == 0 ||
	    vc_log_level() == VC_LOG_TRACE)
		vc_log("%s is not supported yet", call->name);
	atomic_fetch_add_explicit(&unsupported_calls, 1, memory_order_relaxed);
	return state ? (int)state : CUDA_ERROR_NOT_SUPPORTED;
}

uint64_t vc_unsupported_calls(void)
{
	return atomic_load_explicit(&unsupported_calls, memory_order_relaxed);
}
