// SPDX-License-Identifier: Apache-2.0
// Tables of text for people: columns as wide as what is in them, and no wider than the terminal.
#ifndef VGPU_ADMIN_TABLE_H
#define VGPU_ADMIN_TABLE_H

#include <stdbool.h>
#include <stdio.h>

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARNING, COLOUR_BAD, COLOUR_DIM, COLOUR_TITLE, COLOURS };

struct table_column {
	const char *title;
	bool right;    // numbers
	bool cut;      // may be cut short where there is no room
	unsigned drop; // the column goes where there is still no room, the greatest first; 0: never
};

struct table;

struct table *table_new(const struct table_column *columns, size_t n); // columns are kept by reference
void table_free(struct table *t);

// The next cell, row by row. The text is clean (text.h) and is taken over.
void table_add(struct table *t, char *text, enum colour colour);

// width in columns, 0: no limit. Returns how many columns were left out.
unsigned table_print(struct table *t, FILE *out, unsigned width, bool colours);

const char *colour_begin(enum colour c); // a control sequence; "" for none
const char *colour_end(enum colour c);

#endif
