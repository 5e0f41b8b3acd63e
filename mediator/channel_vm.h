// SPDX-License-Identifier: Apache-2.0
// What is different about a channel of a process in a virtual machine: its memory is the guest's, described
// by its stub and only passed on here, and the stub is told when its executor is gone, since before that no
// byte of the memory may be used for something else.
#ifndef VGPU_MEDIATOR_CHANNEL_VM_H
#define VGPU_MEDIATOR_CHANNEL_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mediator/session/check.h"
#include "protocol/host/link.h"

struct channel;

struct channel_vm {
	bool is; // false: process mode
	uint32_t pid;
	char name[16]; // printable
	uint32_t extents;
	uint64_t arena_bytes;
	unsigned n_fds; // ours, until ASSIGN_VM is sent
	int fds[CHANNEL_VM_FDS + LINK_MAX_GUEST_MEMORY];
};

// Takes what a checked CHANNEL_OPEN_VM says, with copies of the fds. 0, or an enum link_error_code with a
// text in error (LINK_TEXT_BYTES).
int channel_vm_take(struct channel_vm *vm, const struct link_channel_open_vm *open, const int *fds,
		    unsigned n_fds, char *error);

// Sends ASSIGN_VM; the fds stay until channel_vm_done. 0 or -errno.
int channel_vm_assign(struct channel *c);

// Sends CHANNEL_OK; CHANNEL_GONE.
void channel_vm_answer(struct channel *c);
void channel_vm_tell_gone(struct channel *c);

void channel_vm_done(struct channel_vm *vm); // accepts one that is all zero

#endif
