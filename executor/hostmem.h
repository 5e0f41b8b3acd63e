// SPDX-License-Identifier: Apache-2.0
// Host memory that this channel's GPU work may touch: registered ranges of the host window, at their window
// address or at the guest's own address where the executor maps the same part of the memfd. The arena is a
// range from context_activate on and cannot be unregistered.
#ifndef VGPU_EXECUTOR_HOSTMEM_H
#define VGPU_EXECUTOR_HOSTMEM_H

#include <stdbool.h>
#include <stdint.h>

#include <bsd/sys/tree.h>

#include "executor/backends/backend.h"
#include "protocol/host/link.h"

struct host_range;
RB_HEAD(host_ranges, host_range);

struct hostmem {
	const struct backend_ops *ops;
	struct backend *backend;
	const struct link_geometry *geometry; // checked by assign_check
	int window_fd;
	struct host_ranges ranges;
	uint32_t n_ranges;
};

void hostmem_init(struct hostmem *h, const struct backend_ops *ops, struct backend *backend,
		  const struct link_geometry *geometry, int window_fd);

// Registers the arena. CUresult.
int32_t hostmem_add_arena(struct hostmem *h);

// CUresults: INVALID_VALUE (alignment, outside of the memfd, address in another window), ALREADY_REGISTERED
// (overlap), OUT_OF_MEMORY (limit, or the address is taken in this process).
int32_t hostmem_register(struct hostmem *h, uint64_t address, uint64_t size, uint64_t offset);

// Whether address is the base of a range that may be unregistered; doing so (no work may use it any more).
bool hostmem_is_base(const struct hostmem *h, uint64_t address);
int32_t hostmem_unregister(struct hostmem *h, uint64_t address);

// Whether all of [address, address + bytes) lies in one range. Any values.
// How many bytes from address on lie in one registration: what one transfer of the device may touch.
uint64_t hostmem_run(const struct hostmem *h, uint64_t address);
bool hostmem_contains(const struct hostmem *h, uint64_t address, uint64_t bytes);

// Unregisters everything, the arena too.
void hostmem_clear(struct hostmem *h);

#endif
