// SPDX-License-Identifier: Apache-2.0
// From a guest's list of extents to what an executor can map: pieces of the VM's files, in a file of their
// own (protocol/host/memory_link.h). A list is read once, piece by piece, and never kept in memory as a
// whole.
#ifndef VGPU_STUB_EXTENTS_H
#define VGPU_STUB_EXTENTS_H

#include "protocol/guest/vgpu_pci.h"
#include "protocol/host/memory_link.h"
#include "stub/dma.h"

struct extents {
	int list; // ours
	uint32_t n;
	unsigned n_files;
	int files[LINK_MAX_GUEST_MEMORY]; // indices of dma.files
	int fds[LINK_MAX_GUEST_MEMORY];	  // borrowed from there
};

// 0 or -errno.
int extents_init(struct extents *e);
void extents_done(struct extents *e);

// Adds the n extents of the list at that guest address, which must make up exactly bytes. Touching ones are
// joined. The maps that they lie in are marked as channel's. enum vgpu_command_result.
enum vgpu_command_result extents_add(struct extents *e, struct dma *d, unsigned channel, uint64_t list,
				     uint32_t n, uint64_t bytes);

#endif
