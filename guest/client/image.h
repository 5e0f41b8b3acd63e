// SPDX-License-Identifier: Apache-2.0
// Program images on their way to the executor, for both of the libraries that load them.
#ifndef VGPU_CLIENT_IMAGE_H
#define VGPU_CLIENT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct vgpu_client;

// Bytes of a program image (fat binary with or without wrapper, ELF, PTX text); *image moves from a wrapper
// to the data. 0: not an image.
size_t vgpu_image_size(const void **image);

// Makes the executor's blob under this handle (new, of kind blob) and fills it with the bytes; whoever loads
// it ends it. A CUresult; on failure there is no blob. One at a time keeps the arena free for copies.
int vgpu_blob_fill(struct vgpu_client *c, uint64_t blob, const void *data, size_t bytes);

#endif
