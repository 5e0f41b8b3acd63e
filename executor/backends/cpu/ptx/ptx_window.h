// SPDX-License-Identifier: Apache-2.0
/*
 * The engine's part of the address space. Kernels may reach [PTX_REACH_LO, PTX_REACH_HI): the three windows
 * and the gaps between them, which the engine keeps reserved without access, so that one comparison checks an
 * address.
 *
 * The first 4 GiB of the engine's window are left out: the address sanitizer's shadow memory ends there.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_WINDOW_H
#define VGPU_EXECUTOR_CPU_PTX_WINDOW_H

#include "executor/backends/cpu/ptx/ptx.h"

#include <stdbool.h>

#define PTX_REACH_LO (PTX_WINDOW_ENGINE + (4ull << 30))
#define PTX_REACH_HI (PTX_WINDOW_DEVICE + PTX_WINDOW_SIZE)

/*
 * A worker's slot of the engine's window:
 *   0        shared memory of the blocks it has in hand, PTX_SLOT_CTA bytes each
 *   PARAMS   parameters of the launch
 *   LOCAL    local memory of all their threads
 */
#define PTX_SLOT_SIZE	(1ull << 30)
#define PTX_SLOT_CTA	(1ull << 18)
#define PTX_SLOT_PARAMS (32ull << 20)
#define PTX_SLOT_LOCAL	(64ull << 20)
#define PTX_SLOTS	1000u
#define PTX_SLOT_CTAS	(PTX_SLOT_PARAMS / PTX_SLOT_CTA)

// Reserves the window and the gaps, once a process. 0 or a negative errno.
int ptx_window_init(void);
// Base address of a free slot, nothing of it committed; 0 when all are taken.
uint64_t ptx_window_slot_get(void);
// Gives the slot back and its memory to the system.
void ptx_window_slot_put(uint64_t base);
// Makes [addr, addr + size) of the window readable and writable.
int ptx_window_commit(uint64_t addr, uint64_t size);

// Whether [addr, addr + size) lies in one extra range (ptx_extra_add). Any thread.
bool ptx_extra_holds(uint64_t addr, uint64_t size);

static inline bool ptx_window_holds(uint64_t addr)
{
	return addr >= PTX_REACH_LO && addr < PTX_REACH_HI;
}

#endif
