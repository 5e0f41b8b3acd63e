// SPDX-License-Identifier: Apache-2.0
// What install and uninstall did or would do, as a table or JSON. In vgpu-admin.
#include <stdarg.h>
#include <string.h>

#include "admin/cloudstack/cloudstack.h"
#include "admin/cloudstack/install.h"
#include "admin/text.h"
#include "common/cleanup.h"

static const struct view_column columns[] = {
	{ "DONE", "action", FORMAT_TEXT },
	{ "MODE", "mode", FORMAT_TEXT, .drop = 1 },
	{ "FILE", "path", FORMAT_TEXT },
	{ "CHANGE", "detail", FORMAT_TEXT },
	{ 0 },
};

json_t *install_report(void)
{
	return json_pack("{s:b, s:[], s:[]}", "changes", 0, "files", "next");
}

void install_add_row(json_t *report, const char *action, const char *path, unsigned mode, const char *detail)
{
	cleanup_free char *octal = mode ? text_print("%04o", mode) : NULL;

	json_array_append_new(json_object_get(report, "files"),
			      json_pack("{s:s, s:s?, s:s, s:s?}", "action", action, "mode", octal, "path",
					path, "detail", detail));
	if (strcmp(action, INSTALL_UNCHANGED) != 0)
		json_object_set_new(report, "changes", json_true());
}

void install_add_next(json_t *report, const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text_memory(NULL);
	va_end(args);
	json_array_append_new(json_object_get(report, "next"), json_string(text));
}

void install_print(struct admin_call *c, const json_t *report, const char *none)
{
	static const struct view view = { "files", "", columns, 0 };
	const json_t *next = json_object_get(report, "next"), *step;
	FILE *out = c->output.out;
	size_t i;

	if (c->json) {
		cloudstack_print_json(&(struct cloudstack){ .call = c }, report);
		return;
	}
	if (json_is_true(json_object_get(report, "changes")))
		view_print(&view, report, &c->output);
	else
		fprintf(out, "%s\n", none);
	if (json_array_size(next))
		fputs("\nTo be done now:\n", out);
	json_array_foreach((json_t *)next, i, step)
	{
		fprintf(out, "  %zu. %s\n", i + 1, json_string_value(step));
	}
}
