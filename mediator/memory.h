// SPDX-License-Identifier: Apache-2.0
// Shared memory that the mediator makes for others: memfds of fixed size, and the geometry of a channel.
#ifndef VGPU_MEDIATOR_MEMORY_H
#define VGPU_MEDIATOR_MEMORY_H

#include <stdint.h>

#include "common/cleanup.h"
#include "protocol/host/link.h"

// A sparse memfd that can never change its size (sealed against shrinking, growing and further seals). With
// ret_map it is mapped as well (munmap(*ret_map, bytes) by the caller). 0 or -errno, nothing is returned
// then.
int memory_make(const char *name, uint64_t bytes, int *ret_fd, void **ret_map);

// The same geometry for every channel, from common/limits.h.
void memory_geometry(uint64_t window_offset, struct link_geometry *ret);

// The channel's two memfds, header of the channel written.
int memory_make_channel(const struct link_geometry *g, int *ret_channel_fd, int *ret_window_fd);

// Bytes that the system could give to new processes; as good as no end: it does not tell.
uint64_t memory_available(void);

#endif
