// SPDX-License-Identifier: Apache-2.0
// The routes of the HTTP API, as a table: which method and path is which operation. Roles, fields and their
// checks come from the operation (mediator/control/operations.h), so the two cannot disagree. Pure.
#ifndef VGPU_MEDIATOR_API_ROUTES_H
#define VGPU_MEDIATOR_API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

enum api_method {
	API_GET, // and HEAD
	API_POST,
	API_PUT,
	API_PATCH,
	API_DELETE,
	API_METHODS,
};

enum api_serves {
	API_OPERATION,
	API_EVENTS,  // an operation too, or a stream for those who accept one
	API_METRICS, // an operation whose text is sent as it is
	API_DESCRIPTION,
	API_PAGE,
};

#define API_MOST_PARTS 2
#define API_PAGE_PATH  "/" // stands for all files of the page
#define API_PART_BYTES 128

struct api_route {
	enum api_method method;
	const char *path;      // a part in braces is the operation's field of that name; NULL ends the table
	const char *operation; // NULL: none, what serves says
	unsigned status;       // when it is done
	enum api_serves serves;
};

extern const struct api_route api_routes[];
// Operations that are deliberately without a route, ended by NULL.
extern const char *const api_without_route[];

struct api_match {
	const struct api_route *route; // NULL: none
	unsigned methods;	       // bits of those that the path has; 0: there is no such path
	unsigned n_parts;
	struct {
		char name[API_PART_BYTES], value[API_PART_BYTES]; // value: without escapes
	} parts[API_MOST_PARTS];
};

// path: as it came, with escapes, without a query. method: enum api_method, or any other number for one that
// no route has.
void api_match(unsigned method, const char *path, struct api_match *ret);

const char *api_method_name(enum api_method method);
// API_METHODS: it is none of ours. HEAD is API_GET.
enum api_method api_method_find(const char *name);
// Into *ret, of n bytes, "GET, HEAD, PATCH".
void api_print_methods(unsigned methods, char *ret, size_t n);

// Whether a part is in braces; then its name.
bool api_part_is_field(const char *part, size_t n);

// Takes %XX out of text, in place. False: not well-formed, or a control character.
bool api_unescape(char *text);

#endif
