// SPDX-License-Identifier: Apache-2.0
// The version of vgpu as an ELF note in what is installed for programs, so that whoever finds a libcuda.so.1
// can tell whose it is and of which version without loading it (readelf -n shows it, too).
#ifndef VGPU_COMMON_VERSION_NOTE_H
#define VGPU_COMMON_VERSION_NOTE_H

#include <stdint.h>

#define VERSION_NOTE_OWNER "vgpu"
#define VERSION_NOTE_TYPE  1
#define VERSION_NOTE_BYTES 32 // of the description: the version, filled up with zeros

struct version_note {
	uint32_t owner_bytes, description_bytes, type; // as ELF's Elf64_Nhdr
	char owner[8];				       // padded to four bytes
	char version[VERSION_NOTE_BYTES];
};

#endif
