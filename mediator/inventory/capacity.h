// SPDX-License-Identifier: Apache-2.0
// How many vGPUs a card can be divided into. Pure: numbers in, numbers out; who has how much is counted by
// the caller.
#ifndef VGPU_MEDIATOR_INVENTORY_CAPACITY_H
#define VGPU_MEDIATOR_INVENTORY_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>

struct capacity_card {
	uint64_t bytes;	     // device memory that can be given away; 0: not known
	uint32_t overcommit; // percent of it that vGPUs may have together
	uint32_t most;	     // vGPUs
};

// What vGPUs that exist take.
struct capacity_use {
	uint64_t bytes;
	uint32_t vgpus;
};

// The most that all of them may take together; UINT64_MAX at most.
uint64_t capacity_limit(const struct capacity_card *card);
// What one vGPU takes whose profile gives it so much memory. One without a quota (0) can use all of the card.
uint64_t capacity_bytes(const struct capacity_card *card, uint64_t profile_bytes);
// Adds n vGPUs of a profile to what is taken.
void capacity_add(const struct capacity_card *card, uint64_t profile_bytes, uint32_t n,
		  struct capacity_use *use);
// How many more of that profile fit; also when what there is is more than there should be.
uint32_t capacity_fit(const struct capacity_card *card, const struct capacity_use *use,
		      uint64_t profile_bytes);
// Whether what is taken is within the limits.
bool capacity_holds(const struct capacity_card *card, const struct capacity_use *use);

#endif
