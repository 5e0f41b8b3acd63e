// SPDX-License-Identifier: Apache-2.0
// Makes text of strangers harmless for a terminal; see the header. Used by everything in vgpu-admin that
// prints.
#include "admin/text.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "common/cleanup.h"

static bool beyond_ascii;

void text_init(void)
{
	beyond_ascii = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

// The character at text, or -1 with *ret_len 1: not UTF-8 (overlong forms, surrogates and the like included).
static int32_t decode(const char *text, size_t len, size_t *ret_len)
{
	static const struct {
		unsigned char mask, lead;
		int32_t least;
	} forms[] = { { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };
	unsigned char first = (unsigned char)text[0];

	*ret_len = 1;
	if (first < 0x80)
		return first;
	for (size_t more = 1; more <= 3; more++) {
		int32_t c = first & ~forms[more - 1].mask;

		if ((first & forms[more - 1].mask) != forms[more - 1].lead)
			continue;
		if (len <= more)
			return -1;
		for (size_t i = 1; i <= more; i++) {
			if (((unsigned char)text[i] & 0xc0) != 0x80)
				return -1;
			c = c << 6 | ((unsigned char)text[i] & 0x3f);
		}
		if (c < forms[more - 1].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return -1;
		*ret_len = more + 1;
		return c;
	}
	return -1;
}

// Columns of a character; 0: it is not to be shown as it is (controls, marks that overlay others, direction).
static unsigned columns(int32_t c)
{
	int n;

	if (c < 0x80)
		return c >= 0x20 && c < 0x7f;
	if (!beyond_ascii || !iswprint((wint_t)c))
		return 0;
	n = wcwidth((wchar_t)c);
	return n > 0 ? (unsigned)n : 0;
}

void text_put(FILE *out, const char *text, size_t len)
{
	while (len) {
		size_t n;
		int32_t c = decode(text, len, &n);

		if (c == '\\')
			fputs("\\\\", out);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c == '\t')
			fputs("\\t", out);
		else if (c >= 0 && columns(c))
			fwrite(text, 1, n, out);
		else if (c < 0x80)
			fprintf(out, "\\x%02x", (unsigned char)text[0]);
		else
			fprintf(out, "\\u{%x}", (unsigned)c);
		text += n;
		len -= n;
	}
}

char *text_clean(const char *text)
{
	char *clean = NULL;
	size_t n = 0;
	FILE *out = text_memory(open_memstream(&clean, &n));

	text_put(out, text, strlen(text));
	if (fclose(out) != 0)
		text_memory(NULL);
	return clean;
}

static void put_unit(FILE *out, unsigned unit)
{
	fprintf(out, "\\u%04x", unit);
}

void text_put_json(FILE *out, const char *text, size_t len)
{
	while (len) {
		size_t n;
		int32_t c = decode(text, len, &n);

		if (c == '\r') // white space between values
			fputc(' ', out);
		else if (!c) // which the parser passes over
			;
		else if (c == '\n' || c == '\t' || (c >= 0 && columns(c)))
			fwrite(text, 1, n, out);
		else if (c > 0xffff) {
			put_unit(out, 0xd800 + ((unsigned)(c - 0x10000) >> 10));
			put_unit(out, 0xdc00 + ((unsigned)(c - 0x10000) & 0x3ff));
		} else {
			put_unit(out, c >= 0 ? (unsigned)c : 0xfffd);
		}
		text += n;
		len -= n;
	}
}

unsigned text_width(const char *clean)
{
	size_t len = strlen(clean);
	unsigned width = 0;

	while (len) {
		size_t n;
		int32_t c = decode(clean, len, &n);

		width += c >= 0 ? columns(c) : 1;
		clean += n;
		len -= n;
	}
	return width;
}

char *text_cut(const char *clean, unsigned width)
{
	const char *mark = beyond_ascii ? "\u2026" : "~", *at = clean;
	size_t len = strlen(clean);
	unsigned used = 0;

	if (text_width(clean) <= width)
		return text_print("%s", clean);
	while (len) {
		size_t n;
		int32_t c = decode(at, len, &n);
		unsigned more = c >= 0 ? columns(c) : 1;

		if (used + more + 1 > width)
			break;
		used += more;
		at += n;
		len -= n;
	}
	return text_print("%.*s%s", (int)(at - clean), clean, width ? mark : "");
}

char *text_print(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	return text_memory(n < 0 ? NULL : text);
}

void *text_memory(void *p)
{
	if (!p) {
		fputs("vgpu-admin: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return p;
}
