// SPDX-License-Identifier: Apache-2.0
// Looks at what all tenants have of the GPU a few times a second while there are channels, for the plot of
// the last minutes. In the mediator's loop. It is not kept for the next mediator.
#ifndef VGPU_MEDIATOR_HISTORY_HISTORY_H
#define VGPU_MEDIATOR_HISTORY_HISTORY_H

#include "mediator/history/ring.h"

struct mediator;

// 0 or -errno.
int history_start(struct mediator *m);
// There is a channel: looks go on.
void history_wake(struct mediator *m);

#endif
