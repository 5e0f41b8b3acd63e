// SPDX-License-Identifier: Apache-2.0
// Attributes of machine code: the records in the sections .nv.info, .nv.info.KERNEL and .nv.compat, each
// {format, attribute, 16 bits, perhaps bytes}. Used by cubin.c.
#ifndef VGPU_IMAGE_CUBIN_INFO_H
#define VGPU_IMAGE_CUBIN_INFO_H

#include "image/cubin.h"

struct info_record {
	unsigned attribute;
	bool sized;
	uint16_t value;		    // inline, or the number of bytes
	const unsigned char *bytes; // of a sized one
};

// Reads the record at *at and moves *at behind it. False at the end, and of what is no record.
bool info_next(const unsigned char **at, const unsigned char *end, struct info_record *ret);

// Takes what the records of .nv.info.KERNEL say. The kernel's parameters are put at params, which has room
// for room of them. -EINVAL: they contradict themselves.
int info_of_kernel(struct cubin_kernel *k, const unsigned char *begin, size_t bytes,
		   struct cubin_param *params, size_t room);
// How many parameters the records list.
size_t info_count_params(const unsigned char *begin, size_t bytes);

// Takes one record of .nv.info that is about a kernel; *ret_symbol is the kernel's symbol. False: it is about
// none.
bool info_names_kernel(const struct info_record *r, uint32_t *ret_symbol);
void info_of_file(struct cubin_kernel *k, const struct info_record *r);

// Whether .nv.compat says that the code is for this very architecture.
bool info_is_arch(const unsigned char *begin, size_t bytes);

#endif
