// SPDX-License-Identifier: Apache-2.0
// HTTP to one mediator, over its unix socket or TLS. One thread, one request at a time.
#ifndef VGPU_ADMIN_HTTP_H
#define VGPU_ADMIN_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct http_target {
	const char *socket;	// of the API
	const char *url;	// https://...: in place of the socket; NULL: the socket
	const char *token_file; // a token on its first line; NULL: none
	const char *ca_file;	// certificates that are trusted; NULL: the system's
};

struct http_answer {
	long status;
	char *body; // with a terminator behind it; NULL: none
	size_t len;
};

struct http;

// NULL with what is wrong with the target (to be freed): nothing was sent.
struct http *http_new(const struct http_target *target, char **ret_error);
void http_free(struct http *h);
// The longest time for an answer, where somebody waits at a keyboard; as it is made, a minute.
void http_set_patience(struct http *h, long seconds);

// Asks with a body (JSON; NULL: none). 0, or -EIO: no answer; http_failure() says why.
int http_ask(struct http *h, const char *method, const char *path, const char *body, struct http_answer *ret);
void http_answer_done(struct http_answer *a);

// GET of an event stream: what comes is handed on until take returns false or the connection ends. An answer
// other than 200 is in *ret and take is not called. 0, or -EIO as above.
int http_stream(struct http *h, const char *path, const char *last_event_id,
		bool (*take)(void *opaque, const char *bytes, size_t n), void *opaque,
		struct http_answer *ret);

// Of the last request: what went wrong and what to do about it, in one or two lines.
const char *http_failure(const struct http *h);
const char *http_place(const struct http *h); // the socket or address

// What is needed of a path's part is encoded. To be freed.
char *http_encode(const char *text);

#endif
