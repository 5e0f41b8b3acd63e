// SPDX-License-Identifier: Apache-2.0
// Which file the loader gives a program for a library's name, and whose file it is.
#ifndef VGPU_CHECK_LOADER_H
#define VGPU_CHECK_LOADER_H

#include "guest/check/check.h"

enum loader_result { LOADER_FOUND, LOADER_NOT_FOUND, LOADER_HANGS, LOADER_DIES };

// Loads it as a program of this environment would, in a child that lives as long as that takes. ret: the
// file's path as the loader has it; else what the loader said.
enum loader_result loader_find(const char *name, unsigned limit_s, char ret[CHECK_PATH_BYTES]);

// The version in vgpu's note of an ELF file (common/version_note.h). False: it has none, so it is not ours.
bool loader_version(const char *path, char ret[CHECK_VERSION_BYTES]);

#endif
