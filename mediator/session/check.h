// SPDX-License-Identifier: Apache-2.0
// Whether a packet may be acted upon: what is legal when, and every field of it. Pure; whoever handles a
// message may take it as valid afterwards. Used for clients, for executors and for the sensor.
#ifndef VGPU_MEDIATOR_SESSION_CHECK_H
#define VGPU_MEDIATOR_SESSION_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/host/link.h"

// The fds of CHANNEL_OPEN_VM before those of guest memory.
enum { CHANNEL_VM_BELL, CHANNEL_VM_MEMORY_LINK, CHANNEL_VM_EXTENTS, CHANNEL_VM_FDS };

enum phase {
	PHASE_NONE = 0,	    // nothing is legal
	PHASE_NEW = 1,	    // client: no HELLO yet
	PHASE_READY = 2,    // client: after HELLO
	PHASE_STARTING = 4, // executor: before READY or FAILED
	PHASE_SERVING = 8,  // executor: after READY
	PHASE_SENSOR_STARTING = 16,
	PHASE_WARMING = 64,	   // executor that was started ahead: before WARM
	PHASE_SENSOR_SERVING = 32, // sensor: after SENSOR_READY, a SENSE is unanswered
};

// packet: len bytes as received, n_fds fds with it. Returns 0; or the enum link_error_code that it deserves
// with *why, a text without anything of the packet in it.
int check_packet(enum phase phase, const void *packet, size_t len, unsigned n_fds, const char **why);

#endif
