// SPDX-License-Identifier: Apache-2.0
// The mediator's settings: one value for each line of settings.def, from defaults, an INI file and
// section.key=value words, in that order. Used by main.c and the unit tests; everybody else reads the
// structure.
#ifndef VGPU_MEDIATOR_SETTINGS_H
#define VGPU_MEDIATOR_SETTINGS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/limits.h"
#include "protocol/host/link.h"

#define SETTING_TEXT_BYTES 256

struct settings {
#define TEXT(section, key, def, help)		char section##_##key[SETTING_TEXT_BYTES];
#define CHOICE(section, key, def, words, help)	char section##_##key[SETTING_TEXT_BYTES];
#define MODE(section, key, def, help)		uint64_t section##_##key;
#define NUMBER(section, key, def, lo, hi, help) uint64_t section##_##key;
#define SIZE(section, key, def, lo, hi, help)	uint64_t section##_##key;
#define TIME(section, key, def, lo, hi, help)	uint64_t section##_##key;
#include "mediator/settings.def"
#undef TEXT
#undef CHOICE
#undef MODE
#undef NUMBER
#undef SIZE
#undef TIME
};

void settings_init(struct settings *s);

// Sets one value. Returns 0, or -EINVAL with *error saying what is wrong (name, value and what would be
// right).
int settings_set(struct settings *s, const char *section, const char *key, const char *value, char *error,
		 size_t error_bytes);

// "section.key=value", as on the command line. As settings_set.
int settings_set_word(struct settings *s, const char *word, char *error, size_t error_bytes);

// Reads an INI file. 0; -EINVAL with "FILE:LINE: ..." in error; or -errno when it cannot be read.
int settings_read_file(struct settings *s, const char *path, char *error, size_t error_bytes);

// Rules between values. 0 or -EINVAL with error.
int settings_check(const struct settings *s, char *error, size_t error_bytes);

// The documentation, as text of at most width columns.
void settings_print_help(FILE *out, int width);

#endif
