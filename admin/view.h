// SPDX-License-Identifier: Apache-2.0
// How an answer of the API is shown to people: a list as a table, an object as lines. What the server does
// not tell is "-", so that a client and a server of different versions get along.
#ifndef VGPU_ADMIN_VIEW_H
#define VGPU_ADMIN_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "admin/format.h"

struct view_column {
	const char *title; // NULL ends a list
	const char *path;  // of the value: "name", "held_ns.turn"
	enum format format;
	bool cut; // as of struct table_column
	unsigned drop;
};

struct view {
	const char *list; // the field with the list; NULL: the answer itself is the object
	const char *none; // printed in place of an empty list
	const struct view_column *columns;
	unsigned items; // enum policy_for: the items of policies follow, of an object
};

// Where and how things are printed.
struct output {
	FILE *out;
	unsigned width; // of the terminal; 0: it is none, or lines may be as long as they are
	bool colours;
};

void view_print(const struct view *v, const json_t *answer, const struct output *o);
// The object's lines only.
void view_print_object(const struct view *v, const json_t *object, const struct output *o);
void view_print_list(const struct view *v, const json_t *list, const struct output *o);

// The value at a path of names and dots, or NULL.
const json_t *view_at(const json_t *object, const char *path);

#endif
