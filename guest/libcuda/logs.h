// SPDX-License-Identifier: Apache-2.0
// The last lines that libcuda.so.1 had to say, for the program to fetch (cuLogs*).
#ifndef VGPU_LIBCUDA_LOGS_H
#define VGPU_LIBCUDA_LOGS_H

// Keeps a line (without its end) and tells whoever registered for it. Any thread; callbacks run in it.
void vc_logs_keep(const char *line);

#endif
