// SPDX-License-Identifier: Apache-2.0
// Unpacks what fat binaries have compressed: LZ4 blocks (nvcc of CUDA 12), zstd frames (CUDA 13) where the
// build found libzstd. Not for guests, whose library has nothing but libc.
#ifndef VGPU_IMAGE_UNPACK_H
#define VGPU_IMAGE_UNPACK_H

#include "image/fatbin.h"

// Whether this build knows how the entry is compressed, if it is.
bool unpack_is_known(const struct fatbin_entry *e);

// Unpacks a compressed entry into new memory of e->plain bytes, to be freed, at most VGPU_MAX_IMAGE_BYTES. 0,
// -ENOTSUP (not known), -E2BIG (lengths that cannot be), -EINVAL (does not unpack) or -ENOMEM.
int unpack_entry(const struct fatbin_entry *e, void **ret);

#endif
