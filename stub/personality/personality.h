// SPDX-License-Identifier: Apache-2.0
// What the device looks like on the PCI bus. Registers, commands and channels behind it are the same.
#ifndef VGPU_STUB_PERSONALITY_PERSONALITY_H
#define VGPU_STUB_PERSONALITY_PERSONALITY_H

#include <stdint.h>

#include "stub/config_space.h"

struct personality {
	const char *name;
	uint64_t bar0_bytes;
	void (*reset)(struct config_space *c); // as after power-on; c is all zero
};

extern const struct personality personality_custom;

#endif
