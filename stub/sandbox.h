// SPDX-License-Identifier: Apache-2.0
// The stub's cage: unix sockets, memfds and eventfds, no file opened, no program started.
#ifndef VGPU_STUB_SANDBOX_H
#define VGPU_STUB_SANDBOX_H

#include <stdbool.h>

// For good. only_log: what is refused is named in the kernel's audit log instead of ending the process. 0 or
// -errno.
int stub_sandbox_enter(bool only_log);

#endif
