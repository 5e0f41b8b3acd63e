// SPDX-License-Identifier: Apache-2.0
// Finds PTX text in what a program loads as a module: text, a fat binary with PTX in it, or machine code that
// a processor cannot run. Pure, reads only the image; the image is the tenant's and hostile. Used by the cpu
// backend's module_load and by its tests.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_IMAGE_H
#define VGPU_EXECUTOR_BACKENDS_CPU_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct cpu_image {
	const char *text; // in the image, or in owned
	size_t bytes;
	char *owned; // freed by the caller; NULL if text is in the image
};

// Picks the PTX of the highest target that is not above max_sm (80 for sm_80). 0, or a CUresult with the
// reason in error (always NUL-terminated).
int cpu_image_ptx(const void *image, size_t bytes, unsigned max_sm, struct cpu_image *ret, char *error,
		  size_t error_bytes);

#endif
