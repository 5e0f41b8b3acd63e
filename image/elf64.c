// SPDX-License-Identifier: Apache-2.0
// Reads ELF files; see the header. Called by libcuda in the tenant's program (their length only), by cubin.c
// and host.c.
#include "image/elf64.h"

#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "image/bytes.h"

#define MACHINE_CUDA 190

int elf64_open(const void *image, size_t bytes, struct elf64 *ret)
{
	struct elf64 e = { .image = image, .bytes = bytes };
	Elf64_Ehdr h;

	if (bytes < sizeof(h))
		return -EINVAL;
	memcpy(&h, image, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_shentsize != sizeof(Elf64_Shdr) || !inside(bytes, h.e_shoff, sizeof(Elf64_Shdr)))
		return -EINVAL;
	e.sections = e.image + h.e_shoff;
	e.n_sections = h.e_shnum;
	e.names = h.e_shstrndx;
	e.machine = h.e_machine;
	e.type = h.e_type;
	e.flags = h.e_flags;
	e.abi = h.e_ident[EI_ABIVERSION];
	// More sections than the header has room to say: the first one says.
	if (!h.e_shnum)
		e.n_sections = elf64_section(&e, 0).sh_size;
	if (h.e_shstrndx == SHN_XINDEX)
		e.names = elf64_section(&e, 0).sh_link;
	if (e.n_sections > (bytes - h.e_shoff) / sizeof(Elf64_Shdr))
		return -EINVAL;
	*ret = e;
	return 0;
}

bool elf64_is_cubin(const struct elf64 *e)
{
	return e->machine == MACHINE_CUDA;
}

static size_t greater(size_t a, size_t b)
{
	return a > b ? a : b;
}

size_t elf64_extent(const void *image)
{
	const char *p = image;
	Elf64_Ehdr h;
	size_t size;

	memcpy(&h, p, sizeof(h));
	if (h.e_ident[EI_CLASS] != ELFCLASS64)
		return 0;
	size = greater(sizeof(h), greater(h.e_shoff + (size_t)h.e_shnum * h.e_shentsize,
					  h.e_phoff + (size_t)h.e_phnum * h.e_phentsize));
	for (unsigned int i = 0; h.e_shentsize >= sizeof(Elf64_Shdr) && i < h.e_shnum; i++) {
		Elf64_Shdr s;

		memcpy(&s, p + h.e_shoff + (size_t)i * h.e_shentsize, sizeof(s));
		if (s.sh_type != SHT_NOBITS)
			size = greater(size, s.sh_offset + s.sh_size);
	}
	for (unsigned int i = 0; h.e_phentsize >= sizeof(Elf64_Phdr) && i < h.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, p + h.e_phoff + (size_t)i * h.e_phentsize, sizeof(segment));
		size = greater(size, segment.p_offset + segment.p_filesz);
	}
	return size;
}

Elf64_Shdr elf64_section(const struct elf64 *e, size_t i)
{
	Elf64_Shdr s;

	memcpy(&s, e->sections + i * sizeof(s), sizeof(s));
	return s;
}

bool elf64_holds(const struct elf64 *e, const Elf64_Shdr *s)
{
	return s->sh_type != SHT_NOBITS && inside(e->bytes, s->sh_offset, s->sh_size);
}

Elf64_Sym elf64_symbol(const struct elf64 *e, const Elf64_Shdr *table, size_t i)
{
	Elf64_Sym s;

	memcpy(&s, e->image + table->sh_offset + i * sizeof(s), sizeof(s));
	return s;
}

int elf64_text(const struct elf64 *e, size_t strings, uint64_t at, size_t most, const char **ret)
{
	Elf64_Shdr s;
	size_t n;

	if (strings >= e->n_sections)
		return -EINVAL;
	s = elf64_section(e, strings);
	if (!elf64_holds(e, &s) || at >= s.sh_size)
		return -EINVAL;
	n = s.sh_size - at;
	if (!memchr(e->image + s.sh_offset + at, 0, n > most ? most + 1 : n))
		return n > most ? -E2BIG : -EINVAL;
	*ret = (const char *)e->image + s.sh_offset + at;
	return 0;
}

int elf64_name(const struct elf64 *e, const Elf64_Shdr *s, const char **ret)
{
	return elf64_text(e, e->names, s->sh_name, VGPU_MAX_SYMBOL + sizeof(".nv.constant00."), ret);
}
