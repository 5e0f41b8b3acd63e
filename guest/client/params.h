// SPDX-License-Identifier: Apache-2.0
// A kernel's parameters as they travel in a launch record: the layout comes with function_get, both libraries
// pack by it. Pure.
#ifndef VGPU_CLIENT_PARAMS_H
#define VGPU_CLIENT_PARAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/limits.h"

#define VGPU_MAX_PARAMS 1000 // as many as a reply's tail can name

struct vgpu_param {
	uint32_t offset, size; // in the packed parameters
};

// Whether launches can rely on what a reply says of n parameters in tail_bytes: each within param_bytes.
static inline bool vgpu_params_are_sane(const struct vgpu_param *params, uint32_t n, uint32_t tail_bytes,
					uint32_t param_bytes)
{
	if (n > VGPU_MAX_PARAMS || tail_bytes != n * sizeof(*params) || param_bytes > VGPU_MAX_PARAM_BYTES)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (params[i].size > param_bytes || params[i].offset > param_bytes - params[i].size)
			return false;
	return true;
}

// Packs values[i], pointers to the parameters, into param_bytes at `to`, which is memory of the ring.
static inline void vgpu_params_pack(const struct vgpu_param *params, uint32_t n, uint32_t param_bytes,
				    const void *const *values, char *to)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t offset = params[i].offset, size = params[i].size;

		if (at < offset)
			memset(to + at, 0, offset - at); // gaps: nothing of the ring's past goes along
		switch (size) {				 // the usual ones without a call
		case 8: memcpy(to + offset, values[i], 8); break;
		case 4: memcpy(to + offset, values[i], 4); break;
		default: memcpy(to + offset, values[i], size); break;
		}
		at = offset + size;
	}
	if (at < param_bytes)
		memset(to + at, 0, param_bytes - at);
}

#endif
