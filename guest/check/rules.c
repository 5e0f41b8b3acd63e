// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in vgpu-guest-check.
#include "guest/check/rules.h"

#include <ctype.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/version_note.h"

static bool put(char *ret, size_t room, const char *from, size_t length)
{
	if (!room || length >= room)
		return false;
	memcpy(ret, from, length);
	ret[length] = 0;
	return true;
}

// ---- lines and words ----

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

// The next word of a line from *at on, which moves behind it; its length, 0: the line has none.
static size_t next_word(const char **at, const char **word)
{
	const char *p = *at + strspn(*at, " \t\r");
	size_t length = strcspn(p, " \t\r\n");

	*word = p;
	*at = p + length;
	return length;
}

static bool word_is(const char *word, size_t length, const char *text)
{
	return strlen(text) == length && !strncmp(word, text, length);
}

static bool same_module(const char *word, size_t length, const char *module)
{
	if (strlen(module) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((word[i] == '-' ? '_' : word[i]) != (module[i] == '-' ? '_' : module[i]))
			return false;
	return true;
}

bool rule_kernel_version(const char *release, unsigned *major, unsigned *minor)
{
	return sscanf(release, "%4u.%4u", major, minor) == 2;
}

// ---- modules ----

bool rule_modules_has(const char *text, const char *module)
{
	for (const char *line = text; *line; line = next_line(line)) {
		const char *at = line, *word;
		size_t length = next_word(&at, &word);

		if (same_module(word, length, module))
			return true;
	}
	return false;
}

// The module's name of a line "kernel/drivers/x/name.ko.xz: ...", not terminated; its length, 0: none.
static size_t dep_name(const char *line, const char **name)
{
	const char *end = line + strcspn(line, ":\n"), *p = end;

	while (p > line && p[-1] != '/')
		p--;
	*name = p;
	for (; p + 3 <= end; p++)
		if (!strncmp(p, ".ko", 3))
			return (size_t)(p - *name);
	return 0;
}

bool rule_dep_has(const char *text, const char *module)
{
	for (const char *line = text; *line; line = next_line(line)) {
		const char *name;
		size_t length = dep_name(line, &name);

		if (length && same_module(name, length, module))
			return true;
	}
	return false;
}

bool rule_dep_next(const char **at, const char *prefix, char *ret, size_t room)
{
	while (**at) {
		const char *name;
		size_t length = dep_name(*at, &name), head = strlen(prefix);

		*at = next_line(*at);
		if (length >= head && same_module(name, head, prefix) && put(ret, room, name, length)) {
			for (char *p = ret; *p; p++)
				*p = *p == '-' ? '_' : *p;
			return true;
		}
	}
	return false;
}

static bool does_nothing(const char *command, size_t length)
{
	static const char *const commands[] = { "/bin/false", "/bin/true", "/usr/bin/false",
						"/usr/bin/true" };

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (word_is(command, length, commands[i]))
			return true;
	return false;
}

bool rule_modprobe_refuses(const char *text, const char *module)
{
	for (const char *line = text; *line; line = next_line(line)) {
		const char *at = line, *verb, *name, *command;
		size_t verb_length = next_word(&at, &verb), name_length = next_word(&at, &name);

		if (!same_module(name, name_length, module))
			continue;
		if (word_is(verb, verb_length, "blacklist"))
			return true;
		if (word_is(verb, verb_length, "install")) {
			size_t command_length = next_word(&at, &command);

			if (does_nothing(command, command_length))
				return true;
		}
	}
	return false;
}

bool rule_cmdline_refuses(const char *text, const char *module)
{
	const char *at = text, *word;
	size_t length;

	while ((length = next_word(&at, &word))) {
		const char *end = word + length, *name = memchr(word, '=', length);

		if (!name || !(word_is(word, (size_t)(name - word), "module_blacklist") ||
			       word_is(word, (size_t)(name - word), "modprobe.blacklist")))
			continue;
		for (name++; name < end; name++) {
			size_t n = strcspn(name, ", \t\r\n");

			if (same_module(name, n, module))
				return true;
			name += n;
		}
	}
	return false;
}

// ---- values ----

bool rule_chosen(const char *text, char *ret, size_t room)
{
	const char *begin = strchr(text, '['), *end = begin ? strchr(begin, ']') : NULL;

	return end && put(ret, room, begin + 1, (size_t)(end - begin - 1));
}

bool rule_cgroup(const char *text, char *ret, size_t room)
{
	for (const char *line = text; *line; line = next_line(line))
		if (!strncmp(line, "0::", 3))
			return put(ret, room, line + 3, strcspn(line + 3, "\n"));
	return false;
}

bool rule_status(const char *text, const char *name, char *ret, size_t room)
{
	size_t length = strlen(name);

	for (const char *line = text; *line; line = next_line(line))
		if (!strncmp(line, name, length) && line[length] == ':') {
			const char *value = line + length + 1;

			value += strspn(value, " \t");
			return put(ret, room, value, strcspn(value, "\n"));
		}
	return false;
}

bool rule_log_last(const char *text, const char *words, char *ret, size_t room)
{
	bool found = false;

	for (const char *line = text; *line; line = next_line(line)) {
		const char *end = line + strcspn(line, "\n"), *at = strstr(line, words);

		if (line[0] != '<' || line[1] < '0' || line[1] > '4' || line[2] != '>' || !at || at >= end)
			continue;
		at += strlen(words);
		found = put(ret, room, at, at < end ? (size_t)(end - at) : 0) || found;
	}
	return found;
}

bool rule_list_has(const char *list, const char *folder, size_t folder_length)
{
	while (folder_length > 1 && folder[folder_length - 1] == '/')
		folder_length--;
	while (*list) {
		size_t whole = strcspn(list, ":"), length = whole;

		while (length > 1 && list[length - 1] == '/')
			length--;
		if (length == folder_length && !strncmp(list, folder, length))
			return true;
		list += whole;
		list += *list == ':';
	}
	return false;
}

// ---- the loader's cache ----

#define CACHE_MAGIC	     "glibc-ld.so.cache1.1"
#define CACHE_X86_64_LIBC6   0x0303
#define CACHE_MOST_LIBRARIES 65536u

struct cache_header {
	char magic[20];
	uint32_t libraries, string_bytes;
	uint8_t flags, padding[3];
	uint32_t extensions, unused[3];
};

struct cache_library {
	int32_t flags;
	uint32_t name, path; // offsets from the file's begin
	uint32_t os_version;
	uint64_t hwcap; // not 0: of a folder glibc-hwcaps, or an old kind
};

// The text at an offset; NULL where it does not end within the file.
static const char *cache_text(const char *data, size_t bytes, uint32_t offset)
{
	return offset < bytes && memchr(data + offset, 0, bytes - offset) ? data + offset : NULL;
}

enum rule_cache rule_cache_first(const void *data, size_t bytes, const char *name, char *ret, size_t room)
{
	struct cache_header header;

	if (bytes < sizeof(header))
		return RULE_CACHE_UNKNOWN;
	memcpy(&header, data, sizeof(header));
	if (memcmp(header.magic, CACHE_MAGIC, sizeof(header.magic)) != 0 ||
	    header.libraries > CACHE_MOST_LIBRARIES ||
	    header.libraries > (bytes - sizeof(header)) / sizeof(struct cache_library))
		return RULE_CACHE_UNKNOWN;
	for (uint32_t i = 0; i < header.libraries; i++) {
		struct cache_library library;
		const char *its_name, *path;

		memcpy(&library, (const char *)data + sizeof(header) + i * sizeof(library), sizeof(library));
		its_name = cache_text(data, bytes, library.name);
		path = cache_text(data, bytes, library.path);
		if (library.flags == CACHE_X86_64_LIBC6 && its_name && path && !strcmp(its_name, name))
			return put(ret, room, path, strlen(path)) ? RULE_CACHE_FOUND : RULE_CACHE_UNKNOWN;
	}
	return RULE_CACHE_NONE;
}

// ---- notes ----

static size_t aligned(size_t n, size_t align)
{
	return (n + align - 1) / align * align;
}

bool rule_version_note(const void *notes, size_t bytes, size_t align, char *ret, size_t room)
{
	const char *data = notes;
	size_t at = 0;

	align = align == 8 ? 8 : 4;
	while (bytes >= sizeof(Elf64_Nhdr) && at <= bytes - sizeof(Elf64_Nhdr)) {
		size_t name = at + sizeof(Elf64_Nhdr), description, end;
		Elf64_Nhdr note;

		memcpy(&note, data + at, sizeof(note));
		if (note.n_namesz > bytes || note.n_descsz > bytes)
			return false;
		description = aligned(name + note.n_namesz, align);
		end = description + note.n_descsz;
		if (end > bytes)
			return false;
		if (note.n_type == VERSION_NOTE_TYPE && note.n_namesz == sizeof(VERSION_NOTE_OWNER) &&
		    !memcmp(data + name, VERSION_NOTE_OWNER, sizeof(VERSION_NOTE_OWNER)))
			return put(ret, room, data + description, strnlen(data + description, note.n_descsz));
		at = aligned(end, align);
	}
	return false;
}
