// SPDX-License-Identifier: Apache-2.0
// Finds PTX text, or machine code that a processor cannot run, in what a program loads as a module: text, a
// fat binary, a cubin. Pure, reads only the image; the image is the tenant's and hostile. Used by the cpu
// backend's module_load and by its tests.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_IMAGE_H
#define VGPU_EXECUTOR_BACKENDS_CPU_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "image/fatbin.h"

struct cpu_image {
	const char *text; // PTX or a cubin; in the image, or in owned
	size_t bytes;
	char *owned; // freed by the caller; NULL if text is in the image
};

// Picks the PTX of the highest target that is not above max_sm (80 for sm_80). 0, or a CUresult with the
// reason in error (always NUL-terminated).
int cpu_image_ptx(const void *image, size_t bytes, unsigned max_sm, struct cpu_image *ret, char *error,
		  size_t error_bytes);

// Picks the machine code that a device of max_sm would take, or the closest to it. false: there is none.
bool cpu_image_code(const void *image, size_t bytes, unsigned max_sm, struct fatbin_entry *ret);
// The entry as it was before it was compressed. 0, or a CUresult with the reason in error.
int cpu_piece_unpack(const struct fatbin_entry *e, struct cpu_image *ret, char *error, size_t error_bytes);

#endif
