// SPDX-License-Identifier: Apache-2.0
// What the operations on the inventory have in common.
#ifndef VGPU_MEDIATOR_CONTROL_INVENTORY_H
#define VGPU_MEDIATOR_CONTROL_INVENTORY_H

#include "mediator/control/operations.h"
#include "mediator/inventory/inventory.h"

// Says what a function of the inventory answered, and, where nothing is kept, that of a change.
void control_inventory_did(struct control_call *c, int result, const char *why);

// What the field names; NULL with the error said.
struct profile *control_profile(struct control_call *c, const char *field);
struct vm *control_vm(struct control_call *c, const char *field);
struct slot *control_slot(struct control_call *c, const char *field);

// Names of the libraries of a VM's channels that are open; in vms.c.
json_t *control_vm_libraries(const struct vm *vm);

// vm.registers, in vm_registers.c; vm.use, in vm_use.c.
void control_vm_registers(struct control_call *c);
void control_vm_use(struct control_call *c);

#endif
