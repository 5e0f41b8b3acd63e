// SPDX-License-Identifier: Apache-2.0
// How many objects of each kind a program may have: written into its tenant's page, where executors look at
// each new object.
#ifndef VGPU_MEDIATOR_WATCH_OBJECTS_H
#define VGPU_MEDIATOR_WATCH_OBJECTS_H

#include "mediator/settings.h"
#include "protocol/host/turn_page.h"

// per_10000: how much of what the settings say.
void objects_limit(const struct settings *s, uint32_t per_10000, struct vgpu_tenant_page *page);

#endif
