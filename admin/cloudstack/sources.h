// SPDX-License-Identifier: Apache-2.0
// Where the discovery for CloudStack has its GPUs from: the mediator, or the database that it left; and what
// another script prints. What goes wrong is answered as a text, since the agent reads stderr as well.
#ifndef VGPU_ADMIN_CLOUDSTACK_SOURCES_H
#define VGPU_ADMIN_CLOUDSTACK_SOURCES_H

#include <jansson.h>
#include <stdbool.h>

#include "admin/call.h"

#define SOURCE_WHY_BYTES 640

// All slots of the mediator's GPU, added to the array gpus. store: looked into for where the GPU is when the
// mediator does not know (yet). 0; -EIO: no mediator answered; -ENODEV: where its GPU is is not known.
int source_mediator(struct admin_call *c, const char *store, json_t *gpus, char why[static SOURCE_WHY_BYTES]);

// Slots in use, of all GPUs that the database knows. 0, or -errno.
int source_store(const char *path, json_t *gpus, char why[static SOURCE_WHY_BYTES]);
// Where the GPU of that uuid is: 00000000:3b:00.0, and its PCI ids. False: not known there.
bool source_store_place(const char *path, const char *gpu, char *ret, size_t n, uint32_t *ret_id);

// What the script printed, as JSON. NULL: it failed, took too long, or printed something else.
json_t *source_script(const char *path);

// What the host's kernel says of a PCI device: its NUMA node (-1: not known) and the port that it is below
// (root, or NULL).
const char *source_kernel(const char *pci, int *ret_numa, char *root, size_t n);

#endif
