// SPDX-License-Identifier: Apache-2.0
// What executors show in their turn pages and nothing is decided by; see turn.h. Runs in the mediator's loop.
#include "mediator/metrics/delays.h"
#include "mediator/turn/turn.h"

static uint64_t add_up(uint64_t a, uint64_t b)
{
	return a >= TURN_METER_MOST || b >= TURN_METER_MOST - a ? TURN_METER_MOST : a + b;
}

// Sums that stop instead of beginning anew: what was told to somebody never falls, whatever an executor says.
void turn_meters_add(struct turn_meters *sum, const struct turn_meters *m)
{
	sum->launches = add_up(sum->launches, m->launches);
	sum->copy_bytes = add_up(sum->copy_bytes, m->copy_bytes);
	sum->faults = add_up(sum->faults, m->faults);
	for (unsigned i = 0; i < VGPU_HELD_BY; i++)
		sum->held_ns[i] = add_up(sum->held_ns[i], m->held_ns[i]);
}

static uint64_t load(const _Atomic uint64_t *word)
{
	uint64_t value = atomic_load_explicit(word, memory_order_relaxed);

	return value < TURN_GAUGE_MOST ? value : TURN_GAUGE_MOST;
}

void turn_seat_gauges(const struct turn_seat *s, struct turn_gauges *ret)
{
	*ret = (struct turn_gauges){ 0 };
	if (!s->page)
		return;
	ret->in_flight = atomic_load_explicit(&s->page->in_flight, memory_order_relaxed);
	ret->parked_bytes = load(&s->page->parked_bytes);
}

uint64_t turn_seat_take_features(struct turn_seat *s)
{
	// Mostly there is nothing: then the executor's cache line stays its own.
	if (!s->page || !atomic_load_explicit(&s->page->features, memory_order_relaxed))
		return 0;
	return atomic_exchange_explicit(&s->page->features, 0, memory_order_relaxed);
}

void turn_seat_raise_delays(const struct turn_seat *s, struct delay_counts to[VGPU_DELAYS])
{
	for (unsigned i = 0; s->page && i < VGPU_DELAYS; i++)
		delay_counts_raise(&to[i], &s->page->delays[i]);
}
