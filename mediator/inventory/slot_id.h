// SPDX-License-Identifier: Apache-2.0
// Uuids of slots that a partition makes: the same for the same place, whatever was lost in between.
#ifndef VGPU_MEDIATOR_INVENTORY_SLOT_ID_H
#define VGPU_MEDIATOR_INVENTORY_SLOT_ID_H

#include <stddef.h>
#include <stdint.h>

#include "mediator/inventory/uuid.h"

// The uuid of version 5 (RFC 9562) of a name in a namespace. 0 or -errno.
int uuid_of_name(const uint8_t space[static 16], const void *name, size_t n, char ret[static VM_UUID_BYTES]);

// Of a machine (its id, as text), a GPU (its uuid, as text), a profile and a number. 0 or -errno.
int slot_id(const char *machine, const char *gpu, const char *profile, uint32_t number,
	    char ret[static VM_UUID_BYTES]);

#endif
