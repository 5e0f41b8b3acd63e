// SPDX-License-Identifier: Apache-2.0
// What the guest's libraries tell about themselves: lines on stderr when VGPU_LOG=debug or trace, silence
// otherwise, for they live in strangers' processes. Any thread may call.
#ifndef VGPU_CLIENT_LOG_H
#define VGPU_CLIENT_LOG_H

#include <stdarg.h>

// VGPU_LOG, looked up once. debug: what is missing, and each error that a call returned, once; trace: every
// call that went through cuGetProcAddress with its result.
enum vgpu_log_level { VGPU_LOG_OFF, VGPU_LOG_DEBUG, VGPU_LOG_TRACE };
int vgpu_log_level(void);

// Writes the line "library[pid]: text" unless the log is off; keeps errno.
void vgpu_log_line(const char *library, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
