// SPDX-License-Identifier: Apache-2.0
// What an operator says of a tenant or a pool, as values by the table policy.def. Pure: parsing and merging;
// what the values do is the business of mediator/turn/, mediator/pool.c and the executors' gate.
#ifndef VGPU_MEDIATOR_LIMIT_POLICY_H
#define VGPU_MEDIATOR_LIMIT_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum policy_item {
#define ITEM(NAME, ...) POLICY_##NAME,
#include "mediator/limit/policy.def"
#undef ITEM
	POLICY_ITEMS
};

// What is for tenants is for profiles as well.
enum policy_for { POLICY_FOR_TENANT = 1, POLICY_FOR_POOL = 2, POLICY_FOR_PROFILE = 4 };
enum policy_class { POLICY_CLASS_NORMAL, POLICY_CLASS_LATENCY };
enum policy_personality { POLICY_PERSONALITY_CUSTOM, POLICY_PERSONALITY_NVIDIA };
enum policy_protocol { POLICY_PROTOCOL_ANY, POLICY_PROTOCOL_CUSTOM, POLICY_PROTOCOL_CUDA };

// What can be said of a VM itself.
#define POLICY_OF_VM (1u << POLICY_PERSONALITY | 1u << POLICY_PROTOCOL)

struct policy {
	uint64_t value[POLICY_ITEMS];
	uint32_t given; // bits by item: what was said, the rest is default
};

void policy_init(struct policy *p); // all defaults, nothing given

// The item of that name for whom (enum policy_for), or -1.
int policy_find(const char *name, unsigned whom);
const char *policy_name(enum policy_item item);
bool policy_is_for(enum policy_item item, unsigned whom);

// Sets one item as people write it ("4G", "8 ms", "12.5", "high"). 0 or -EINVAL with error, which names the
// item.
int policy_set_text(struct policy *p, enum policy_item item, const char *text, char *error,
		    size_t error_bytes);
// The same from a number in the item's base unit (percent for a PERCENT).
int policy_set_number(struct policy *p, enum policy_item item, double number, char *error,
		      size_t error_bytes);

// As value[] has it: a PERCENT in hundredths, a word as its number. 0, or -EINVAL: out of its range, or a
// PRIORITY.
int policy_set_value(struct policy *p, enum policy_item item, uint64_t value);

// What change was given replaces what p has. A priority is a weight from then on.
void policy_merge(struct policy *p, const struct policy *change);

// The value in the base unit; of a PERCENT percent.
double policy_number(const struct policy *p, enum policy_item item);
// Of an item that is one of some words; NULL for others.
const char *policy_word(const struct policy *p, enum policy_item item);

// Documentation of the items for whom, each as "  name = default   range" and its help. print_help writes the
// help's lines.
void policy_print_help(FILE *out, unsigned whom, void (*print_help)(FILE *out, const char *help));
const char *policy_help(enum policy_item item);
void policy_print_range(enum policy_item item, char *ret, size_t n);

#endif
