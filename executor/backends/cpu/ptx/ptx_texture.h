// SPDX-License-Identifier: Apache-2.0
/*
 * Texture and surface objects as kernels of the engine see them: a table whose entries are named by the value
 * that a kernel holds. Filled by the cpu backend on the executor's loop thread, read by generated code's
 * helpers on worker threads.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_TEXTURE_H
#define VGPU_EXECUTOR_CPU_PTX_TEXTURE_H

#include <stdbool.h>
#include <stdint.h>

#define PTX_MAX_LEVELS 20u

enum ptx_channel { // how the bits of a channel are read
	CHANNEL_U8,
	CHANNEL_S8,
	CHANNEL_U16,
	CHANNEL_S16,
	CHANNEL_U32,
	CHANNEL_S32,
	CHANNEL_F16,
	CHANNEL_F32,
};

enum ptx_address_mode { ADDRESS_WRAP, ADDRESS_CLAMP, ADDRESS_MIRROR, ADDRESS_BORDER }; // as CUDA numbers them

struct ptx_level {
	uint64_t address;	       // of the first element, in a window
	uint64_t pitch, slice;	       // bytes between rows and slices or layers
	uint32_t width, height, depth; // elements; 1 where the dimension lacks. depth: not the layers
};

struct ptx_texture {
	struct ptx_level levels[PTX_MAX_LEVELS];
	uint32_t n_levels, layers; // layers: 0 where the array has none; faces of cube maps count
	uint8_t dims;		   // 1 to 3, without layers
	uint8_t channel;	   // enum ptx_channel
	uint8_t channels, element; // element: bytes
	bool is_surface, is_memory, cube;
	bool integer; // channels are read as they are; else as floats, 8 and 16 bits scaled to 1
	bool normalized, linear, mip_linear, srgb;
	uint8_t modes[3];   // enum ptx_address_mode
	uint32_t border[4]; // bits
	float bias, min_level, max_level;
};

// The value that kernels name it by, never 0; 0: no memory, or too many. *t is copied.
uint64_t ptx_texture_add(const struct ptx_texture *t);
// No kernel is running. A value that is none is ignored.
void ptx_texture_remove(uint64_t object);
// NULL: the value names nothing of that kind.
const struct ptx_texture *ptx_texture_find(uint64_t object, bool is_surface);

#endif
