// SPDX-License-Identifier: Apache-2.0
// What a tenant's programs really use: which of our libraries they have, and which features of CUDA. For
// operators, and for the protocol of a VM; a program (in a VM, its guest) says itself which library it is, so
// nothing that must be safe depends on it. What it used is counted by the executors and by our clock, and a
// tenant changes its own numbers at most. docs/decisions/0031. In the mediator's loop.
#ifndef VGPU_MEDIATOR_USE_USE_H
#define VGPU_MEDIATOR_USE_USE_H

#include <stdint.h>

#include "protocol/host/link.h"

#define USE_FEATURES 64u // as many as the turn page has bits for

struct channel;
struct tenant;

// Of the programs of one library. They only grow.
struct use_library {
	uint64_t channels; // that were opened
	uint64_t refused;  // by the protocol of their VM
	uint64_t launches, gpu_ns, faults;
};

// In seconds since 1970, when an hour began; 0: never.
struct use_feature {
	int64_t first_s, last_s;
};

// Of a tenant: in its books, so the next mediator goes on with it.
struct tenant_use {
	struct use_library past[LINK_LIBRARIES];   // launches, GPU time and faults of channels that are gone
	struct use_feature features[USE_FEATURES]; // by enum call_feature
	uint64_t news;				   // bits of those that the store is still to be told of
};

// Words for people and labels: "libcuda", ..., "untold".
const char *use_library_text(unsigned library); // enum link_library
unsigned use_library_find(const char *text);	// LINK_LIBRARIES: there is none

// 0: the tenant's protocol lets programs of the library in. Else an enum link_error_code with a text for the
// program (LINK_TEXT_BYTES); it was counted and told as an event.
int use_admit(struct tenant *t, uint32_t library, char *error);

// Its library is known. Once for each channel.
void use_channel_began(struct channel *c);
// Takes what its executor showed of features since the last look.
void use_look(struct channel *c);
// Its seat is done with, and what it used stands there.
void use_channel_ended(struct channel *c);
// All of a channel that lives, as its seat saw it last.
void use_add_channel(struct use_library sum[LINK_LIBRARIES], const struct channel *c);

#endif
