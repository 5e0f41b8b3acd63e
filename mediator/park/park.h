// SPDX-License-Identifier: Apache-2.0
// Parking in the real world: carries what executors show in their turn pages to mediator/park/rule.c, and its
// decisions back. One `park` a mediator, one member a channel; all in the mediator's loop.
#ifndef VGPU_MEDIATOR_PARK_PARK_H
#define VGPU_MEDIATOR_PARK_PARK_H

#include <systemd/sd-event.h>

#include "mediator/park/rule.h"

struct mediator;
struct channel;
struct turn_seat;

struct park {
	struct mediator *mediator;
	struct park_rule rule;
	sd_event_source *timer;
	uint64_t hold_ns; // executors that were started ahead are ending: nothing is decided before
};

struct park_member {
	struct park_seat seat;
	bool is;	       // a seat of the rule
	uint64_t asked;	       // number that its park_answer will have
	uint64_t room_ask;     // seen last
	uint64_t room_bytes;   // seen last
	uint64_t parked_bytes; // seen last
};

int park_init(struct park *p, struct mediator *m);
void park_done(struct park *p); // accepts one that was never initialised (all zero)

// Its turn page is there; it goes.
void park_channel_began(struct channel *c);
// The same of one that the last mediator began. When all of them are there, park_adopted: nothing is decided
// before, since nobody knows who else is on the device.
void park_channel_resumed(struct channel *c);
void park_adopted(struct park *p);
void park_channel_gone(struct channel *c);
// The executor rang (turn_seat_ops.kicked).
void park_seat_kicked(struct turn_seat *seat);

#endif
