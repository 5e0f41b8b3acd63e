// SPDX-License-Identifier: Apache-2.0
// See the header. Pure.
#include "mediator/event/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define OFTEN true
#define RARE  false

static const struct {
	const char *word, *help;
	bool often;
} kinds[EVENT_KINDS] = {
#define EVENT(NAME, word, often, help) { word, help, often },
#include "mediator/event/event.def"
#undef EVENT
};

const char *event_word(enum event_kind kind)
{
	return kinds[kind].word;
}

const char *event_help(enum event_kind kind)
{
	return kinds[kind].help;
}

bool event_comes_often(enum event_kind kind)
{
	return kinds[kind].often;
}

int event_ring_init(struct event_ring *r, uint64_t first_id)
{
	*r = (struct event_ring){ .next_id = first_id, .lost_id = first_id - 1 };
	r->rare.events = calloc(VGPU_MAX_HELD_EVENTS, sizeof(struct event));
	r->often.events = calloc(VGPU_MAX_HELD_EVENTS, sizeof(struct event));
	if (r->rare.events && r->often.events)
		return 0;
	event_ring_done(r);
	return -ENOMEM;
}

void event_ring_done(struct event_ring *r)
{
	free(r->rare.events);
	free(r->often.events);
	*r = (struct event_ring){ 0 };
}

static struct event *place(struct event_ring *r, struct event_part *part)
{
	struct event *e = &part->events[part->n++ % VGPU_MAX_HELD_EVENTS];

	if (e->id > r->lost_id)
		r->lost_id = e->id;
	memset(e, 0, sizeof(*e));
	return e;
}

struct event *event_ring_add(struct event_ring *r, enum event_kind kind, int64_t at_ms, uint64_t now_ns)
{
	struct event *e;

	if (kinds[kind].often) {
		if (r->second_s != now_ns / NSEC_PER_SEC) {
			r->second_s = now_ns / NSEC_PER_SEC;
			r->in_second = 0;
		}
		if (r->in_second >= VGPU_MAX_OFTEN_EVENTS_PER_S) {
			r->left_out++;
			return NULL;
		}
		r->in_second++;
	}
	e = place(r, kinds[kind].often ? &r->often : &r->rare);
	e->id = r->next_id++;
	e->at_ms = at_ms;
	e->kind = kind;
	return e;
}

static uint64_t held(const struct event_part *part)
{
	return part->n < VGPU_MAX_HELD_EVENTS ? part->n : VGPU_MAX_EVENTS;
}

static const struct event *at(const struct event_part *part, uint64_t i)
{
	return &part->events[(part->n - held(part) + i) % VGPU_MAX_HELD_EVENTS];
}

// How many of the part have an id of at most id.
static uint64_t count_until(const struct event_part *part, uint64_t id)
{
	uint64_t low = 0, high = held(part);

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (at(part, middle)->id <= id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct event *first_after(const struct event_part *part, uint64_t id)
{
	uint64_t i = count_until(part, id);

	return i < held(part) ? at(part, i) : NULL;
}

const struct event *event_ring_after(const struct event_ring *r, uint64_t id)
{
	const struct event *a = first_after(&r->rare, id), *b = first_after(&r->often, id);

	if (!a || !b)
		return a ? a : b;
	return a->id < b->id ? a : b;
}

bool event_ring_has_all_after(const struct event_ring *r, uint64_t id)
{
	return id >= r->lost_id && id < r->next_id;
}

uint64_t event_ring_newest(const struct event_ring *r)
{
	return r->next_id - 1;
}
