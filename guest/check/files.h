// SPDX-License-Identifier: Apache-2.0
// Reading the files of the machine that is looked at, below its root. Every size and count has a limit, and
// only regular files and folders are opened, without waiting for anything.
#ifndef VGPU_CHECK_FILES_H
#define VGPU_CHECK_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/check/check.h"

#define FILE_SMALL ((size_t)4 << 10) // one value of /sys, and the like
#define FILE_LARGE ((size_t)4 << 20) // lists of modules, the loader's cache
#define FILES_MOST 1024		     // names of a folder

// The first `most` bytes, with a zero behind; *ret_bytes (may be NULL) without it. NULL with errno: cannot be
// read. The caller frees.
__attribute__((format(printf, 4, 5))) char *file_read(const struct machine *m, size_t most, size_t *ret_bytes,
						      const char *format, ...);
// The first line of a small file. False: cannot be read, *ret is "" then.
__attribute__((format(printf, 4, 5))) bool file_line(const struct machine *m, char *ret, size_t room,
						     const char *format, ...);
__attribute__((format(printf, 2, 3))) bool file_exists(const struct machine *m, const char *format, ...);
// The last part of what a symbolic link points to; false: none, *ret is "" then.
__attribute__((format(printf, 4, 5))) bool file_link_name(const struct machine *m, char *ret, size_t room,
							  const char *format, ...);

// The names in a folder in their order, without those that begin with a dot; an empty list where there is no
// folder. file_names_free() releases.
struct file_names {
	char **name;
	unsigned count;
};
struct file_names file_names(const struct machine *m, const char *folder);
void file_names_free(struct file_names *names);

#endif
