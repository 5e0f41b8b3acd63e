// SPDX-License-Identifier: Apache-2.0
// What VMs used, summed up and joined with whose they are.
#ifndef VGPU_ADMIN_CLOUDSTACK_BILL_H
#define VGPU_ADMIN_CLOUDSTACK_BILL_H

#include <jansson.h>
#include <stdio.h>

// Adds a row of the mediator's usage to the bill, an object by VM. Others than VMs are left out.
void bill_add(json_t *bill, const json_t *usage);
// The rows with what CloudStack says of each VM (null: it knows none of that id), the longest GPU time first;
// to be given back.
json_t *bill_rows(const json_t *bill, const json_t *vms);
// With a line of titles. Text is quoted, and what a spreadsheet would take for a formula has a ' before it.
void bill_print_csv(const json_t *rows, FILE *out);

#endif
