// SPDX-License-Identifier: Apache-2.0
// Machine code packed by hand: one kernel with all that is said of kernels, a device function, two variables.
#ifndef VGPU_TESTS_UNIT_IMAGE_CUBIN_FILE_H
#define VGPU_TESTS_UNIT_IMAGE_CUBIN_FILE_H

#include <elf.h>
#include <stdint.h>

enum {
	CUBIN_NAMES,
	CUBIN_SYMBOLS,
	CUBIN_TEXT,
	CUBIN_FILE_INFO,
	CUBIN_INFO,
	CUBIN_SHARED,
	CUBIN_BANK,
	CUBIN_COMPAT,
	CUBIN_INIT,
	CUBIN_ZEROS,
	CUBIN_NONE,
	CUBIN_SECTIONS
};

struct cubin_file {
	Elf64_Ehdr head;
	Elf64_Shdr sections[CUBIN_SECTIONS];
	Elf64_Sym symbols[5]; // one, helper, three, many
	char names[192];
	uint8_t file_info[36];
	uint8_t info[76];
	uint8_t compat[8];
	uint32_t initial[4]; // 7, and three's
};

void cubin_file_make(struct cubin_file *f);

#endif
