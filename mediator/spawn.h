// SPDX-License-Identifier: Apache-2.0
// Starts executors and the sensor: what of the mediator it inherits is decided here and nowhere else.
#ifndef VGPU_MEDIATOR_SPAWN_H
#define VGPU_MEDIATOR_SPAWN_H

#include <sys/types.h>

enum spawn_layout {
	SPAWN_COMPACT, // mappings from 0x2aaa... upwards: the places that the guest uses stay free
	// The cpu backend: its kernels may reach all between the windows, and 0x2aaa... lies there.
	SPAWN_USUAL,
	SPAWN_OUTLIVES_US = 0x100, // with one of the others: does not die when we do
};

enum spawn_layout spawn_layout_for(const char *backend);

struct spawned {
	pid_t pid;
	int pidfd;
	int link_fd;   // our end of its link (fd 3 there), non-blocking
	int output_fd; // what it writes to stdout and stderr, non-blocking
};

// Sees to it that fds 0 to 2 are open, and remembers this process's limits as they were before it raised its
// own; first thing in main.
void spawn_init(void);
// Back to these limits, for a program that takes this one's place.
void spawn_restore_limits(void);

// argv: NULL-terminated, argv[0] is the path. The child gets: fd 0 /dev/null, 1 and 2 a pipe to us, 3 the
// link, no other; default signals; a process group of its own (the terminal's Ctrl-C is not for it); death
// when we die (unless SPAWN_OUTLIVES_US). 0 and *ret, or -errno. An exec that fails shows as exit code 127
// with the reason on its output.
int spawn_program(const char *const *argv, enum spawn_layout layout, struct spawned *ret);

#endif
