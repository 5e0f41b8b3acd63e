// SPDX-License-Identifier: Apache-2.0
// Host memory that the GPU may touch: pieces of the shared window, and program memory moved into it.
#ifndef VGPU_LIBCUDA_HOSTMEM_H
#define VGPU_LIBCUDA_HOSTMEM_H

#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

struct vc_context;

// Pinned memory, entered as a range of that kind.
CUresult vc_pinned_alloc(struct vc_context *ctx, uint64_t bytes, enum vc_range_kind kind, unsigned int flags,
			 uint64_t *ret);

// Gives back the memory behind a pinned, managed or registered range that was taken out of the tree. The GPU
// must be done with it.
void vc_hostmem_release(const struct vc_range *range);

#endif
