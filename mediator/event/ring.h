// SPDX-License-Identifier: Apache-2.0
// The last events, bounded: two rings in one order of ids, one for what programs cause as often as they like
// and one for all else, so that the former never push the latter out. Pure; times come in. Ids only grow, by
// one for each event, and begin above those of any mediator before (its start in microseconds since 1970).
#ifndef VGPU_MEDIATOR_EVENT_RING_H
#define VGPU_MEDIATOR_EVENT_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/limits.h"

enum event_kind {
#define EVENT(NAME, ...) EVENT_##NAME,
#include "mediator/event/event.def"
#undef EVENT
	EVENT_KINDS
};

#define EVENT_TEXT_BYTES   256
#define EVENT_FIELDS_BYTES 512

struct event {
	uint64_t id;
	int64_t at_ms; // since 1970
	enum event_kind kind;
	uint32_t tenant_id; // 0: it is about none
	char tenant[VGPU_MAX_NAME + 1];
	char text[EVENT_TEXT_BYTES];
	char fields[EVENT_FIELDS_BYTES]; // a JSON object; "": none
};

struct event_part {
	struct event *events; // of VGPU_MAX_HELD_EVENTS
	uint64_t n;	      // that were ever put in
};

struct event_ring {
	struct event_part rare, often;
	uint64_t next_id, lost_id; // lost_id: the newest that is not held any more
	uint64_t left_out;	   // of those that come often, since the last one that was taken
	uint64_t second_s, in_second;
};

const char *event_word(enum event_kind kind);
const char *event_help(enum event_kind kind);
bool event_comes_often(enum event_kind kind);

// first_id: of the first event; above 0. 0 or -ENOMEM.
int event_ring_init(struct event_ring *r, uint64_t first_id);
// Accepts one that was never initialised (all zero).
void event_ring_done(struct event_ring *r);

// A place for the next event, with its id, time and kind set and all else zero. NULL: too many of its kind
// this second; they are counted in left_out until one is taken again.
struct event *event_ring_add(struct event_ring *r, enum event_kind kind, int64_t at_ms, uint64_t now_ns);

// The oldest event with an id above id; NULL: none. Good until the next event_ring_add().
const struct event *event_ring_after(const struct event_ring *r, uint64_t id);
// Whether all events above id are there still, of mediators before this one too; also false for an id that is
// not given out yet.
bool event_ring_has_all_after(const struct event_ring *r, uint64_t id);
uint64_t event_ring_newest(const struct event_ring *r);

#endif
