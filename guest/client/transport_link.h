// SPDX-License-Identifier: Apache-2.0
// Process mode's memory: what transport_link.c has of transport_link_memory.c. See transport.h for what they
// do.
#ifndef VGPU_CLIENT_TRANSPORT_LINK_H
#define VGPU_CLIENT_TRANSPORT_LINK_H

#include <stdint.h>

struct vgpu_client;

int link_memory_back(struct vgpu_client *c, uint64_t offset, uint64_t bytes);
void link_memory_unback(struct vgpu_client *c, uint64_t offset, uint64_t bytes);
int link_memory_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset);
int link_memory_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset);
void link_memory_forget(struct vgpu_client *c);
void link_memory_done(struct vgpu_client *c);

#endif
