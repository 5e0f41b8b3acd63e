// SPDX-License-Identifier: Apache-2.0
// The demo's tenants as virtual machines: a vgpu-stub and a guest for each.
#ifndef VGPU_RUN_DEMO_VM_H
#define VGPU_RUN_DEMO_VM_H

#include <stdbool.h>

#include "run/program.h"

struct demo_vm_options {
	const char *runner; // scripts/vm/run-guest
	const char *image;  // made by scripts/vm/make-initramfs
	bool unchecked;	    // the guest's program does not look at its results
};

struct demo_vm {
	struct program stub; // zeroed: none
	int input_fd;	     // of the guest's console, valid if stub is: a line there ends the program in it
	char directory[32];  // of the stub's socket and the console's FIFO
};

// Starts both for the tenant that the mediator serves at tenant_socket; guest's output is its console. 0, or
// -1 with the reason printed to stderr.
int demo_vm_start(struct demo_vm *vm, struct program *guest, const struct demo_vm_options *o,
		  const char *tenant_socket);

// Has the program in the guest end; the guest powers off when it has.
void demo_vm_end_program(struct demo_vm *vm);

// The status of the guest's program, which the console told; 255: it told none.
int demo_vm_status(const char *console);

// Ends the stub and removes what was made. The guest's own process is its owner's.
void demo_vm_stop(struct demo_vm *vm);

#endif
