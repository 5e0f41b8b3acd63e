// SPDX-License-Identifier: Apache-2.0
// See the header. Called by mediator/park/park.c.
#include "mediator/turn/room.h"

#include <string.h>

void turn_room_look(const struct turn_seat *s, struct turn_room *ret)
{
	const struct vgpu_turn_page *p = s->page;

	memset(ret, 0, sizeof(*ret));
	if (!p)
		return;
	// The numbers first: what they are about was stored before them.
	ret->park_answer = atomic_load_explicit(&p->park_answer, memory_order_acquire);
	ret->room_ask = atomic_load_explicit(&p->room_ask, memory_order_acquire);
	ret->room_bytes = atomic_load_explicit(&p->room_bytes, memory_order_relaxed);
	ret->room_free = atomic_load_explicit(&p->room_free, memory_order_relaxed);
	ret->room_back = atomic_load_explicit(&p->room_back, memory_order_relaxed);
	ret->held = atomic_load_explicit(&p->memory_bytes, memory_order_relaxed);
	ret->parked = atomic_load_explicit(&p->parked_bytes, memory_order_relaxed);
	ret->active_ns = atomic_load_explicit(&p->active_ns, memory_order_relaxed);
	ret->demand = atomic_load_explicit(&p->demand, memory_order_relaxed);
	ret->park_ask = s->park_ask;
	ret->room_answer = atomic_load_explicit(&p->room_answer, memory_order_relaxed);
	ret->lease = atomic_load_explicit(&p->lease, memory_order_relaxed);
}

uint64_t turn_room_ask(struct turn_seat *s, bool urgent)
{
	uint64_t ask = ++s->park_ask;

	atomic_store_explicit(&s->page->park_urgent, urgent, memory_order_relaxed);
	atomic_store_explicit(&s->page->park_ask, ask, memory_order_release);
	turn_seat_ring(s);
	return ask;
}

void turn_room_answer(struct turn_seat *s, uint64_t room_ask, uint64_t lease)
{
	turn_room_lease(s, lease);
	atomic_store_explicit(&s->page->room_answer, room_ask, memory_order_release);
	turn_seat_ring(s);
}

void turn_room_lease(struct turn_seat *s, uint64_t lease)
{
	atomic_store_explicit(&s->page->lease, lease, memory_order_relaxed);
}

void turn_room_note(struct turn_seat *s, const struct turn_books_room *room)
{
	if (s->books)
		s->books->room = *room;
}

void turn_room_noted(const struct turn_seat *s, struct turn_books_room *ret)
{
	*ret = s->books ? s->books->room : (struct turn_books_room){ 0 };
}
