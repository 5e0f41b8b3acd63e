// SPDX-License-Identifier: Apache-2.0
// Events as a stream (text/event-stream): each listener is a place in the mediator's ring of events, so that
// none makes the mediator hoard; one that is too far behind is cut off, and begins again where it was with
// the id of the last event it saw. Runs in the mediator's loop.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/api/internal.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

#define BLOCK_BYTES 4096
#define BEGIN_TEXT  "retry: 2000\n\n" // milliseconds after which a client connects again
#define LOST	    "lost"	      // kind of what is sent in place of events that are not held any more
#define LOST_TEXT   "events before the next one are not held any more"
#define HEART_BEAT  ":\n\n"

struct api_stream {
	struct api_request *request;
	LIST_ENTRY(api_stream) link;
	uint64_t seen; // id of the last event that was taken from the ring
	char kind[API_PART_BYTES];
	bool suspended, beat, lost, over;
	uint64_t beat_at_ns;
	char *out; // what is being sent; NULL: nothing
	size_t out_bytes, sent;
};

static struct mediator *mediator_of(const struct api_stream *s)
{
	return s->request->link->door->api->mediator;
}

static bool set_out(struct api_stream *s, char *text)
{
	s->out = text;
	s->out_bytes = text ? strlen(text) : 0;
	s->sent = 0;
	return text;
}

