// SPDX-License-Identifier: Apache-2.0
// A file for tests; see the header.
#include "tests/unit/image/cubin_file.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const char names[] =
    "\0.shstrtab\0.symtab\0.text.one\0.nv.info\0.nv.info.one\0.nv.shared.one\0.nv.constant0.one\0"
    ".nv.compat\0.nv.global.init\0.nv.global\0one\0helper\0three\0many";
static_assert(sizeof(names) <= sizeof(((struct cubin_file *)0)->names), "room");

static const uint8_t file_info[] = {
	0x04, 0x2f, 8, 0, 0, 0, 0, 0, 40, 0, 0, 0, // symbol 0 has 40 registers
	0x04, 0x11, 8, 0, 0, 0, 0, 0, 16, 0, 0, 0, // a frame of 16 bytes
	0x04, 0x12, 8, 0, 0, 0, 0, 0, 24, 0, 0, 0, // and a stack of 24
};
static const uint8_t info[] = {
	0x04, 0x17, 12,	  0,	0,  0, 0, 0, 1, 0, 8, 0, 0x00, 0xf0, 0x05, 0, // ordinal 1 at 8, one byte
	0x04, 0x17, 12,	  0,	0,  0, 0, 0, 0, 0, 0, 0, 0x00, 0xf0, 0x21, 0, // ordinal 0 at 0, eight
	0x04, 0x45, 12,	  0,	0,  0, 0, 0, 2, 0, 9, 0, 0x88, 0x13, 0x08, 0, // ordinal 2 at 9, 5000
	0x03, 0x19, 0x91, 0x13,						      // 5009 bytes in all
	0x04, 0x05, 12,	  0,	64, 0, 0, 0, 2, 0, 0, 0, 1,    0,    0,	   0, // at most 64 * 2 threads
	0x02, 0x4c, 3,	  0,						      // three barriers
	0x01, 0x35, 0,	  0,
};
static_assert(sizeof(info) == sizeof(((struct cubin_file *)0)->info), "room");

static uint32_t name(const char *text)
{
	return (uint32_t)((const char *)memmem(names, sizeof(names), text, strlen(text) + 1) - names);
}

static void section(struct cubin_file *f, int i, const char *text, uint32_t type, size_t offset, size_t size)
{
	f->sections[i] =
	    (Elf64_Shdr){ .sh_name = name(text), .sh_type = type, .sh_offset = offset, .sh_size = size };
}

static void make_sections(struct cubin_file *f)
{
	section(f, CUBIN_NAMES, ".shstrtab", SHT_STRTAB, offsetof(struct cubin_file, names), sizeof(names));
	section(f, CUBIN_SYMBOLS, ".symtab", SHT_SYMTAB, offsetof(struct cubin_file, symbols),
		sizeof(f->symbols));
	section(f, CUBIN_TEXT, ".text.one", SHT_PROGBITS, 0, 0);
	f->sections[CUBIN_TEXT].sh_info = 24u << 24 | 5;
	section(f, CUBIN_FILE_INFO, ".nv.info", 0x70000000u, offsetof(struct cubin_file, file_info),
		sizeof(file_info));
	section(f, CUBIN_INFO, ".nv.info.one", 0x70000000u, offsetof(struct cubin_file, info), sizeof(info));
	section(f, CUBIN_SHARED, ".nv.shared.one", SHT_NOBITS, 0, 308);
	section(f, CUBIN_BANK, ".nv.constant0.one", SHT_PROGBITS, 0, 352 + 5009);
	section(f, CUBIN_COMPAT, ".nv.compat", 0x70000086u, offsetof(struct cubin_file, compat),
		sizeof(f->compat));
	section(f, CUBIN_INIT, ".nv.global.init", SHT_PROGBITS, offsetof(struct cubin_file, initial),
		sizeof(f->initial));
	section(f, CUBIN_ZEROS, ".nv.global", SHT_NOBITS, 0, 4096);
}

void cubin_file_make(struct cubin_file *f)
{
	*f = (struct cubin_file){ .head = { .e_ident = ELFMAG,
					    .e_type = ET_EXEC,
					    .e_machine = 190,
					    .e_flags = 0x6005a04,
					    .e_shoff = offsetof(struct cubin_file, sections),
					    .e_shentsize = sizeof(Elf64_Shdr),
					    .e_shnum = CUBIN_SECTIONS,
					    .e_shstrndx = CUBIN_NAMES },
				  .compat = { 0x02, 0x09, 0x01, 0, 0x02, 0x02, 0x01, 0 },
				  .initial = { 7, 1, 2, 3 } };
	f->head.e_ident[EI_CLASS] = ELFCLASS64;
	f->head.e_ident[EI_ABIVERSION] = 8;
	make_sections(f);
	f->symbols[0] = (Elf64_Sym){
		.st_name = name("one"), .st_info = STT_FUNC, .st_other = 0x10, .st_shndx = CUBIN_TEXT
	};
	f->symbols[1] = (Elf64_Sym){ .st_name = name("helper"), .st_info = STT_FUNC, .st_shndx = CUBIN_TEXT };
	f->symbols[2] = (Elf64_Sym){ .st_name = name("three"),
				     .st_info = STT_OBJECT,
				     .st_shndx = CUBIN_INIT,
				     .st_value = 4,
				     .st_size = 12 };
	f->symbols[3] = (Elf64_Sym){ .st_name = name("many"),
				     .st_info = 13,
				     .st_shndx = CUBIN_ZEROS,
				     .st_value = 96,
				     .st_size = 4000 };
	memcpy(f->names, names, sizeof(names));
	memcpy(f->file_info, file_info, sizeof(file_info));
	memcpy(f->info, info, sizeof(info));
}
