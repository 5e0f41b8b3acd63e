// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/event/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/tenant.h"

static uint64_t since_1970_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void events_init(struct events *e)
{
	*e = (struct events){ 0 };
	if (event_ring_init(&e->ring, since_1970_us()) < 0)
		log_warning("no memory for events: none are published");
}

void events_done(struct events *e)
{
	event_ring_done(&e->ring);
	e->listener = NULL;
}

static void set_fields(struct event_ring *r, struct event *e, json_t *fields)
{
	size_t n;

	if (event_comes_often(e->kind) && r->left_out) {
		fields = fields ? fields : json_object();
		json_object_set_new(fields, "left_out", json_integer((json_int_t)r->left_out));
		r->left_out = 0;
	}
	if (!fields)
		return;
	n = json_dumpb(fields, e->fields, sizeof(e->fields), JSON_COMPACT);
	if (n < sizeof(e->fields))
		e->fields[n] = 0;
	else
		e->fields[0] = 0;
	json_decref(fields);
}

void event_publish(struct mediator *m, enum event_kind kind, const struct tenant *about, json_t *fields,
		   const char *format, ...)
{
	struct events *events = &m->events;
	char raw[EVENT_TEXT_BYTES];
	struct event *e = NULL;
	va_list args;

	if (events->ring.next_id)
		e = event_ring_add(&events->ring, kind, (int64_t)(since_1970_us() / 1000), clock_now_ns());
	if (!e) {
		json_decref(fields);
		return;
	}
	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	log_sanitize(e->text, sizeof(e->text), raw, strlen(raw));
	if (about) {
		e->tenant_id = about->id;
		log_sanitize(e->tenant, sizeof(e->tenant), about->name, strlen(about->name));
	}
	set_fields(&events->ring, e, fields);
	if (events->listener)
		events->listener(events->opaque);
}

json_t *event_describe(const struct event *e)
{
	json_t *o = json_pack("{s:I, s:I, s:s, s:s}", "id", (json_int_t)e->id, "at_ms", (json_int_t)e->at_ms,
			      "kind", event_word(e->kind), "text", e->text);

	if (!o)
		return NULL;
	if (e->tenant_id) {
		json_object_set_new(o, "tenant", json_integer(e->tenant_id));
		json_object_set_new(o, "name", json_string(e->tenant));
	}
	if (e->fields[0])
		json_object_set_new(o, "fields", json_loads(e->fields, 0, NULL));
	return o;
}
