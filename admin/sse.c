// SPDX-License-Identifier: Apache-2.0
// The event stream format of the HTML standard; see the header. Used by cmd_events.c.
#include "admin/sse.h"

#include <stdlib.h>
#include <string.h>

#include "admin/text.h"

void sse_init(struct sse *s, bool (*event)(void *opaque, const char *type, const char *data), void *opaque)
{
	*s = (struct sse){ .event = event, .opaque = opaque };
}

void sse_done(struct sse *s)
{
	free(s->line.bytes);
	free(s->data.bytes);
	free(s->type.bytes);
	free(s->id.bytes);
	free(s->seen_id.bytes);
	*s = (struct sse){ 0 };
}

static bool add(struct sse_text *t, const char *bytes, size_t n)
{
	if (t->n + n > SSE_MOST_BYTES)
		return false;
	if (t->n + n >= t->room) {
		t->room = 2 * (t->n + n + 1);
		t->bytes = text_memory(realloc(t->bytes, t->room));
	}
	memcpy(t->bytes + t->n, bytes, n);
	t->n += n;
	t->bytes[t->n] = 0;
	return true;
}

static const char *string(const struct sse_text *t)
{
	return t->n ? t->bytes : "";
}

static void set(struct sse_text *t, const char *value)
{
	t->n = 0;
	add(t, value, strlen(value));
}

static bool dispatch(struct sse *s)
{
	bool more = true;

	set(&s->seen_id, string(&s->id));
	if (s->data.n) {
		s->data.bytes[--s->data.n] = 0; // the last line's end
		more = s->event(s->opaque, s->type.n ? s->type.bytes : "message", string(&s->data));
	}
	s->data.n = s->type.n = 0;
	return more;
}

static bool take_line(struct sse *s)
{
	char *value = strchr(string(&s->line), ':');
	const char *name = string(&s->line);

	if (!s->line.n)
		return dispatch(s);
	if (value == name)
		return true; // a comment, as servers send to keep connections alive
	if (value) {
		*value++ = 0;
		value += *value == ' ';
	}
	if (strcmp(name, "data") == 0)
		return add(&s->data, value ? value : "", value ? strlen(value) : 0) && add(&s->data, "\n", 1);
	if (strcmp(name, "event") == 0)
		set(&s->type, value ? value : "");
	else if (strcmp(name, "id") == 0)
		set(&s->id, value ? value : "");
	else if (strcmp(name, "retry") == 0 && value && value[0] &&
		 strspn(value, "0123456789") == strlen(value))
		s->retry_ms = strlen(value) < 9 ? (unsigned)strtoul(value, NULL, 10) : 0;
	return true;
}

bool sse_take(struct sse *s, const char *bytes, size_t n)
{
	while (n) {
		size_t len;

		if (s->skip_newline && *bytes == '\n') {
			s->skip_newline = false;
			bytes++;
			n--;
			continue;
		}
		s->skip_newline = false;
		for (len = 0; len < n && bytes[len] != '\n' && bytes[len] != '\r'; len++) {
			if (!bytes[len])
				return false; // no text
		}
		if (!add(&s->line, bytes, len))
			return false;
		if (len == n)
			return true;
		s->skip_newline = bytes[len] == '\r';
		bytes += len + 1;
		n -= len + 1;
		if (!take_line(s))
			return false;
		s->line.n = 0;
	}
	return true;
}

void sse_reset(struct sse *s)
{
	s->line.n = s->data.n = s->type.n = 0;
	set(&s->id, string(&s->seen_id));
	s->skip_newline = false;
}

const char *sse_last_id(const struct sse *s)
{
	return string(&s->seen_id);
}
