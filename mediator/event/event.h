// SPDX-License-Identifier: Apache-2.0
// What happens in the mediator, for operators: whoever sees something happen publishes it; the API's
// listeners are told, and who asks gets the last ones. In the mediator's loop.
#ifndef VGPU_MEDIATOR_EVENT_EVENT_H
#define VGPU_MEDIATOR_EVENT_EVENT_H

#include <jansson.h>

#include "mediator/event/ring.h"

struct mediator;
struct tenant;

struct events {
	struct event_ring ring;		// without memory for it nothing is published
	void (*listener)(void *opaque); // told after each event; NULL: nobody
	void *opaque;
};

void events_init(struct events *e);
void events_done(struct events *e);

// about: the tenant it is about; NULL: none. fields: taken over; NULL: none. Those that are too long are left
// out.
__attribute__((format(printf, 5, 6))) void event_publish(struct mediator *m, enum event_kind kind,
							 const struct tenant *about, json_t *fields,
							 const char *format, ...);

// The event as the API shows it: a new object, or NULL without memory.
json_t *event_describe(const struct event *e);

#endif
