// SPDX-License-Identifier: Apache-2.0
// Reads a module image that holds several inputs of the linker (protocol/guest/link_image.h). Pure; the image
// is the tenant's, in memory that nobody else changes.
#ifndef VGPU_EXECUTOR_LINK_IMAGE_H
#define VGPU_EXECUTOR_LINK_IMAGE_H

#include <stdbool.h>

#include "executor/backends/backend.h"

bool link_image_is(const void *image, size_t bytes);

// Fills ret (VGPU_MAX_LINK_INPUTS) with the inputs, which point into the image. 0, or
// CUDA_ERROR_INVALID_IMAGE.
int32_t link_image_read(const void *image, size_t bytes, struct backend_input *ret, uint32_t *ret_n);

#endif
