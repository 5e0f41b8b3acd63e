// SPDX-License-Identifier: Apache-2.0
// The admin area in guest memory: commands out of it, replies and bell words into it
// (protocol/guest/vgpu_pci.h).
#ifndef VGPU_STUB_COMMAND_H
#define VGPU_STUB_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/guest/vgpu_pci.h"

struct stub;

// A command that is under way.
struct command_slot {
	bool busy;
	uint32_t sequence, code;
	uint32_t channel;
	uint64_t order;	 // of submission
	uint32_t cookie; // of the question to executor or mediator that it waits for; 0: none
	// DEVICE
	uint64_t buffer;
	uint32_t room, written;
	uint32_t guest_cookie, flags;
};

struct commands {
	struct vgpu_admin_area *area; // mapped guest memory; NULL: none
	uint64_t address;	      // its guest address
	struct command_slot slots[VGPU_COMMAND_SLOTS];
	uint64_t next_order;
	uint32_t next_cookie;
	uint64_t strange; // slots that do not exist, or hold a command already
};

// Whether a command says nothing that is wrong in itself. Pure. enum vgpu_command_result.
enum vgpu_command_result command_check(const struct vgpu_command *c);

// Maps the area that the registers name.
enum vgpu_command_result commands_enable(struct stub *s);
void commands_disable(struct stub *s);
// Nobody gets a reply any more.
void commands_forget(struct stub *s);
// Whether the area touches the range.
bool commands_meet(const struct stub *s, uint64_t address, uint64_t bytes);

// The guest says that there is a command. Any slot.
void command_submit(struct stub *s, uint32_t slot);

// Writes the reply (body's sequence and result are not looked at; NULL: none), frees the slot, interrupts.
void command_reply(struct stub *s, unsigned slot, enum vgpu_command_result result,
		   const struct vgpu_reply *body);

// The slot of the channel's oldest command with this code (0: any); -1: none.
int command_of_channel(const struct stub *s, uint32_t channel, uint32_t code);
// The slot that waits for this cookie; -1: none.
int command_of_cookie(const struct stub *s, uint32_t cookie);
uint32_t command_new_cookie(struct stub *s);

// Stores a channel's bell word and interrupts.
void command_bell(struct stub *s, uint32_t channel, uint32_t value);

#endif
