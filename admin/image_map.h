// SPDX-License-Identifier: Apache-2.0
// A file of a stranger, mapped to be read.
#ifndef VGPU_ADMIN_IMAGE_MAP_H
#define VGPU_ADMIN_IMAGE_MAP_H

#include <stddef.h>

struct image_map {
	const void *bytes;
	size_t n;
};

// 0 (image_map_done gives it back) or -errno; -EINVAL: no regular file. A file that gets shorter while it is
// mapped ends the program, with words and ADMIN_REFUSED: nothing that was read of it can be trusted.
int image_map(const char *path, struct image_map *ret);
void image_map_done(struct image_map *m);

#endif
