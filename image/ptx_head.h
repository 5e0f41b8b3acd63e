// SPDX-License-Identifier: Apache-2.0
// The declarations of PTX text: version, target, and kernels and variables one after another, without a look
// at instructions. Not the cpu backend's parser, which compiles: this one also reads what no backend knows.
// Names and types are views into the text; see image.h.
#ifndef VGPU_IMAGE_PTX_HEAD_H
#define VGPU_IMAGE_PTX_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/device.h"

struct ptx_words { // not terminated
	const char *at;
	size_t n;
};

enum ptx_thing {
	PTX_KERNEL,   // with a body
	PTX_VARIABLE, // of .global or .const
};

// A variable, or a kernel's parameter.
struct ptx_object {
	struct ptx_words name, type; // "b8"; a vector's is that of its elements
	uint64_t bytes;		     // 0: an array whose length is not said; UINT64_MAX: too large to say
	uint32_t align;		     // 0: as the type is
	bool constant, external;     // .const; .extern
};

struct ptx_head {
	unsigned version; // 10 * major + minor
	struct image_target target;
	unsigned address_bits; // 0: nothing is said
	bool debug;	       // .target ..., debug
	const char *at, *end;  // what was not read yet
	bool in_list;	       // of variables that one declaration makes, with this type:
	struct ptx_object declared;
};

struct ptx_item {
	enum ptx_thing what;
	struct ptx_words name;
	struct ptx_object variable; // PTX_VARIABLE
	const char *params;	    // PTX_KERNEL: where ptx_next_param() begins; NULL: there are none
	uint32_t n_params;
	uint64_t param_bytes, shared_bytes;	     // shared_bytes: static, of its own body
	uint32_t max_ntid[3], req_ntid[3], min_ctas; // 0: nothing is said
};

// Reads version and target. -EINVAL: it does not begin as PTX does.
int ptx_head_read(const char *text, size_t bytes, struct ptx_head *ret);
// The next kernel or variable: 1, 0 behind the last, -EINVAL where a declaration has no end.
int ptx_head_next(struct ptx_head *h, struct ptx_item *ret);
// The next parameter: *at is item->params at first. False behind the last.
bool ptx_next_param(const struct ptx_head *h, const char **at, struct ptx_object *ret);

#endif
