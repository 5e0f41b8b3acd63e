// SPDX-License-Identifier: Apache-2.0
// Files of a host that hold fat binaries: programs, shared libraries, object files and archives of them.
// Views into the file; see image.h.
#ifndef VGPU_IMAGE_HOST_H
#define VGPU_IMAGE_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image_part {
	const char *member; // of an archive, not terminated; NULL: the file is none
	size_t member_bytes;
	bool relocatable;  // for the linker (nvcc -rdc=true), not to be loaded alone
	const void *image; // a fat binary that fatbin_open() takes
	size_t bytes;
};

// Calls found for each fat binary, in the file's order, until it returns false. 0, or -EINVAL when the file,
// or a part of it that should hold fat binaries, is not what it says; those before it were found.
int host_parts(const void *file, size_t bytes, bool (*found)(void *opaque, const struct image_part *part),
	       void *opaque);

#endif
