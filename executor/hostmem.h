// SPDX-License-Identifier: Apache-2.0
// Host memory that this channel's GPU work may touch: registered ranges of the host window, at their window
// address or at the guest's own address where the executor maps the same part of the memfd. The arena is a
// range from context_activate on and cannot be unregistered. In a virtual machine the ranges lie in guest
// memory that was mapped before (executor/guest_memory.h), and nothing is mapped here.
#ifndef VGPU_EXECUTOR_HOSTMEM_H
#define VGPU_EXECUTOR_HOSTMEM_H

#include <stdbool.h>
#include <stdint.h>

#include <bsd/sys/tree.h>

#include "executor/backends/backend.h"
#include "protocol/host/link.h"
#include "protocol/host/turn_page.h"

struct guest_memory;
struct host_range;
RB_HEAD(host_ranges, host_range);

struct hostmem {
	const struct backend_ops *ops;
	struct backend *backend;
	const struct link_geometry *geometry; // checked by assign_check
	int window_fd;
	const struct guest_memory *guest; // NULL: process mode
	struct host_ranges ranges;
	uint32_t n_ranges;
	struct vgpu_turn_page *turn;	 // where registered bytes are counted; NULL: nowhere
	struct vgpu_tenant_page *tenant; // ... against the tenant's quota
	uint64_t held;
};

void hostmem_init(struct hostmem *h, const struct backend_ops *ops, struct backend *backend,
		  const struct link_geometry *geometry, int window_fd, const struct guest_memory *guest);

// Counts what is registered from here on (not the arena, which each channel has).
void hostmem_count(struct hostmem *h, struct vgpu_turn_page *turn, struct vgpu_tenant_page *tenant);

// Registers the arena. CUresult.
int32_t hostmem_add_arena(struct hostmem *h);

// CUresults: INVALID_VALUE (alignment, outside of the memfd, address in another window), ALREADY_REGISTERED
// (overlap), OUT_OF_MEMORY (limit or the tenant's quota, or the address is taken in this process).
int32_t hostmem_register(struct hostmem *h, uint64_t address, uint64_t size, uint64_t offset);

// Whether address is the base of a range that may be unregistered; doing so (no work may use it any more).
bool hostmem_is_base(const struct hostmem *h, uint64_t address);
int32_t hostmem_unregister(struct hostmem *h, uint64_t address);

// Whether a range lies in [address, address + bytes) or touches it (not the arena's); unregisters those (no
// work may use them any more), whether there were any.
bool hostmem_any_in(const struct hostmem *h, uint64_t address, uint64_t bytes);
bool hostmem_unregister_in(struct hostmem *h, uint64_t address, uint64_t bytes);

// Whether a program can have memory at [address, address + bytes) that is not in the other windows: its own,
// or in the host window behind the arena. bytes is not 0 and at most 2^47.
bool hostmem_is_place(const struct link_geometry *g, uint64_t address, uint64_t bytes);

// Whether all of [address, address + bytes) lies in one range. Any values.
// How many bytes from address on lie in one registration: what one transfer of the device may touch.
uint64_t hostmem_run(const struct hostmem *h, uint64_t address);
bool hostmem_contains(const struct hostmem *h, uint64_t address, uint64_t bytes);

// Unregisters everything, the arena too.
void hostmem_clear(struct hostmem *h);

#endif
