// SPDX-License-Identifier: Apache-2.0
// Looking at the host, or at a tree of one below a root folder: its files, programs and systemd. A
// root of "" is the host itself. Links are followed: nothing is written here.
#ifndef VGPU_ADMIN_CLOUDSTACK_HOST_H
#define VGPU_ADMIN_CLOUDSTACK_HOST_H

#include <stdbool.h>
#include <stddef.h>

// The folder without slashes at its end, as root is meant here; NULL: "". To be freed.
char *host_root(const char *folder);
char *host_path(const char *root, const char *path); // to be freed
bool host_has(const char *root, const char *path);
// At most 256 KiB of the file with a 0 behind it, to be freed; NULL with errno. ret_n may be NULL.
char *host_read(const char *root, const char *path, size_t *ret_n);

// What the program prints on both outputs, to be freed, when it ends with 0 within 10 s; else NULL.
// The program is a path below the root; up to two arguments, NULL: none.
char *host_ask(const char *root, const char *program, const char *one, const char *two);

bool host_has_unit(const char *root, const char *unit);
// systemctl VERB [FLAG] UNIT: 0, its exit status, or -errno: -ENOENT where there is none. In a tree
// it changes and tells links only, and the flag is left out.
int host_systemctl(const char *root, const char *verb, const char *flag, const char *unit);

#endif
