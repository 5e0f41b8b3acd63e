// SPDX-License-Identifier: Apache-2.0
// Finds out how long a program image is, for callers pass none. Reads only what the image's own headers lead
// to, as the driver does. Pure; runs in the guest program.
#include "image/image.h"

#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "image/elf64.h"
#include "image/fatbin.h"
#include "protocol/guest/link_image.h"

// What the linker (linker.c) made of several inputs. 0: it is none.
static size_t linked_size(const char *p)
{
	struct link_image_header h = { .magic = LINK_IMAGE_MAGIC };

	// Byte by byte: a text may be shorter than a magic number.
	for (size_t i = 0; i < sizeof(h.magic); i++) {
		if (p[i] != ((const char *)&h.magic)[i])
			return 0;
	}
	memcpy(&h, p, sizeof(h));
	return h.bytes;
}

size_t vc_image_size(const void **image)
{
	enum image_kind kind = *image ? image_kind(*image, SIZE_MAX) : IMAGE_NONE;
	struct image_wrapper wrapper;

	if (kind == IMAGE_WRAPPER) {
		memcpy(&wrapper, *image, sizeof(wrapper));
		if (!wrapper.data)
			return 0;
		*image = wrapper.data;
		kind = image_kind(*image, SIZE_MAX);
	}
	switch (kind) {
	case IMAGE_FATBIN: return fatbin_extent(*image);
	case IMAGE_ELF: return elf64_extent(*image);
	case IMAGE_PTX: return strlen(*image) + 1;
	case IMAGE_NONE: return *image ? linked_size(*image) : 0;
	default: return 0;
	}
}
