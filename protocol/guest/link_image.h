// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Several inputs of the driver's linker as one module image: what cuLinkComplete hands to the program, and
// what a blob holds when the program loads it. The executor's backend links when the module is loaded.
//
//   link_image_header | link_image_input x n_inputs | contents, each at a multiple of 8 with a 0 byte behind
#ifndef VGPU_PROTOCOL_GUEST_LINK_IMAGE_H
#define VGPU_PROTOCOL_GUEST_LINK_IMAGE_H

#include <assert.h>
#include <stdint.h>

#define LINK_IMAGE_MAGIC 0x4b4c4756u // "VGLK"

struct link_image_header {
	uint32_t magic;
	uint32_t n_inputs; // 1 to VGPU_MAX_LINK_INPUTS
	uint64_t bytes;	   // of all of it, this header included
};
static_assert(sizeof(struct link_image_header) == 16, "wire");

struct link_image_input {
	uint32_t type; // CUjitInputType
	uint32_t reserved;
	uint64_t offset, bytes; // of the contents, from the header on; at least 1
};
static_assert(sizeof(struct link_image_input) == 24, "wire");

#endif
