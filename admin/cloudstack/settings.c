// SPDX-License-Identifier: Apache-2.0
// Values out of settings; see the header. Runs in vgpu-admin (install, uninstall, doctor).
#include "admin/cloudstack/settings.h"

#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define BLANKS " \t\f\r"

static const char *skip(const char *p, const char *what)
{
	return p + strspn(p, what);
}

static const char *next_line(const char *p)
{
	p += strcspn(p, "\n");
	return *p ? p + 1 : p;
}

// ---- properties ----

// The next line with those that it goes on in, unescaped where that matters; to be freed. NULL:
// there is none.
static char *logical_line(const char **text)
{
	const char *p = skip(*text, BLANKS "\n");
	char *line, *to;

	if (!*p)
		return NULL;
	to = line = text_memory(malloc(strlen(p) + 1));
	for (; *p && *p != '\n'; p++) {
		if (p[0] == '\\' && p[1] == '\n')
			p = skip(p + 2, BLANKS) - 1;
		else if (*p != '\r' || (p[1] != '\n' && p[1]))
			*to++ = *p;
	}
	*to = 0;
	*text = p;
	return line;
}

// The property's value in place, or NULL.
static char *value_of(char *line, const char *key)
{
	size_t n = strlen(key);
	char *p = line + n, *to;

	if (line[0] == '#' || line[0] == '!' || strncmp(line, key, n) != 0 || !strchr(BLANKS "=:", *p))
		return NULL;
	p += strspn(p, BLANKS);
	if (*p == '=' || *p == ':')
		p++;
	p += strspn(p, BLANKS);
	memmove(line, p, strlen(p) + 1);
	for (p = to = line; *p; p++) {
		if (p[0] == '\\' && p[1])
			p++;
		*to++ = *p;
	}
	while (to > line && strchr(BLANKS, to[-1]))
		to--;
	*to = 0;
	return line;
}

char *settings_property(const char *text, const char *key)
{
	char *line, *found = NULL;

	while ((line = logical_line(&text))) {
		char *value = value_of(line, key);

		if (value) {
			free(found);
			found = text_print("%s", value);
		}
		free(line);
	}
	return found;
}

// ---- assignments ----

// From p to the line's end, without the quotes around it or what is behind a #.
static char *plain(const char *p)
{
	size_t n;

	if (*p == '"' || *p == '\'') {
		n = strcspn(p + 1, *p == '"' ? "\"\n" : "'\n");
		return text_print("%.*s", (int)n, p + 1);
	}
	n = strcspn(p, "#\n");
	while (n && strchr(BLANKS, p[n - 1]))
		n--;
	return text_print("%.*s", (int)n, p);
}

char *settings_assignment(const char *text, const char *key)
{
	size_t n = strlen(key);
	char *found = NULL;

	for (; *text; text = next_line(text)) {
		const char *p = skip(text, BLANKS);

		if (strncmp(p, "export ", 7) == 0)
			p = skip(p + 7, BLANKS);
		if (strncmp(p, key, n) != 0)
			continue;
		p = skip(p + n, BLANKS);
		if (*p != '=')
			continue;
		free(found);
		found = plain(skip(p + 1, BLANKS));
	}
	return found;
}

bool settings_are_said(const char *text)
{
	for (; *text; text = next_line(text)) {
		const char *p = skip(text, BLANKS);

		if (*p && !strchr("#;[\n", *p))
			return true;
	}
	return false;
}
