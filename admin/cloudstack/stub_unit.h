// SPDX-License-Identifier: Apache-2.0
// The stub of a VM (vgpu-stub@.service), from the hooks, which run as root.
#ifndef VGPU_ADMIN_CLOUDSTACK_STUB_UNIT_H
#define VGPU_ADMIN_CLOUDSTACK_STUB_UNIT_H

#include <stdbool.h>
#include <stdint.h>

// True when the socket is there; it is started if it is not. Else false with why (to be freed).
bool stub_unit_start(const char *vm, const char *socket, uint64_t until_ns, char **ret_why);
// Ends it, if its socket is there; returns when it has ended, so that the next start is not overtaken.
void stub_unit_stop(const char *vm, const char *socket);

#endif
