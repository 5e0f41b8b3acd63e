// SPDX-License-Identifier: Apache-2.0
// The mediator's ASSIGN as the executor takes it: checked completely before anything is mapped.
#ifndef VGPU_EXECUTOR_ASSIGN_H
#define VGPU_EXECUTOR_ASSIGN_H

#include <stddef.h>

#include "protocol/host/link.h"

// packet: as received, bytes long, with n_fds fds. 0 and *ret, or -EPROTO with *why (static text).
int assign_parse(const void *packet, size_t bytes, unsigned n_fds, struct link_assign *ret, const char **why);

// The same for ASSIGN_VM.
int assign_parse_vm(const void *packet, size_t bytes, unsigned n_fds, struct link_assign_vm *ret,
		    const char **why);

#endif
