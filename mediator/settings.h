// SPDX-License-Identifier: Apache-2.0
// The mediator's settings: one value for each line of settings.def, from defaults, an INI file and
// section.key=value words, in that order. Used by main.c and the unit tests; everybody else reads the
// structure.
#ifndef VGPU_MEDIATOR_SETTINGS_H
#define VGPU_MEDIATOR_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/limits.h"
#include "mediator/limit/policy.h"
#include "protocol/host/link.h"

#define SETTING_TEXT_BYTES 256

// Where a value comes from.
enum settings_source { SETTINGS_DEFAULT, SETTINGS_FILE, SETTINGS_COMMAND_LINE };

// A [pool NAME] or [profile NAME] section.
struct named_policy {
	char name[VGPU_MAX_POLICY_NAME + 1];
	struct policy policy;	     // what was given
	enum settings_source source; // of its last value
};

enum setting_index {
#define TEXT(section, key, ...)	  SETTING_##section##_##key,
#define CHOICE(section, key, ...) SETTING_##section##_##key,
#define MODE(section, key, ...)	  SETTING_##section##_##key,
#define NUMBER(section, key, ...) SETTING_##section##_##key,
#define SIZE(section, key, ...)	  SETTING_##section##_##key,
#define TIME(section, key, ...)	  SETTING_##section##_##key,
#include "mediator/settings.def"
#undef TEXT
#undef CHOICE
#undef MODE
#undef NUMBER
#undef SIZE
#undef TIME
	SETTINGS
};

struct settings {
	struct named_policy pools[VGPU_MAX_POOLS], profiles[VGPU_MAX_PROFILES];
	unsigned n_pools, n_profiles;
	enum settings_source from; // what is being read
	enum settings_source source[SETTINGS];
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

void settings_init(struct settings *s); // what is set next is taken for the command line's

// Sets one value. Returns 0, or -EINVAL with *error saying what is wrong (name, value and what would be
// right).
int settings_set(struct settings *s, const char *section, const char *key, const char *value, char *error,
		 size_t error_bytes);

// The same for a section "pool NAME" or "profile NAME". -ENOENT: it is neither.
int settings_set_named(struct settings *s, const char *section, const char *key, const char *value,
		       char *error, size_t error_bytes);
// NULL: there is none of that name.
const struct named_policy *settings_profile(const struct settings *s, const char *name);
int settings_check_named(const struct settings *s, char *error, size_t error_bytes);

// Whether a pool or profile may have that name: [A-Za-z0-9_-], at most VGPU_MAX_POLICY_NAME of them.
bool settings_name_is_valid(const char *name);

// "section.key=value", as on the command line. As settings_set.
int settings_set_word(struct settings *s, const char *word, char *error, size_t error_bytes);

// Reads an INI file. 0; -EINVAL with "FILE:LINE: ..." in error; or -errno when it cannot be read.
int settings_read_file(struct settings *s, const char *path, char *error, size_t error_bytes);

// Rules between values. 0 or -EINVAL with error.
int settings_check(const struct settings *s, char *error, size_t error_bytes);

// One setting as it is in force, for those who show all of them. No value is a secret: secrets lie in files
// that settings name.
struct setting_view {
	const char *section, *key, *help;
	const char *text, *default_text; // NULL: a number
	uint64_t number, default_number;
	char shown[40]; // a number as people write it
	enum settings_source source;
};
void settings_view(const struct settings *s, enum setting_index i, struct setting_view *ret);
const char *settings_source_name(enum settings_source source);

// The documentation, as text of at most width columns.
void settings_print_help(FILE *out, int width);

#endif
