// SPDX-License-Identifier: Apache-2.0
// Server-sent events, taken apart as their bytes come. Pure.
#ifndef VGPU_ADMIN_SSE_H
#define VGPU_ADMIN_SSE_H

#include <stdbool.h>
#include <stddef.h>

#define SSE_MOST_BYTES (1u << 20) // of one event

struct sse_text {
	char *bytes;	// terminated when it is handed out
	size_t n, room; // in use, without the end; allocated
};

struct sse {
	// Called for each event; type is "message" if it has none. False: enough.
	bool (*event)(void *opaque, const char *type, const char *data);
	void *opaque;
	struct sse_text line, data, type;
	struct sse_text id;	 // as the stream has it, perhaps of an event that is not complete
	struct sse_text seen_id; // of the last complete one
	bool skip_newline;	 // the last line ended with a carriage return
	unsigned retry_ms;	 // as the server said last; 0: it did not
};

void sse_init(struct sse *s, bool (*event)(void *opaque, const char *type, const char *data), void *opaque);
void sse_done(struct sse *s);

// False: event() said so, or an event is longer than SSE_MOST_BYTES.
bool sse_take(struct sse *s, const char *bytes, size_t n);

// The connection has ended: what was not complete is forgotten, the last event's id is not.
void sse_reset(struct sse *s);
const char *sse_last_id(const struct sse *s); // "": none

#endif
