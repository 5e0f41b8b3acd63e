// SPDX-License-Identifier: Apache-2.0
// Finds out how long a program image is, for callers pass none. Reads only what the image's own headers lead
// to, as the driver does. Pure; runs in the guest program.
#include <elf.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "protocol/guest/link_image.h"

#define WRAPPER_MAGIC 0x466243b1u
#define FATBIN_MAGIC  0xba55ed50u

struct wrapper {
	uint32_t magic, version;
	const void *data;
	const void *more;
};

struct fatbin_header {
	uint32_t magic;
	uint16_t version, header_bytes;
	uint64_t bytes; // behind the header
};

static size_t greater(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t elf_size(const char *image)
{
	Elf64_Ehdr h;
	size_t size;

	memcpy(&h, image, sizeof(h));
	if (h.e_ident[EI_CLASS] != ELFCLASS64)
		return 0;
	size = greater(sizeof(h), greater(h.e_shoff + (size_t)h.e_shnum * h.e_shentsize,
					  h.e_phoff + (size_t)h.e_phnum * h.e_phentsize));
	for (unsigned int i = 0; h.e_shentsize >= sizeof(Elf64_Shdr) && i < h.e_shnum; i++) {
		Elf64_Shdr s;

		memcpy(&s, image + h.e_shoff + (size_t)i * h.e_shentsize, sizeof(s));
		if (s.sh_type != SHT_NOBITS)
			size = greater(size, s.sh_offset + s.sh_size);
	}
	for (unsigned int i = 0; h.e_phentsize >= sizeof(Elf64_Phdr) && i < h.e_phnum; i++) {
		Elf64_Phdr p;

		memcpy(&p, image + h.e_phoff + (size_t)i * h.e_phentsize, sizeof(p));
		size = greater(size, p.p_offset + p.p_filesz);
	}
	return size;
}

// Whether a text begins as PTX does: blanks and comments, then a directive.
static int is_ptx(const char *p)
{
	for (;;) {
		p += strspn(p, " \t\r\n");
		if (p[0] == '/' && p[1] == '/') {
			p += strcspn(p, "\n");
		} else if (p[0] == '/' && p[1] == '*') {
			p = strstr(p + 2, "*/");
			if (!p)
				return 0;
			p += 2;
		} else {
			return *p == '.';
		}
	}
}

size_t vc_image_size(const void **image)
{
	const char *p = *image;
	struct fatbin_header fatbin;
	struct wrapper wrapper;
	struct link_image_header linked;
	uint32_t magic;

	if (!p || !p[0])
		return 0;
	// A text may be shorter than a magic number: look byte by byte before reading one.
	if (!p[1] || !p[2] || !p[3])
		return 0;
	memcpy(&magic, p, sizeof(magic));
	if (magic == WRAPPER_MAGIC) {
		memcpy(&wrapper, p, sizeof(wrapper));
		p = wrapper.data;
		if (!p)
			return 0;
		memcpy(&magic, p, sizeof(magic));
		if (magic == WRAPPER_MAGIC)
			return 0;
		*image = p;
	}
	if (magic == FATBIN_MAGIC) {
		memcpy(&fatbin, p, sizeof(fatbin));
		return fatbin.header_bytes + fatbin.bytes;
	}
	if (magic == LINK_IMAGE_MAGIC) {
		memcpy(&linked, p, sizeof(linked));
		return linked.bytes;
	}
	if (memcmp(p, ELFMAG, SELFMAG) == 0)
		return elf_size(p);
	return is_ptx(p) ? strlen(p) + 1 : 0;
}
