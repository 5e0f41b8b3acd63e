// SPDX-License-Identifier: Apache-2.0
// Finds the project's other programs and libraries from where this program lies, so that an installed tree
// and a build tree both work without configuration. Used by the mediator and by run/.
#ifndef VGPU_COMMON_BESIDE_H
#define VGPU_COMMON_BESIDE_H

#include <stddef.h>

// The first of candidates (NULL-terminated, relative to the directory of /proc/self/exe) that exists; its
// absolute path goes to ret. 0, -ENOENT or another -errno.
int beside_find(const char *const *candidates, char *ret, size_t ret_bytes);

#endif
