// SPDX-License-Identifier: Apache-2.0
// See the header. Called by the executor's loop.
#include "executor/delay.h"

#include <string.h>

void delay_init(struct delay *d, struct vgpu_turn_page *page)
{
	*d = (struct delay){ .page = page->delays };
}

// Room for one more: those that are passed go, else every other one does. What stood before a mark that goes
// is taken to be there since the next one only: less than it waited, not more.
static void make_room(struct delay *d)
{
	uint32_t n = d->end - d->first;

	if (d->first) {
		memmove(d->marks, d->marks + d->first, n * sizeof(d->marks[0]));
	} else {
		n = DELAY_MARKS / 2;
		for (uint32_t i = 0; i < n; i++)
			d->marks[i] = d->marks[2 * i + 1];
	}
	d->first = 0;
	d->end = n;
}

void delay_mark(struct delay *d, uint64_t head, uint64_t tail, uint32_t bytes, uint64_t now_ns)
{
	// What a guest publishes that breaks the ring is for ring.c to see.
	if (tail == head || tail - head > bytes || now_ns - d->noted_ns < DELAY_STEP_NS)
		return;
	delay_since(d, head, now_ns);
	if (d->first != d->end && tail <= d->marks[d->end - 1].tail)
		return;
	if (d->end == DELAY_MARKS)
		make_room(d);
	d->marks[d->end++] = (struct delay_mark){ .tail = tail, .since_ns = now_ns };
	d->noted_ns = now_ns;
}
