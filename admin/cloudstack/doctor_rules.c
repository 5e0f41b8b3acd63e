// SPDX-License-Identifier: Apache-2.0
// Reading texts of the host; see the header. For doctor, in vgpu-admin.
#include "admin/cloudstack/doctor_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"

// ---- versions ----

bool rules_version(const char *text, const char *mark, struct rules_version *ret)
{
	const char *at = strstr(text, mark);

	return at && sscanf(at + strlen(mark), "%u.%u", &ret->major, &ret->minor) == 2;
}

bool rules_at_least(struct rules_version v, unsigned major, unsigned minor)
{
	return v.major > major || (v.major == major && v.minor >= minor);
}

bool rules_jar(const char *file, struct rules_version *ret)
{
	static const char begin[] = "cloud-plugin-hypervisor-kvm-";

	return strncmp(file, begin, sizeof(begin) - 1) == 0 && rules_version(file, begin, ret);
}

// ---- users ----

// The field of the line (from 0), of a text of lines and colons, whose first field is name; to be
// freed. NULL: there is no such line.
static char *field_of(const char *text, const char *name, unsigned field)
{
	size_t n = strlen(name);

	for (; text && *text; text += strcspn(text, "\n"), text += *text == '\n') {
		const char *p = text;

		if (strncmp(text, name, n) != 0 || text[n] != ':')
			continue;
		for (unsigned i = 0; i < field && *p != '\n' && *p; i++) {
			p += strcspn(p, ":\n");
			p += *p == ':';
		}
		return text_print("%.*s", (int)strcspn(p, ":\n"), p);
	}
	return NULL;
}

static bool is_in_list(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (; *list; list += strcspn(list, ","), list += *list == ',') {
		if (strcspn(list, ",") == n && strncmp(list, word, n) == 0)
			return true;
	}
	return false;
}

bool rules_in_group(const char *groups, const char *users, const char *group, const char *user)
{
	cleanup_free char *members = field_of(groups, group, 3);
	cleanup_free char *number = field_of(groups, group, 2);
	cleanup_free char *first = field_of(users, user, 3);

	if (members && is_in_list(members, user))
		return true;
	return number && first && number[0] && strcmp(number, first) == 0;
}

// ---- /proc ----

// "a b" at the beginning of a line.
static const char *find_line(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		if (strncmp(text, name, n) == 0)
			return text + n;
	}
	return NULL;
}

long long rules_started(const char *process_stat, const char *stat, long ticks)
{
	const char *boot = find_line(stat, "btime "), *p = strrchr(process_stat, ')');
	unsigned long long start;

	// The second field is the program's name in brackets, the 22nd the start.
	for (unsigned field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!boot || !p || ticks <= 0 || sscanf(p, "%llu", &start) != 1)
		return -1;
	return strtoll(boot, NULL, 10) + (long long)(start / (unsigned long long)ticks);
}

long long rules_meminfo(const char *text, const char *name)
{
	cleanup_free char *begin = text_print("%s:", name);
	const char *p = find_line(text, begin);
	long long n;

	return p && sscanf(p, "%lld", &n) == 1 ? n : -1;
}

bool rules_is_program(const char *cmdline, size_t n, const char *program)
{
	const char *slash = n ? strrchr(cmdline, '/') : NULL;

	return n && strcmp(slash ? slash + 1 : cmdline, program) == 0;
}

bool rules_is_java(const char *cmdline, size_t n, const char *class)
{
	bool java = rules_is_program(cmdline, n, "java") || rules_is_program(cmdline, n, "jsvc");

	for (size_t i = 0; java && i < n; i += strlen(cmdline + i) + 1) {
		if (strcmp(cmdline + i, class) == 0)
			return true;
	}
	return false;
}
