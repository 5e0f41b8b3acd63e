// SPDX-License-Identifier: Apache-2.0
// Whether a packet may be acted upon: what is legal when, and every field of it. Pure; whoever handles a
// message may take it as valid afterwards. Used for clients and for executors.
#ifndef VGPU_MEDIATOR_SESSION_CHECK_H
#define VGPU_MEDIATOR_SESSION_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/host/link.h"

enum phase {
	PHASE_NEW = 1,	    // client: no HELLO yet
	PHASE_READY = 2,    // client: after HELLO
	PHASE_STARTING = 4, // executor: before READY or FAILED
	PHASE_SERVING = 8,  // executor: after READY
};

// packet: len bytes as received, n_fds fds with it. Returns 0; or the enum link_error_code that it deserves
// with *why, a text without anything of the packet in it.
int check_packet(enum phase phase, const void *packet, size_t len, unsigned n_fds, const char **why);

#endif
