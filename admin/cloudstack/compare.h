// SPDX-License-Identifier: Apache-2.0
// CloudStack's devices of a host beside the slots of its mediator.
#ifndef VGPU_ADMIN_CLOUDSTACK_COMPARE_H
#define VGPU_ADMIN_CLOUDSTACK_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

// A row for each of them, to be given back: slot, profile, device (its id), state, vm, vm_name, vm_state as
// CloudStack has them, mediator_vm, mediator_name, note, and whether it differs. NULL where one does not know
// it.
json_t *compare_rows(const json_t *devices, const json_t *slots);
size_t compare_differences(const json_t *rows);
// In the state Error, no slot any more, and held by nobody: what prune removes.
bool compare_is_left_over(const json_t *row);

#endif
