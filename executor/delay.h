// SPDX-License-Identifier: Apache-2.0
// How long launches stand in the ring and how long the guest waits for its work, counted into the turn page
// for operators (docs/decisions/0026). The only clock is the one that each round of the loop reads anyway.
// All times are what is certain: a record waits from the first round that began behind its publication to the
// one in which it goes to the backend; so they are short by a round at most, never long.
//
// While the ring is emptied in each round nothing has to be remembered. When it is not, each round leaves a
// mark: up to this place of the ring all was published by now. Pure but for the page.
#ifndef VGPU_EXECUTOR_DELAY_H
#define VGPU_EXECUTOR_DELAY_H

#include <stdint.h>

#include "protocol/host/turn_page.h"

#define DELAY_MARKS   64u
#define DELAY_STEP_NS 1000u // marks are not closer

struct delay_mark {
	uint64_t tail, since_ns;
};

struct delay {
	struct vgpu_delays *page; // VGPU_DELAYS
	struct delay_mark marks[DELAY_MARKS];
	uint32_t first, end; // marks that are ahead of the ring's head, oldest first
	uint32_t prompt;     // launches that did not wait; not in the page yet
	uint64_t noted_ns;   // when the last mark was left
};

void delay_init(struct delay *d, struct vgpu_turn_page *page);

// A round begins at now_ns, and it is known that the ring of so many bytes reached from head to tail before.
void delay_mark(struct delay *d, uint64_t head, uint64_t tail, uint32_t bytes, uint64_t now_ns);

// Since when the record at the ring's head is known to be there.
static inline uint64_t delay_since(struct delay *d, uint64_t head, uint64_t now_ns)
{
	while (d->first != d->end && head >= d->marks[d->first].tail)
		d->first++;
	return d->first != d->end ? d->marks[d->first].since_ns : now_ns;
}

// The record at the ring's head launched something.
static inline void delay_launched(struct delay *d, uint64_t head, uint64_t now_ns)
{
	uint64_t since = delay_since(d, head, now_ns);

	if (since == now_ns)
		d->prompt++;
	else
		vgpu_delay_note(&d->page[VGPU_DELAY_LAUNCH], now_ns - since, 1);
}

// Once a round.
static inline void delay_tell(struct delay *d)
{
	if (!d->prompt)
		return;
	vgpu_delay_note(&d->page[VGPU_DELAY_LAUNCH], 0, d->prompt);
	d->prompt = 0;
}

// What the guest waits for is there.
static inline void delay_waited(struct delay *d, uint64_t since_ns, uint64_t now_ns)
{
	vgpu_delay_note(&d->page[VGPU_DELAY_WAIT], now_ns > since_ns ? now_ns - since_ns : 0, 1);
}

#endif
