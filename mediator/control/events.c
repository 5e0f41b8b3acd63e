// SPDX-License-Identifier: Apache-2.0
// The operation events: what happened lately. The stream of them is the HTTP API's (mediator/api/stream.c).
// Runs in the mediator's loop.
#include <string.h>

#include "mediator/control/operations.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

static bool is_kind(const char *word)
{
	for (unsigned i = 0; i < EVENT_KINDS; i++) {
		if (strcmp(event_word(i), word) == 0)
			return true;
	}
	return false;
}

static bool is_wanted(const struct event *e, const char *kind)
{
	return !kind || strcmp(event_word(e->kind), kind) == 0;
}

static json_int_t count_after(const struct event_ring *ring, uint64_t id, const char *kind)
{
	const struct event *e;
	json_int_t n = 0;

	while ((e = event_ring_after(ring, id))) {
		id = e->id;
		n += is_wanted(e, kind);
	}
	return n;
}

// Those newer than id but for the oldest skip ones, at most most; the oldest first.
static json_t *list_after(const struct event_ring *ring, uint64_t id, json_int_t skip, json_int_t most,
			  const char *kind)
{
	json_t *rows = json_array();
	const struct event *e;

	while (most && (e = event_ring_after(ring, id))) {
		id = e->id;
		if (!is_wanted(e, kind) || skip-- > 0)
			continue;
		json_array_append_new(rows, event_describe(e));
		most--;
	}
	return rows;
}

static void events_called(struct control_call *c)
{
	const struct event_ring *ring = &c->mediator->events.ring;
	const json_t *last = json_object_get(c->request, "last"),
		     *after = json_object_get(c->request, "after");
	const char *kind = control_text(c, "kind");
	json_int_t most = last ? json_integer_value(last) : VGPU_MAX_EVENTS_ASKED, skip = 0;
	json_int_t begin = after ? json_integer_value(after) : 0;

	if (most < 1 || most > VGPU_MAX_EVENTS_ASKED || begin < 0) {
		control_fail(c, CONTROL_E_VALUE, "last: 1 to %d; after: an event's id",
			     VGPU_MAX_EVENTS_ASKED);
		return;
	}
	if (kind && !is_kind(kind)) {
		control_fail(c, CONTROL_E_VALUE, "kind: there are no events '%.40s'", kind);
		return;
	}
	if (!after)
		skip = count_after(ring, 0, kind) - most;
	json_object_set_new(c->answer, "complete",
			    json_boolean(!after || event_ring_has_all_after(ring, (uint64_t)begin)));
	json_object_set_new(c->answer, "events", list_after(ring, (uint64_t)begin, skip, most, kind));
}

static const struct control_field fields[] = {
	{ "last", CONTROL_INTEGER, false, "The most events (1000 if it is not said): the newest ones." },
	{ "after", CONTROL_INTEGER, false, "Those after the event of this id instead, the oldest first." },
	{ "kind", CONTROL_STRING, false, "Only events of this kind." },
	{ 0 },
};

const struct control_operation control_event_operations[] = {
	{ "events",
	  "What happened lately, the oldest first. \"complete\" in the answer is false if some of those "
	  "after "
	  "\"after\" "
	  "are not held any more.",
	  fields, 0, false, events_called },
	{ 0 },
};
