// SPDX-License-Identifier: Apache-2.0
// What the unit tests of vgpu-admin share.
#ifndef VGPU_TESTS_UNIT_ADMIN_TEST_H
#define VGPU_TESTS_UNIT_ADMIN_TEST_H

// cmocka wants these before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/text.h"

// A locale in which all characters can be shown.
static inline int group_set_up(void **state)
{
	(void)state;
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return -1;
	text_init();
	return 0;
}

// The string is freed.
static inline void is(char *text, const char *expected)
{
	assert_string_equal(text, expected);
	free(text);
}

// What was written to a stream of memory; freed by the next call.
static inline FILE *memory_open(void);
static char *memory_text;
static size_t memory_bytes;

static inline FILE *memory_open(void)
{
	free(memory_text);
	memory_text = NULL;
	return open_memstream(&memory_text, &memory_bytes);
}

#endif
