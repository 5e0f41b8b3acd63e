// SPDX-License-Identifier: Apache-2.0
// What is inside of a file with program images, as a JSON document: what --json prints and tables are made
// of.
//
//   file, bytes, kind      "PTX", "fat binary", "machine code", "program or library", "object file",
//   "archive",
//                          or null
//   damaged                a sentence, where the file contradicts itself; what was found before stays
//   images                 what a program loads at once:
//     member               of an archive, or null
//     relocatable          is to be linked, not loaded
//     entries              its forms:
//       kind               "code", "ptx", "lto", or "kind N"
//       arch, sm, suffix   "sm_90a", 90, "a"
//       ptx                "8.4", or null
//       bytes, unpacked    unpacked: null if it is not compressed
//       compression        "zstd", "lz4", or null
//       debug, options
//       empty              machine code without a kernel or variable, as nvcc puts into every program
//       address_bits       of a file that is PTX; 0: nothing is said
//       kernels, variables where asked for
//   kernels_left_out       there are more than VGPU_MAX_IMAGE_LISTED
#ifndef VGPU_ADMIN_IMAGE_CONTENTS_H
#define VGPU_ADMIN_IMAGE_CONTENTS_H

#include <jansson.h>
#include <stdbool.h>

#include "admin/image_map.h"

// The caller's reference.
json_t *image_contents(const char *path, const struct image_map *file, bool kernels);

#endif
