// SPDX-License-Identifier: Apache-2.0
// A program started with vgpu's libcuda.so.1 in front of the system's.
#ifndef VGPU_RUN_PROGRAM_H
#define VGPU_RUN_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

struct program {
	pid_t pid;
	int pidfd;
	int output_fd; // its stdout, if asked for; else -1
};

// What the program's environment gets.
struct program_paths {
	const char *socket;    // $VGPU_SOCKET
	const char *libraries; // put in front of LD_LIBRARY_PATH
	const char *tools;     // put in front of PATH; NULL: nothing
};

// argv: NULL-terminated, argv[0] is looked up in PATH as the program sees it. capture: its stdout goes to
// output_fd. 0 or -errno; an exec that fails ends the child with status 127 (no such program) or 126, and a
// line on stderr.
int program_start(struct program *p, char *const *argv, const struct program_paths *paths, bool capture);

// After pidfd became readable: the exit status as a shell tells it (128 + n for signal n). The program is
// over then.
int program_finish(struct program *p);

#endif
