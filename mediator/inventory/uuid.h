// SPDX-License-Identifier: Apache-2.0
// Uuids of VMs and vGPUs, as text: 8-4-4-4-12 hexadecimal digits, lower case.
#ifndef VGPU_MEDIATOR_INVENTORY_UUID_H
#define VGPU_MEDIATOR_INVENTORY_UUID_H

#include <stdbool.h>
#include <stdint.h>

#define VM_UUID_BYTES 37

// Takes upper case too. False: it is none, or the nil uuid.
bool vm_uuid_parse(const char *text, char ret[static VM_UUID_BYTES]);
// A random one (version 4). 0 or -errno.
int vm_uuid_make(char ret[static VM_UUID_BYTES]);
// 16 bytes whose version is set; the variant is set here.
void vm_uuid_print(const uint8_t bytes[static 16], char ret[static VM_UUID_BYTES]);

#endif
