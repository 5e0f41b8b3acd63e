// SPDX-License-Identifier: Apache-2.0
// Guest memory of a channel in a virtual machine: which parts of the VM's memory this executor has mapped,
// where, and the memory link by which the VM's stub asks for it (protocol/host/memory_link.h). Every fd of
// guest memory is closed as soon as its pieces are mapped: what is not mapped then cannot be reached from
// here.
#ifndef VGPU_EXECUTOR_GUEST_MEMORY_H
#define VGPU_EXECUTOR_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <bsd/sys/tree.h>

#include "protocol/host/memory_link.h"

struct executor;
struct guest_map;
RB_HEAD(guest_maps, guest_map);

struct guest_memory {
	bool is;	// false: process mode, everything else is 0
	int link, bell; // fds: memory link; eventfd, written where a futex wakes in process mode
	const struct link_geometry *geometry;
	struct guest_maps maps;
	uint32_t n_maps, n_pieces;
	uint64_t bytes;

	bool readable; // the link may have more
	bool waits;    // an UNMAP waits until the device is idle; nothing else goes on before
	struct memory_unmap unmap;
};

// A list of extents as it was sent: read once, checked against the files. n: 1..VGPU_MAX_VM_PIECES.
// *ret is malloc'ed. 0, -EPROTO (malformed, or beyond a file's end) or -errno.
int guest_extents_read(int list, uint32_t n, const int *memory, unsigned n_memory,
		       struct memory_extent **ret);

// Maps extents one behind another over [address, address + bytes), which is reserved without access: as many
// of the n as make up bytes exactly. Returns how many; -EPROTO if they do not; -errno (what is mapped stays).
int guest_extents_map(const struct memory_extent *e, uint32_t n, const int *memory, uint64_t address,
		      uint64_t bytes);

void guest_memory_init(struct guest_memory *g, const struct link_geometry *geometry, int link, int bell);

// Whether all of [address, address + bytes) lies in one MAP. Any values.
bool guest_memory_contains(const struct guest_memory *g, uint64_t address, uint64_t bytes);

// Carries out what stands on the link. For the loop, between records. 0; -EPIPE: the stub is gone;
// -EPROTO with *why.
int guest_memory_serve(struct executor *x, const char **why);

// Wakes the guest's threads that sleep on the channel's wake word.
void guest_memory_ring(const struct guest_memory *g);

#endif
