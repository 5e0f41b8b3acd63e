// SPDX-License-Identifier: Apache-2.0
// 64-bit little-endian ELF files, of a GPU or a host. Views into the image; see image.h.
#ifndef VGPU_IMAGE_ELF64_H
#define VGPU_IMAGE_ELF64_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf64 {
	const unsigned char *image;
	size_t bytes;
	const unsigned char *sections; // n_sections times Elf64_Shdr, perhaps not aligned
	size_t n_sections, names;      // names: section of the sections' names
	uint16_t machine, type;
	uint32_t flags;
	uint8_t abi; // version of the ABI: 7 until CUDA 12, 8 since CUDA 13
};

// -EINVAL: no such file, or its table of sections is not in it.
int elf64_open(const void *image, size_t bytes, struct elf64 *ret);
bool elf64_is_cubin(const struct elf64 *e);
// All bytes of a file that lies in memory and of which nobody said how long it is. 0: no 64-bit file.
size_t elf64_extent(const void *image);

Elf64_Shdr elf64_section(const struct elf64 *e, size_t i); // i < n_sections
// Whether the section's bytes are in the file.
bool elf64_holds(const struct elf64 *e, const Elf64_Shdr *s);
// Symbol i of a symbol table whose bytes are in the file.
Elf64_Sym elf64_symbol(const struct elf64 *e, const Elf64_Shdr *table, size_t i);
// The text at an offset of a string section. -EINVAL: it does not begin or does not end there; -E2BIG: it is
// longer than most bytes.
int elf64_text(const struct elf64 *e, size_t strings, uint64_t at, size_t most, const char **ret);
int elf64_name(const struct elf64 *e, const Elf64_Shdr *s, const char **ret); // of a section, likewise

#endif
