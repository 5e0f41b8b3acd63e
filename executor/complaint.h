// SPDX-License-Identifier: Apache-2.0
// What a backend's library writes to the executor's stderr. The lines that a failed assertion of a kernel
// makes belong to the guest program; all others are the operator's.
#ifndef VGPU_EXECUTOR_COMPLAINT_H
#define VGPU_EXECUTOR_COMPLAINT_H

#include <stdbool.h>
#include <stddef.h>

// Whether the line (without its end) is the driver's message of a failed assertion, as driver 580 words it:
// FILE:LINE: FUNCTION: block: [X,Y,Z], thread: [X,Y,Z] Assertion `WHAT` failed.
// Whatever else a driver says could tell of the host.
bool complaint_is_assertion(const char *line, size_t n);

// backend_env.complain; opaque is the executor.
void complaint_put(void *opaque, const char *text, size_t length);

#endif
