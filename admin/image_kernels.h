// SPDX-License-Identifier: Apache-2.0
// Kernels and variables of machine code and PTX, as JSON. Used by image_contents.c. What is not said in the
// file is null.
#ifndef VGPU_ADMIN_IMAGE_KERNELS_H
#define VGPU_ADMIN_IMAGE_KERNELS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "image/cubin.h"

struct image_kernels {
	bool on;       // they are asked for
	bool left_out; // there were more than VGPU_MAX_IMAGE_LISTED
	size_t n;      // listed so far: kernels, parameters and variables
};

// Whether more can be listed.
bool image_kernels_wanted(struct image_kernels *k);

// Puts "kernels" and "variables" into the entry, if they are asked for. False: a declaration has no end.
bool image_kernels_of_ptx(struct image_kernels *k, json_t *entry, const char *text, size_t bytes);
void image_kernels_of_cubin(struct image_kernels *k, json_t *entry, const struct cubin *c);

// A string of what need be neither terminated nor UTF-8; escapes stand for what is not.
json_t *image_text(const char *text, size_t n);

#endif
