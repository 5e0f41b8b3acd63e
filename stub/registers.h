// SPDX-License-Identifier: Apache-2.0
// The registers in BAR0 (protocol/guest/vgpu_pci.h). Pure: what a write asks for is told, and done elsewhere.
#ifndef VGPU_STUB_REGISTERS_H
#define VGPU_STUB_REGISTERS_H

#include <stdint.h>

struct registers {
	// Told by the mediator.
	uint32_t tenant_id, weight;
	uint64_t memory_quota;
	// Ours.
	uint32_t status, error, cause, generation;
	// The guest's.
	uint64_t admin;
	uint32_t admin_bytes;
	// Accesses that mean nothing: to unknown registers, or of an odd shape.
	uint64_t strange_reads, strange_writes;
};

enum register_action {
	REGISTER_NOTHING,
	REGISTER_ENABLE,   // *arg: 0 or 1
	REGISTER_COMMAND,  // *arg: slot, any number
	REGISTER_DOORBELL, // *arg: channel, below VGPU_MAX_VM_CHANNELS
};

// Any offset and count; bytes outside and unknown registers read 0.
void registers_read(struct registers *r, uint64_t offset, void *to, uint32_t count);

// One access. 8 bytes are two of 4; of those the last that asks for something is told.
enum register_action registers_write(struct registers *r, uint64_t offset, const void *from, uint32_t count,
				     uint32_t *ret_arg);

// As after power-on, with a new generation. What the mediator told and whether it answers stays.
void registers_reset(struct registers *r);

#endif
