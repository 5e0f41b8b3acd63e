// SPDX-License-Identifier: Apache-2.0
// What a program image is. The folder image/ reads what programs load onto a GPU, and nothing else does: fat
// binaries (fatbin.h), machine code (cubin.h), the declarations of PTX (ptx_head.h), and the files of a host
// that hold such things (host.h). It runs in the tenant's program, in the executor's sandbox on a tenant's
// bytes, and in vgpu-admin as the operator on a stranger's file: every function is pure, takes bytes and
// their number, believes no offset, and answers with views into the bytes, which must stay as they are while
// a view is used.
#ifndef VGPU_IMAGE_IMAGE_H
#define VGPU_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum image_kind {
	IMAGE_NONE, // nothing known, or less than four bytes
	IMAGE_PTX,  // begins as PTX does: blanks and comments, then a directive
	IMAGE_FATBIN,
	IMAGE_WRAPPER, // struct image_wrapper: what a program registers a fat binary with
	IMAGE_ELF,     // a GPU's machine code or a host's: elf64_is_cubin() tells
	IMAGE_ARCHIVE, // of object files
};

// In a program's memory only: addresses mean nothing in a file.
struct image_wrapper {
	uint32_t magic, version;
	const void *data; // the fat binary
	const void *more; // version 2: those it was linked of
};

// Looks at the beginning only, and never behind a NUL of a text: bytes may be SIZE_MAX for what a caller was
// handed without a length, as the driver's calls are.
enum image_kind image_kind(const void *image, size_t bytes);

#endif
