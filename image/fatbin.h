// SPDX-License-Identifier: Apache-2.0
// Fat binaries: one program in several forms, of which a driver takes the one for its card. Views into the
// image; see image.h.
#ifndef VGPU_IMAGE_FATBIN_H
#define VGPU_IMAGE_FATBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fatbin_kind {
	FATBIN_PTX = 1,
	FATBIN_CODE = 2,  // a cubin
	FATBIN_LTOIR = 8, // the linker's intermediate code; only NVIDIA's linker reads it
};

enum fatbin_flag {
	FATBIN_DEBUG = 0x2,
	FATBIN_LZ4_OLD = 0x1000, // CUDA 10 and before
	FATBIN_LZ4 = 0x2000,	 // a raw block
	FATBIN_ZSTD = 0x8000,
	FATBIN_ARCH = 0x100000,	  // for this very architecture: sm_90a
	FATBIN_FAMILY = 0x200000, // for its family: sm_100f
};

struct fatbin {
	const unsigned char *image;
	uint64_t at, end; // of the entries that are left, in the image
};

struct fatbin_entry {
	unsigned kind;	       // enum fatbin_kind, or one that is not known
	unsigned sm;	       // 90 for sm_90
	unsigned major, minor; // of PTX, or of the ELF file's format
	uint64_t flags;
	const char *options; // of the compiler; not terminated
	size_t options_bytes;
	const unsigned char *payload;
	uint64_t stored;     // bytes of the payload, with padding
	uint64_t compressed; // bytes of it that count; 0: all
	uint64_t plain;	     // bytes when it is unpacked; 0: it is not packed
};

// -EINVAL: what the header says does not fit in so many bytes.
int fatbin_open(const void *image, size_t bytes, struct fatbin *ret);
// All bytes of a fat binary of which nobody said how long it is, from its 16 bytes of header.
size_t fatbin_extent(const void *image);
// The next entry: 1, 0 behind the last, or -EINVAL when it does not fit.
int fatbin_next(struct fatbin *f, struct fatbin_entry *ret);

bool fatbin_is_packed(const struct fatbin_entry *e);

#endif
