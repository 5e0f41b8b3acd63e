// SPDX-License-Identifier: Apache-2.0
// Text that comes from the server and goes to a terminal. Names of tenants are their own choice: what moves a
// cursor, changes colours or the direction of writing is shown as an escape, never sent.
#ifndef VGPU_ADMIN_TEXT_H
#define VGPU_ADMIN_TEXT_H

#include <stddef.h>
#include <stdio.h>

// Whether characters beyond ASCII can be shown; main() asks the locale. Without a call none can.
void text_init(void);

// Writes len bytes so that they are harmless on one line; a backslash becomes two.
void text_put(FILE *out, const char *text, size_t len);
// The same as a string, to be freed. Never NULL.
char *text_clean(const char *text);

// A JSON document as it is, but for characters inside of its strings that a terminal would act on: they are
// written as \u escapes, which mean the same.
void text_put_json(FILE *out, const char *text, size_t len);

// Columns that a clean text takes.
unsigned text_width(const char *clean);
// The text cut to that many columns, with a mark at its end if something is missing; to be freed.
char *text_cut(const char *clean, unsigned width);

// printf to a new string, to be freed; never NULL: a program that has no memory for a line ends.
char *text_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *text_memory(void *p); // p, or the end of the program when it is NULL

#endif
