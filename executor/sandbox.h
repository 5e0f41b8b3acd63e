// SPDX-License-Identifier: Apache-2.0
// The executor's cage: whoever takes over this process through a tenant's bytes can do little with it. No
// network, no exec, no new privileges, no ptrace, no core dump, and only the system calls of the profile.
#ifndef VGPU_EXECUTOR_SANDBOX_H
#define VGPU_EXECUTOR_SANDBOX_H

#include <stdbool.h>

struct sandbox_options {
	const char *profile; // "null", "cpu", "cuda": the backend's name
	int link;	     // the one socket that may be used
	int memory_link;     // and, of an executor in a VM, the other; else 0
	bool name_refused;   // debug: say which system call was refused before dying of it
	// What is not allowed fails (EPERM) instead of ending the process: for one that parses nothing of a
	// tenant's (the sensor).
	bool refuse_softly;
};

// What needs no privilege to be given up: no core dump, not dumpable, no new privileges, every fd closed but
// stdin, stdout, stderr and keep. To be called first. 0 or -errno.
int sandbox_prepare(int keep);

// The filter, for all threads, for good. 0 or -errno (-EINVAL: unknown profile).
int sandbox_enter(const struct sandbox_options *options);

#endif
