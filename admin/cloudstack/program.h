// SPDX-License-Identifier: Apache-2.0
// Runs another program and reads what it prints, for as long and as much as is wanted.
#ifndef VGPU_ADMIN_CLOUDSTACK_PROGRAM_H
#define VGPU_ADMIN_CLOUDSTACK_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct program {
	char *const *argv; // the first is a path, or a name that is looked for in PATH; NULL ends it
	const char *const *environ_; // "NAME=VALUE" beside what there is; NULL: nothing
	bool with_stderr; // into the same output, as CloudStack's agent reads it; else it goes nowhere
	uint64_t most_ns; // then it is killed, with what it started in its process group
	size_t most_bytes;
};

// Its exit status (128 and more: a signal), or -errno: -ETIMEDOUT, -E2BIG (it printed more), or it
// could not be started. *ret_output ends with a 0 and is to be freed; NULL unless it ended by
// itself.
int program_run(const struct program *p, char **ret_output, size_t *ret_bytes);

#endif
