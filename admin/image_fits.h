// SPDX-License-Identifier: Apache-2.0
// Whether a host runs what image_contents() found. Adds to the document:
//
//   host                 the card as /v1/gpus has it: name, backend, compute_capability, cuda; null: not
//   known runs                 true: all images that are loaded run here; null: not known images[].runs
//   "code", "ptx", "no", "link" (is to be linked first), "empty", or null images[].arch        of the entry
//   that is used, or null images[].why         a sentence when it does not run images[].build       what to
//   tell nvcc then, or null images[].entries[].here  "runs", or why not in a few words
#ifndef VGPU_ADMIN_IMAGE_FITS_H
#define VGPU_ADMIN_IMAGE_FITS_H

#include <jansson.h>

// host: one of the list of /v1/gpus, or NULL.
void image_fits(json_t *document, const json_t *host);

#endif
