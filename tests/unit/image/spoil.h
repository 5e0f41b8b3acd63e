// SPDX-License-Identifier: Apache-2.0
// Gives a reader every beginning of a good file, and the file with every byte changed in several ways. Each
// is a copy of exact size, so that a sanitizer sees a read behind it.
#ifndef VGPU_TESTS_UNIT_IMAGE_SPOIL_H
#define VGPU_TESTS_UNIT_IMAGE_SPOIL_H

#include <stddef.h>

void spoil(const void *file, size_t bytes, void (*read)(const void *file, size_t bytes));

#endif