static char *print_event(const struct event *e)
{
	json_t *o = event_describe(e);
	char *data = o ? json_dumps(o, JSON_COMPACT) : NULL, *text = NULL;

	if (!data ||
	    asprintf(&text, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", e->id, event_word(e->kind), data) < 0)
		text = NULL;
	free(data);
	json_decref(o);
	return text;
}

// Without an id: the client's last one stays what it is.
static char *print_lost(void)
{
	struct timespec now;
	char *text;

	clock_gettime(CLOCK_REALTIME, &now);
	return asprintf(&text,
			"event: " LOST "\ndata: {\"at_ms\":%" PRId64 ",\"kind\":\"" LOST
			"\",\"text\":\"" LOST_TEXT "\"}\n\n",
			(int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000) < 0
		   ? NULL
		   : text;
}

// The next event that it wants; NULL: none.
static const struct event *next_event(struct api_stream *s)
{
	const struct event_ring *ring = &mediator_of(s)->events.ring;
	const struct event *e;

	while ((e = event_ring_after(ring, s->seen))) {
		s->seen = e->id;
		if (!s->kind[0] || strcmp(s->kind, event_word(e->kind)) == 0)
			return e;
	}
	return NULL;
}

// False: there is nothing to send now.
static bool fill(struct api_stream *s)
{
	const struct event *e;

	if (s->lost) {
		s->lost = false;
		return set_out(s, print_lost());
	}
	e = next_event(s);
	if (e)
		return set_out(s, print_event(e));
	if (!s->beat)
		return false;
	s->beat = false;
	return set_out(s, strdup(HEART_BEAT));
}

static ssize_t read_stream(void *cls, uint64_t pos, char *to, size_t room)
{
	struct api_stream *s = cls;
	size_t n;

	(void)pos;
	if (!s->out && !fill(s)) {
		if (s->over)
			return MHD_CONTENT_READER_END_OF_STREAM;
		s->suspended = true;
		MHD_suspend_connection(s->request->connection);
		return 0;
	}
	n = s->out_bytes - s->sent < room ? s->out_bytes - s->sent : room;
	memcpy(to, s->out + s->sent, n);
	s->sent += n;
	if (s->sent == s->out_bytes) {
		free(s->out);
		s->out = NULL;
	}
	return (ssize_t)n;
}

static void resume(struct api_stream *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	api_link_resume(s->request->link, s->request->connection);
}

// ---- begin and end ----

// Where it begins: what the header or the query says, else now.
static bool find_begin(struct api_stream *s)
{
	const struct event_ring *ring = &mediator_of(s)->events.ring;
	const char *text =
	    MHD_lookup_connection_value(s->request->connection, MHD_HEADER_KIND, "Last-Event-ID");
	const json_t *after = json_object_get(s->request->fields, "after");
	size_t digits = text ? strspn(text, "0123456789") : 0;

	s->seen = event_ring_newest(ring);
	if (text && text[0]) {
		if (text[digits] || digits > 18)
			return false;
		s->seen = strtoull(text, NULL, 10);
	} else if (after) {
		s->seen = (uint64_t)json_integer_value(after);
	}
	if (event_ring_has_all_after(ring, s->seen))
		return true;
	s->lost = true;
	if (s->seen > event_ring_newest(ring)) // of a time that is still to come: a clock was set back
		s->seen = 0;
	return true;
}

// The same checks as without a stream. NULL: it may; else the answer.
static json_t *ask_operation(struct api_request *r)
{
	json_t *answer, *request = json_copy(r->fields);
	bool later;

	json_object_set_new(request, "op", json_string(r->route->operation));
	answer = control_perform(r->link->door->api->mediator, &r->link->peer, request, &later);
	json_decref(request);
	if (!answer || json_is_true(json_object_get(answer, "ok"))) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

static struct api_stream *stream_new(struct api_request *r)
{
	const char *kind = json_string_value(json_object_get(r->fields, "kind"));
	struct api *a = r->link->door->api;
	struct api_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->request = r;
	snprintf(s->kind, sizeof(s->kind), "%s", kind ? kind : "");
	s->beat_at_ns = clock_now_ns() + a->mediator->settings->api_heartbeat;
	set_out(s, strdup(BEGIN_TEXT));
	LIST_INSERT_HEAD(&a->streams, s, link);
	a->n_streams++;
	r->stream = s;
	return s;
}

void api_stream_free(struct api_stream *s)
{
	LIST_REMOVE(s, link);
	s->request->link->door->api->n_streams--;
	free(s->out);
	free(s);
}

static enum MHD_Result refuse(struct api_request *r, unsigned status, const char *error, const char *text)
{
	return api_send_json(r, status, api_problem(status, error, text), NULL);
}

enum MHD_Result api_stream_begin(struct api_request *r)
{
	struct MHD_Response *response;
	json_t *answer = ask_operation(r);
	struct api_stream *s;
	enum MHD_Result done;

	if (answer) {
		unsigned status = api_status_of(json_string_value(json_object_get(answer, "error")));

		done = refuse(r, status, json_string_value(json_object_get(answer, "error")),
			      json_string_value(json_object_get(answer, "text")));
		json_decref(answer);
		return done;
	}
	if (json_object_get(r->fields, "last"))
		return refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_FIELD, "last: not of a stream");
	if (r->link->door->api->n_streams >= VGPU_MAX_EVENT_LISTENERS)
		return refuse(r, MHD_HTTP_TOO_MANY_REQUESTS, CONTROL_E_LIMIT,
			      "too many listeners (VGPU_MAX_EVENT_LISTENERS)");
	s = stream_new(r);
	if (!s)
		return MHD_NO;
	if (!find_begin(s))
		return refuse(r, MHD_HTTP_UNPROCESSABLE_CONTENT, CONTROL_E_VALUE,
			      "Last-Event-ID: not an event's id");
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, s, NULL);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", "text/event-stream");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	r->answered = true;
	r->link->deadline_ns = 0;
	done = MHD_queue_response(r->connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return done;
}

// ---- told ----

void api_stream_event(void *opaque)
{
	struct api *a = opaque;
	uint64_t newest = event_ring_newest(&a->mediator->events.ring);
	struct api_stream *s;

	LIST_FOREACH (s, &a->streams, link) {
		if (newest > s->seen + VGPU_MAX_EVENT_LAG && !s->over && !s->lost) {
			s->over = true;
			api_link_cut(s->request->link);
		}
		resume(s);
	}
}

void api_streams_tick(struct api *a, uint64_t now_ns)
{
	struct api_stream *s;

	LIST_FOREACH (s, &a->streams, link) {
		if (now_ns < s->beat_at_ns)
			continue;
		s->beat_at_ns = now_ns + a->mediator->settings->api_heartbeat;
		s->beat = true;
		resume(s);
	}
}

void api_streams_end(struct api *a)
{
	struct api_stream *s;

	LIST_FOREACH (s, &a->streams, link) {
		s->over = true;
		resume(s);
	}
}
