// SPDX-License-Identifier: Apache-2.0
// Requests to CloudStack's API as they are written and signed. Nothing here asks a clock or a network.
#ifndef VGPU_ADMIN_CLOUDSTACK_API_SIGN_H
#define VGPU_ADMIN_CLOUDSTACK_API_SIGN_H

#include <stdbool.h>
#include <stddef.h>

#define API_MOST_PARAMETERS 32 // of one request, with those that every request has

struct api_parameter {
	const char *name; // lower case, a constant
	char *value;
};

// Starts as { 0 }.
struct api_request {
	size_t n;
	struct api_parameter parameter[API_MOST_PARAMETERS];
};

// A name that is there gets the new value.
void api_set(struct api_request *r, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *api_get(const struct api_request *r, const char *name);
void api_request_done(struct api_request *r); // may be used again

// What Java's URLEncoder makes of it, but %20 for a space: that is what the server signs. To be freed.
char *api_encode(const char *value);
// When a request made now is no longer good: "2026-11-29T10:00:00+0000". To be freed.
char *api_expires(long long now_s, unsigned seconds);
// "a=1&b=2", sorted by name, values encoded. To be freed.
char *api_query(const struct api_request *r);
// The query's signature in base64, not encoded. To be freed; NULL if the library has no HMAC.
char *api_sign(const char *query, const char *secret);
// The body of a POST: the query and its signature. NULL as above.
char *api_form(const struct api_request *r, const char *secret);

#endif
