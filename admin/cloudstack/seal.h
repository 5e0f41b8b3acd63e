// SPDX-License-Identifier: Apache-2.0
// The last line of each file that `vgpu-admin cloudstack install` writes: a comment with the
// SHA-256 of what is above it. So the file itself says whose it is, and whether anybody changed it.
// Pure.
#ifndef VGPU_ADMIN_CLOUDSTACK_SEAL_H
#define VGPU_ADMIN_CLOUDSTACK_SEAL_H

#include <stddef.h>

enum seal {
	SEAL_NONE,   // not install's
	SEAL_WHOLE,  // as install wrote it
	SEAL_BROKEN, // install's, and changed since
};

// The text with its seal; to be freed.
char *seal_add(const char *text, size_t n, size_t *ret_n);
enum seal seal_check(const char *text, size_t n);

#endif
