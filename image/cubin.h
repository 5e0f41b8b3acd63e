// SPDX-License-Identifier: Apache-2.0
// What machine code for a GPU (a cubin, an ELF file) tells of its kernels and variables, of both layouts that
// NVIDIA's assembler has used. Names and initial values are views into the image; see image.h.
#ifndef VGPU_IMAGE_CUBIN_H
#define VGPU_IMAGE_CUBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cubin_param {
	uint32_t offset, size; // in the parameter buffer of a launch
};

// Bytes are of one thread (stack), one block (shared) or one launch (parameters, constants).
struct cubin_kernel {
	const char *name;
	const struct cubin_param *params; // by ordinal; owned by the list
	uint32_t n_params, param_bytes;
	uint32_t registers;
	uint32_t shared_bytes; // static; with the KiB that the system has of it since sm_90
	uint32_t frame_bytes, stack_bytes;
	uint32_t constant_bytes; // of bank 0: parameters and what the driver has before them
	uint32_t barriers;
	uint32_t max_threads; // of a block; 0: nothing is said
	uint32_t req_ntid[3]; // a block must be so; 0: may be anything
	uint32_t symbol;      // its number in the file's table
};

struct cubin_variable {
	const char *name;
	uint64_t size;
	size_t section;
	uint64_t offset;	    // in the section
	const unsigned char *bytes; // size initial bytes, or NULL: zeros. Addresses in them are not filled in
	bool constant;		    // of a constant bank, else of global memory
};

struct cubin {
	unsigned sm;		      // 90 for sm_90
	bool arch;		      // for this very architecture: sm_90a
	bool linked;		      // can run; else it is to be linked
	bool debug;		      // has the debugger's sections
	struct cubin_kernel *kernels; // sorted by name
	size_t n_kernels;
	struct cubin_variable *variables; // sorted by name
	size_t n_variables;
	struct cubin_param *params; // of all kernels
	size_t n_params;
};

// Lists an image's kernels and variables. Names longer than VGPU_MAX_SYMBOL, which nobody could ask for, are
// left out. 0 (cubin_done gives it back), -EINVAL (not such a file, or one that contradicts itself) or
// -ENOMEM.
int cubin_read(const void *image, size_t bytes, struct cubin *ret);
void cubin_done(struct cubin *c);

const struct cubin_kernel *cubin_kernel(const struct cubin *c, const char *name); // or NULL

#endif
