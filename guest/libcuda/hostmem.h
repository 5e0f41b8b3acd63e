// SPDX-License-Identifier: Apache-2.0
// Host memory that the GPU may touch: pieces of the shared window, and program memory moved into it.
#ifndef VGPU_LIBCUDA_HOSTMEM_H
#define VGPU_LIBCUDA_HOSTMEM_H

#include "guest/libcuda/ranges.h"

// Gives back the memory behind a pinned or registered range that was taken out of the tree. The GPU must be
// done with it.
void vc_hostmem_release(const struct vc_range *range);

#endif
