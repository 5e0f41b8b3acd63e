// SPDX-License-Identifier: Apache-2.0
// Eventfds that the mediator shares with processes it does not trust. O_NONBLOCK belongs to the open file, so
// the other side can take it away and fill or drain the counter at the right moment: neither call here may
// wait.
#ifndef VGPU_MEDIATOR_TURN_BELL_H
#define VGPU_MEDIATOR_TURN_BELL_H

#include <stdbool.h>

// Once, before the first bell_ring. 0 or -errno.
int bell_init(void);

// Wakes whoever sleeps on fd. False if somebody filled the counter, so that nothing more can be added to it.
// Never waits longer than about 1 ms, and that only when somebody plays tricks.
bool bell_ring(int fd);

// Takes the counter back to 0; returns at once whatever the other side does.
void bell_clear(int fd);

#endif
