// SPDX-License-Identifier: Apache-2.0
// The mediator's settings, all of it driven by settings.def: parsing, ranges, error texts, documentation.
// Runs in the mediator before the loop starts.
#include "mediator/settings.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

enum kind { KIND_TEXT, KIND_CHOICE, KIND_MODE, KIND_NUMBER, KIND_SIZE, KIND_TIME };

struct setting {
	const char *section, *key;
	enum kind kind;
	size_t offset;
	const char *text;  // default of a text or choice
	const char *words; // of a choice
	uint64_t number, least, most;
	const char *help;
};

#define AT(section, key) offsetof(struct settings, section##_##key)
#define TEXT(section, key, def, help) \
	{ #section, #key, KIND_TEXT, AT(section, key), def, NULL, 0, 0, 0, help },
#define CHOICE(section, key, def, words, help) \
	{ #section, #key, KIND_CHOICE, AT(section, key), def, words, 0, 0, 0, help },
#define MODE(section, key, def, help) \
	{ #section, #key, KIND_MODE, AT(section, key), NULL, NULL, def, 0, 0777, help },
#define NUMBER(section, key, def, lo, hi, help) \
	{ #section, #key, KIND_NUMBER, AT(section, key), NULL, NULL, def, lo, hi, help },
#define SIZE(section, key, def, lo, hi, help) \
	{ #section, #key, KIND_SIZE, AT(section, key), NULL, NULL, def, lo, hi, help },
#define TIME(section, key, def, lo, hi, help) \
	{ #section, #key, KIND_TIME, AT(section, key), NULL, NULL, def, lo, hi, help },
static const struct setting table[] = {
#include "mediator/settings.def"
};
#undef TEXT
#undef CHOICE
#undef MODE
#undef NUMBER
#undef SIZE
#undef TIME

#define N_SETTINGS SETTINGS
_Static_assert(sizeof(table) / sizeof(table[0]) == SETTINGS, "one each");

static const struct unit *units_of(enum kind kind)
{
	return kind == KIND_SIZE ? unit_sizes : kind == KIND_TIME ? unit_times : unit_none;
}

static void print_number(char *text, size_t n, const struct setting *t, uint64_t value)
{
	if (t->kind == KIND_MODE) {
		snprintf(text, n, "%04" PRIo64, value);
		return;
	}
	if (t->kind == KIND_SIZE && value == UINT64_MAX) {
		snprintf(text, n, "2^64-1");
		return;
	}
	unit_print(text, n, units_of(t->kind), value);
}

static const struct setting *find(const char *section, const char *key)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		if (strcmp(table[i].section, section) == 0 && strcmp(table[i].key, key) == 0)
			return &table[i];
	}
	return NULL;
}

static bool is_word_of(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *p = words; p; p = strchr(p, '|'), p = p ? p + 1 : NULL) {
		if (strcspn(p, "|") == n && memcmp(p, value, n) == 0)
			return true;
	}
	return false;
}

static int set_text(struct settings *s, const struct setting *t, const char *value, char *error, size_t n)
{
	char *place = (char *)s + t->offset;
	size_t length = strlen(value);

	if (t->kind == KIND_CHOICE && !is_word_of(t->words, value)) {
		snprintf(error, n, "%s.%s: '%.80s' is not one of %s", t->section, t->key, value, t->words);
		return -EINVAL;
	}
	if (length >= SETTING_TEXT_BYTES) {
		snprintf(error, n, "%s.%s: longer than %d bytes", t->section, t->key, SETTING_TEXT_BYTES - 1);
		return -EINVAL;
	}
	memcpy(place, value, length + 1);
	return 0;
}

static int set_number(struct settings *s, const struct setting *t, const char *value, char *error, size_t n)
{
	static const char *const what[] = {
		[KIND_MODE] = "octal permission bits",
		[KIND_NUMBER] = "a number",
		[KIND_SIZE] = "a size (suffixes K, M, G, T)",
		[KIND_TIME] = "a time with its unit (ns, us, ms, s)",
	};
	char least[40], most[40];
	uint64_t number;

	if (unit_parse(value, t->kind == KIND_MODE ? 8 : 10, units_of(t->kind), &number) < 0) {
		snprintf(error, n, "%s.%s: '%.80s' is not %s", t->section, t->key, value, what[t->kind]);
		return -EINVAL;
	}
	if (number < t->least || number > t->most) {
		print_number(least, sizeof(least), t, t->least);
		print_number(most, sizeof(most), t, t->most);
		snprintf(error, n, "%s.%s: '%.80s' is not between %s and %s", t->section, t->key, value,
			 least, most);
		return -EINVAL;
	}
	memcpy((char *)s + t->offset, &number, sizeof(number));
	return 0;
}

int settings_set(struct settings *s, const char *section, const char *key, const char *value, char *error,
		 size_t error_bytes)
{
	const struct setting *t = find(section, key);
	int r;

	if (!t) {
		r = settings_set_named(s, section, key, value, error, error_bytes);
		if (r != -ENOENT)
			return r;
		snprintf(error, error_bytes, "unknown setting '%.60s.%.60s' (--help-settings lists them)",
			 section, key);
		return -EINVAL;
	}
	if (t->kind == KIND_TEXT || t->kind == KIND_CHOICE)
		r = set_text(s, t, value, error, error_bytes);
	else
		r = set_number(s, t, value, error, error_bytes);
	if (r == 0)
		s->source[t - table] = s->from;
	return r;
}

int settings_set_word(struct settings *s, const char *word, char *error, size_t error_bytes)
{
	const char *equals = strchr(word, '=');
	const char *dot = strchr(word, '.');
	char section[64], key[64];

	if (!equals || !dot || dot > equals || (size_t)(dot - word) >= sizeof(section) ||
	    (size_t)(equals - dot - 1) >= sizeof(key)) {
		snprintf(error, error_bytes, "'%.80s' is not section.key=value", word);
		return -EINVAL;
	}
	snprintf(section, sizeof(section), "%.*s", (int)(dot - word), word);
	snprintf(key, sizeof(key), "%.*s", (int)(equals - dot - 1), dot + 1);
	return settings_set(s, section, key, equals + 1, error, error_bytes);
}

struct reading {
	struct settings *settings;
	FILE *file;
	int line, error_line;
	bool seen[N_SETTINGS];
	char error[400]; // the first one
};

static int read_one(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;
	const struct setting *t;

	if (r->error[0])
		return 0;
	r->error_line = r->line;
	if (!section[0]) {
		snprintf(r->error, sizeof(r->error), "'%.60s' stands before any [section]", name);
		return 0;
	}
	if (settings_set(r->settings, section, name, value ? value : "", r->error, sizeof(r->error)) < 0)
		return 0;
	t = find(section, name);
	if (!t) // of a named section
		return 1;
	if (r->seen[t - table]) {
		snprintf(r->error, sizeof(r->error), "%s.%s is set twice", section, name);
		return 0;
	}
	r->seen[t - table] = true;
	return 1;
}

// inih asks for each line here, so the handler knows where it is.
static char *next_line(char *line, int room, void *user)
{
	struct reading *r = user;

	r->line++;
	return fgets(line, room, r->file);
}

int settings_read_file(struct settings *s, const char *path, char *error, size_t error_bytes)
{
	struct reading r = { .settings = s };
	FILE *f = fopen(path, "re");
	int line;

	if (!f) {
		int saved = errno;

		snprintf(error, error_bytes, "%s: %s", path, strerror(saved));
		return -saved;
	}
	r.file = f;
	s->from = SETTINGS_FILE;
	line = ini_parse_stream(next_line, &r, read_one, &r);
	s->from = SETTINGS_COMMAND_LINE;
	fclose(f);
	if (!line)
		return 0;
	snprintf(error, error_bytes, "%s:%d: %s", path, line > 0 ? line : 0,
		 r.error[0] && r.error_line == line
		     ? r.error
		     : "not an INI line (section in brackets, key = value, at most 199 bytes)");
	return -EINVAL;
}

int settings_check(const struct settings *s, char *error, size_t error_bytes)
{
	if (s->turn_shortest > s->turn_length) {
		snprintf(error, error_bytes, "turn.shortest is longer than turn.length");
		return -EINVAL;
	}
	if (s->turn_overrun > s->turn_watchdog) {
		snprintf(error, error_bytes, "turn.overrun is longer than turn.watchdog");
		return -EINVAL;
	}
	if (strlen(s->paths_run_directory) > 80 || s->paths_run_directory[0] != '/') {
		snprintf(error, error_bytes,
			 "paths.run_directory must be an absolute path of at most 80 bytes");
		return -EINVAL;
	}
	if (s->paths_socket[0] != '/' || strlen(s->paths_socket) > 107) {
		snprintf(error, error_bytes, "paths.socket must be an absolute path of at most 107 bytes");
		return -EINVAL;
	}
	if (s->control_socket[0] && strcmp(s->control_socket, "none") != 0 &&
	    (s->control_socket[0] != '/' || strlen(s->control_socket) > 107)) {
		snprintf(error, error_bytes,
			 "control.socket must be 'none' or an absolute path of at most 107 bytes");
		return -EINVAL;
	}
	if (s->api_socket[0] && strcmp(s->api_socket, "none") != 0 &&
	    (s->api_socket[0] != '/' || strlen(s->api_socket) > 107)) {
		snprintf(error, error_bytes,
			 "api.socket must be 'none' or an absolute path of at most 107 bytes");
		return -EINVAL;
	}
	if (s->api_listen[0] && (!s->api_certificate[0] || !s->api_key[0] || !s->api_tokens[0])) {
		snprintf(error, error_bytes,
			 "api.listen needs api.certificate, api.key and api.tokens: nothing is served in the "
			 "clear");
		return -EINVAL;
	}
	if (s->store_path[0] && s->store_path[0] != '/') {
		snprintf(error, error_bytes, "store.path must be an absolute path");
		return -EINVAL;
	}
	return settings_check_named(s, error, error_bytes);
}

void settings_init(struct settings *s)
{
	memset(s, 0, sizeof(*s));
	s->from = SETTINGS_COMMAND_LINE;
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *t = &table[i];
		char *place = (char *)s + t->offset;

		if (t->text)
			memcpy(place, t->text, strlen(t->text) + 1);
		else
			memcpy(place, &t->number, sizeof(t->number));
	}
}

void settings_view(const struct settings *s, enum setting_index i, struct setting_view *ret)
{
	const struct setting *t = &table[i];
	const char *place = (const char *)s + t->offset;

	*ret = (struct setting_view){
		.section = t->section,
		.key = t->key,
		.help = t->help,
		.source = s->source[i],
		.default_text = t->text,
		.default_number = t->number,
	};
	if (t->text) {
		ret->text = place;
		return;
	}
	memcpy(&ret->number, place, sizeof(ret->number));
	print_number(ret->shown, sizeof(ret->shown), t, ret->number);
}

const char *settings_source_name(enum settings_source source)
{
	static const char *const names[] = {
		[SETTINGS_DEFAULT] = "default",
		[SETTINGS_FILE] = "file",
		[SETTINGS_COMMAND_LINE] = "command line",
	};

	return names[source];
}

static void print_wrapped(FILE *out, const char *text, int indent, int width)
{
	int column = 0;

	while (*text) {
		int n = (int)strcspn(text, " ");

		if (column && column + 1 + n > width) {
			fputc('\n', out);
			column = 0;
		}
		if (!column)
			column = fprintf(out, "%*s%.*s", indent, "", n, text);
		else
			column += fprintf(out, " %.*s", n, text);
		text += n;
		while (*text == ' ')
			text++;
	}
	fputc('\n', out);
}

static int help_width;

static void print_policy_help(FILE *out, const char *help)
{
	print_wrapped(out, help, 6, help_width);
}

void settings_print_help(FILE *out, int width)
{
	const char *section = "";

	fprintf(out, "Settings of vgpu-mediator, in a file (--config FILE) or as --set section.key=value.\n");
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *t = &table[i];
		char def[40], least[40], most[40];

		if (strcmp(section, t->section) != 0)
			fprintf(out, "\n[%s]\n", t->section);
		section = t->section;
		if (t->text) {
			fprintf(out, "  %s = %s%s%s\n", t->key, t->text[0] ? t->text : "(empty)",
				t->words ? "        one of " : "", t->words ? t->words : "");
		} else {
			print_number(def, sizeof(def), t, t->number);
			print_number(least, sizeof(least), t, t->least);
			print_number(most, sizeof(most), t, t->most);
			fprintf(out, "  %s = %s        %s to %s\n", t->key, def, least, most);
		}
		print_wrapped(out, t->help, 6, width);
	}
	help_width = width;
	fprintf(out, "\n[pool NAME]\n");
	policy_print_help(out, POLICY_FOR_POOL, print_policy_help);
	fprintf(out, "\n[profile NAME]\n");
	policy_print_help(out, POLICY_FOR_PROFILE, print_policy_help);
}
