// SPDX-License-Identifier: Apache-2.0
// Tables; see the header. Used by views and by the frames of top.
#include "admin/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "admin/text.h"

#define GAP	  2 // columns between two cells
#define LEAST_CUT 8 // a column that may be cut keeps so many

struct cell {
	char *text;
	unsigned width;
	enum colour colour;
};

struct table {
	const struct table_column *columns;
	size_t n_columns, n_cells, room;
	struct cell *cells;
	unsigned *widths;
	bool *dropped;
};

static const char *const sequences[COLOURS] = {
	[COLOUR_NONE] = "",	     [COLOUR_GOOD] = "\033[32m", [COLOUR_WARNING] = "\033[33m",
	[COLOUR_BAD] = "\033[1;31m", [COLOUR_DIM] = "\033[2m",	 [COLOUR_TITLE] = "\033[1m",
};

const char *colour_begin(enum colour c)
{
	return sequences[c];
}

const char *colour_end(enum colour c)
{
	return c == COLOUR_NONE ? "" : "\033[0m";
}

struct table *table_new(const struct table_column *columns, size_t n)
{
	struct table *t = text_memory(calloc(1, sizeof(*t)));

	t->columns = columns;
	t->n_columns = n;
	t->widths = text_memory(calloc(n, sizeof(*t->widths)));
	t->dropped = text_memory(calloc(n, sizeof(*t->dropped)));
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t->widths);
	free(t->dropped);
	free(t);
}

void table_add(struct table *t, char *text, enum colour colour)
{
	if (t->n_cells == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->cells = text_memory(reallocarray(t->cells, t->room, sizeof(*t->cells)));
	}
	t->cells[t->n_cells++] = (struct cell){ .text = text, .width = text_width(text), .colour = colour };
}

static void measure(struct table *t)
{
	for (size_t i = 0; i < t->n_columns; i++)
		t->widths[i] = text_width(t->columns[i].title);
	for (size_t i = 0; i < t->n_cells; i++) {
		unsigned *width = &t->widths[i % t->n_columns];

		if (t->cells[i].width > *width)
			*width = t->cells[i].width;
	}
}

static unsigned total(const struct table *t)
{
	unsigned sum = 0;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!t->dropped[i])
			sum += t->widths[i] + (sum ? GAP : 0);
	}
	return sum;
}

// Narrows the widest of the columns that may be cut, a little at a time, so that none suffers alone.
static void cut_to(struct table *t, unsigned width)
{
	for (unsigned sum = total(t); sum > width; sum--) {
		size_t widest = t->n_columns;

		for (size_t i = 0; i < t->n_columns; i++) {
			if (!t->dropped[i] && t->columns[i].cut && t->widths[i] > LEAST_CUT &&
			    (widest == t->n_columns || t->widths[i] > t->widths[widest]))
				widest = i;
		}
		if (widest == t->n_columns)
			return;
		t->widths[widest]--;
	}
}

static bool drop_one(struct table *t)
{
	size_t worst = t->n_columns;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!t->dropped[i] && t->columns[i].drop &&
		    (worst == t->n_columns || t->columns[i].drop > t->columns[worst].drop))
			worst = i;
	}
	if (worst == t->n_columns)
		return false;
	t->dropped[worst] = true;
	return true;
}

static unsigned fit(struct table *t, unsigned width)
{
	unsigned dropped = 0;

	memset(t->dropped, 0, t->n_columns * sizeof(*t->dropped));
	measure(t);
	if (!width)
		return 0;
	cut_to(t, width);
	while (total(t) > width && drop_one(t)) {
		dropped++;
		measure(t); // what was cut may have room now
		cut_to(t, width);
	}
	return dropped;
}

static void print_cell(const struct table *t, FILE *out, size_t column, const char *text, enum colour colour,
		       bool last)
{
	char *cut = text_cut(text, t->widths[column]);
	unsigned pad = t->widths[column] - text_width(cut);
	bool right = t->columns[column].right;

	fprintf(out, "%*s%s%s%s", right ? (int)pad : 0, "", colour_begin(colour), cut, colour_end(colour));
	if (!last)
		fprintf(out, "%*s", (right ? 0 : (int)pad) + GAP, "");
	free(cut);
}

unsigned table_print(struct table *t, FILE *out, unsigned width, bool colours)
{
	const size_t n = t->n_columns;
	unsigned dropped = fit(t, width);
	size_t last = 0;

	assert(n);
	for (size_t i = 0; i < n; i++) {
		if (!t->dropped[i])
			last = i;
	}
	for (size_t i = 0; i < n; i++) {
		if (!t->dropped[i])
			print_cell(t, out, i, t->columns[i].title, colours ? COLOUR_TITLE : COLOUR_NONE,
				   i == last);
	}
	fputc('\n', out);
	for (size_t i = 0; i < t->n_cells; i++) {
		const struct cell *c = &t->cells[i];
		size_t column = i % n;

		if (!t->dropped[column])
			print_cell(t, out, column, c->text, colours ? c->colour : COLOUR_NONE,
				   column == last);
		if (column == n - 1)
			fputc('\n', out);
	}
	return dropped;
}
