// SPDX-License-Identifier: Apache-2.0
// Debug lines of the guest's libraries; see the header. Runs in the guest program.
#include "guest/client/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE 512

int vgpu_log_level(void)
{
	static _Atomic int known; // 0 not looked up, else the level + 1
	int k = atomic_load_explicit(&known, memory_order_relaxed);

	if (!k) {
		const char *level = getenv("VGPU_LOG");

		k = 1 + VGPU_LOG_OFF;
		if (level && strcmp(level, "debug") == 0)
			k = 1 + VGPU_LOG_DEBUG;
		else if (level && strcmp(level, "trace") == 0)
			k = 1 + VGPU_LOG_TRACE;
		atomic_store_explicit(&known, k, memory_order_relaxed);
	}
	return k - 1;
}

void vgpu_log_line(const char *library, const char *format, va_list args)
{
	char line[LOG_LINE];
	int saved = errno;
	int head;

	if (vgpu_log_level() == VGPU_LOG_OFF)
		return;
	head = snprintf(line, sizeof(line), "%s[%d]: ", library, (int)getpid());
	if (vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args) >= 0) {
		size_t length = strlen(line);

		line[length++] = '\n';
		if (write(STDERR_FILENO, line, length) < 0) {
			// nobody to tell
		}
	}
	errno = saved;
}
