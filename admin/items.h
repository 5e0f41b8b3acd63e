// SPDX-License-Identifier: Apache-2.0
// The items of mediator/limit/policy.def as vgpu-admin shows and takes them.
#ifndef VGPU_ADMIN_ITEMS_H
#define VGPU_ADMIN_ITEMS_H

#include <jansson.h>

#include "admin/format.h"
#include "mediator/limit/policy.h"

enum format items_format(enum policy_item item);
int items_longest_name(unsigned whom); // enum policy_for; bytes

// "weight=200" into the object as a field, checked by the table; also names of fields (NULL ends them, may be
// NULL). NULL, or what is wrong with it (to be freed).
char *items_take(json_t *object, const char *word, unsigned whom, const char *const *fields);

#endif
