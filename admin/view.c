// SPDX-License-Identifier: Apache-2.0
// Answers as tables and lines; see the header.
#include "admin/view.h"

#include <stdlib.h>
#include <string.h>

#include "admin/items.h"
#include "admin/text.h"
#include "common/cleanup.h"

const json_t *view_at(const json_t *object, const char *path)
{
	while (object) {
		size_t n = strcspn(path, ".");
		char name[64];

		if (n >= sizeof(name) || !json_is_object(object))
			return NULL;
		memcpy(name, path, n);
		name[n] = 0;
		object = json_object_get(object, name);
		if (!path[n])
			return object;
		path += n + 1;
	}
	return NULL;
}

void view_print_list(const struct view *v, const json_t *list, const struct output *o)
{
	struct table_column *columns;
	struct table *table;
	size_t n = 0, row;
	json_t *object;

	while (v->columns[n].title)
		n++;
	columns = text_memory(calloc(n, sizeof(*columns)));
	for (size_t i = 0; i < n; i++)
		columns[i] = (struct table_column){ .title = v->columns[i].title,
						    .right = format_is_number(v->columns[i].format),
						    .cut = v->columns[i].cut,
						    .drop = v->columns[i].drop };
	table = table_new(columns, n);
	json_array_foreach(list, row, object)
	{
		for (size_t i = 0; i < n; i++) {
			enum colour colour;
			char *text =
			    format_value(view_at(object, v->columns[i].path), v->columns[i].format, &colour);

			table_add(table, text, colour);
		}
	}
	table_print(table, o->out, o->width, o->colours);
	table_free(table);
	free(columns);
}

static void print_line(const struct output *o, int width, const char *title, const char *text,
		       enum colour colour)
{
	if (!o->colours)
		colour = COLOUR_NONE;
	fprintf(o->out, "%-*s  %s%s%s\n", width, title, colour_begin(colour), text, colour_end(colour));
}

void view_print_object(const struct view *v, const json_t *object, const struct output *o)
{
	// Where policies are told in an object of their own; a profile says only some items.
	const json_t *policy = json_object_get(object, "policy");
	int width = items_longest_name(v->items);

	for (const struct view_column *c = v->columns; c->title; c++) {
		if ((int)strlen(c->title) > width)
			width = (int)strlen(c->title);
	}
	for (const struct view_column *c = v->columns; c->title; c++) {
		enum colour colour;
		cleanup_free char *text = format_value(view_at(object, c->path), c->format, &colour);

		print_line(o, width, c->title, text[0] ? text : "no", colour);
	}
	for (unsigned i = 0; v->items && i < POLICY_ITEMS; i++) {
		const json_t *value = json_object_get(policy ? policy : object, policy_name(i));
		cleanup_free char *text = NULL;
		enum colour colour;

		if (!policy_is_for(i, v->items) || !(json_is_number(value) || json_is_string(value)))
			continue;
		text = format_value(value, items_format(i), &colour);
		print_line(o, width, policy_name(i), text, colour);
	}
}

void view_print(const struct view *v, const json_t *answer, const struct output *o)
{
	const json_t *list = v->list ? json_object_get(answer, v->list) : NULL;

	if (!v->list)
		view_print_object(v, answer, o);
	else if (json_array_size(list))
		view_print_list(v, list, o);
	else
		fprintf(o->out, "%s\n", v->none);
}
