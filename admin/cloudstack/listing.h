// SPDX-License-Identifier: Apache-2.0
// The list of GPUs that CloudStack's KVM agent takes from its discovery script, as JSON: GPUs, and on each
// what can be given to VMs. The agent is strict about types, and what it cannot read costs it all that
// follows. Pure.
#ifndef VGPU_ADMIN_CLOUDSTACK_LISTING_H
#define VGPU_ADMIN_CLOUDSTACK_LISTING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

// The agent hangs on more than 64 KiB.
#define LISTING_MOST_BYTES 60000u

#define LISTING_ADDRESS_BYTES 40
#define LISTING_NO_CARD	      "none" // in place of an address: the backend has no card

struct listing_card {
	const char *pci;	 // 00000000:3b:00.0, or LISTING_NO_CARD
	uint32_t vendor, device; // PCI ids; 0: unknown
	const char *name;
	const char *root; // NULL: not known
	int numa;	  // -1: not known
};

struct listing_slot {
	const char *uuid, *profile;
	uint64_t most;	 // slots of this profile that the card has
	uint64_t memory; // bytes; 0: not known
	const char *vm;	 // the instance that has it; NULL: none
};

// bb:ss.f, with the domain in front if it is not 0. False: text is no PCI address.
bool listing_address(const char *text, char ret[static LISTING_ADDRESS_BYTES]);
bool listing_same_address(const char *a, const char *b);

// A new object, to which slots are added. NULL: its address is none.
json_t *listing_card(const struct listing_card *c);
void listing_slot(json_t *card, const struct listing_slot *s);

// Adds to ours what another script found, but for GPUs that are ours and what the agent could not read. False
// if found is not such a list; ours is as it was then.
bool listing_merge(json_t *ours, const json_t *found);

// One line without its end, to be freed. NULL: it would be longer than the agent takes.
char *listing_print(json_t *gpus);

#endif
