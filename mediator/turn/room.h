// SPDX-License-Identifier: Apache-2.0
// What a turn page says about device memory (docs/decisions/0021), beside turns: who has how much of it
// where, who is asked to park, who wants room. In the mediator's loop; what an executor wrote is loaded once.
#ifndef VGPU_MEDIATOR_TURN_ROOM_H
#define VGPU_MEDIATOR_TURN_ROOM_H

#include "mediator/turn/turn.h"

struct turn_room {
	uint64_t held, parked; // bytes
	uint64_t active_ns;
	bool demand;
	uint64_t park_answer, room_ask, room_bytes, room_free;
	bool room_back;
	// What a mediator wrote, this one or the one before; an executor could have changed it.
	uint64_t park_ask, room_answer, lease;
};

void turn_room_look(const struct turn_seat *s, struct turn_room *ret);

// Asks the executor to park; returns the number that its park_answer will have.
uint64_t turn_room_ask(struct turn_seat *s, bool urgent);
// Its request of that number is dealt with.
void turn_room_answer(struct turn_seat *s, uint64_t room_ask, uint64_t lease);
void turn_room_lease(struct turn_seat *s, uint64_t lease);

// In the books, for the next mediator; of a seat that is not in any all is 0.
void turn_room_note(struct turn_seat *s, const struct turn_books_room *room);
void turn_room_noted(const struct turn_seat *s, struct turn_books_room *ret);

#endif
