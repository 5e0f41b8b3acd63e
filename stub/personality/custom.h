// SPDX-License-Identifier: Apache-2.0
// What the transport looks like on the PCI bus: vgpu's own device, in every VM, whatever its personality.
#ifndef VGPU_STUB_PERSONALITY_CUSTOM_H
#define VGPU_STUB_PERSONALITY_CUSTOM_H

#include "stub/config_space.h"

// As after power-on; c is all zero.
void custom_config(struct config_space *c);

#endif
