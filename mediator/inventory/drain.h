// SPDX-License-Identifier: Apache-2.0
// Drain: the host is to be emptied. No new channel opens (programs are told LINK_E_DRAINING), no vGPU is
// assigned; those that run go on, until a deadline if there is one. The next mediator that adopts goes on
// draining; one that begins afresh does not. In the mediator's loop.
#ifndef VGPU_MEDIATOR_INVENTORY_DRAIN_H
#define VGPU_MEDIATOR_INVENTORY_DRAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct mediator;

struct drain {
	bool on;
	uint64_t since_s;  // since 1970
	uint64_t until_ns; // of CLOCK_MONOTONIC: then what is left is ended; 0: never
	sd_event_source *timer;
};

// for_ns 0: without a deadline. One that is in force gets the new deadline. 0 or -errno: without a timer
// nothing changed.
int drain_start(struct mediator *m, uint64_t for_ns);
// False: there was none.
bool drain_stop(struct mediator *m);
// As the mediator before this one had it.
void drain_adopt(struct mediator *m, uint64_t since_s, uint64_t until_ns);
void drain_done(struct mediator *m);

// 0: a channel may open. Else an enum link_error_code with a text for its program (LINK_TEXT_BYTES).
int drain_admit(const struct mediator *m, char *error);

// Channels that are not gone yet.
unsigned drain_left(struct mediator *m);

#endif
