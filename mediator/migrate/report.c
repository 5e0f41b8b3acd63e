// SPDX-License-Identifier: Apache-2.0
// See the header. Pure.
#include "mediator/migrate/report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MOST_DEPTH 4   // of lists and objects; a parser would follow any
#define AHEAD_S	   600 // clocks of guest and host may differ

// Without these a guest was not looked at: a table with nothing failed can be an empty one.
static const char *const needed[] = { "driver",	   "node",	  "host",	  "libcuda",
				      "test-init", "test-kernel", "test-copy-out" };
#define N_NEEDED (sizeof(needed) / sizeof(needed[0]))

static bool too_deep(const char *text, size_t len)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && (text[i] == '{' || text[i] == '['))
			depth++;
		else if (!in_string && (text[i] == '}' || text[i] == ']') && depth)
			depth--;
		if (depth > MOST_DEPTH)
			return true;
	}
	return false;
}

static void printable(char *ret, size_t bytes, const char *text)
{
	size_t n = 0;

	for (; n + 1 < bytes && text && text[n]; n++)
		ret[n] = text[n] < ' ' || text[n] > '~' ? '?' : text[n];
	ret[n] = 0;
}

static int refuse(char *why, const char *text)
{
	snprintf(why, MIGRATE_TEXT_BYTES, "%s", text);
	return -EINVAL;
}

static bool read_time(const char *text, int64_t *ret)
{
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;

	if (!end || *end)
		return false;
	*ret = timegm(&tm);
	return true;
}

static bool read_machine(const json_t *value, char ret[static MIGRATE_MACHINE_BYTES])
{
	const char *text = json_string_value(value);

	ret[0] = 0;
	if (!value || json_is_null(value))
		return true;
	if (!text || strlen(text) != MIGRATE_MACHINE_BYTES - 1 ||
	    strspn(text, "0123456789abcdef") != MIGRATE_MACHINE_BYTES - 1)
		return false;
	memcpy(ret, text, MIGRATE_MACHINE_BYTES);
	return true;
}

static bool read_uuid(const json_t *value, char ret[static VM_UUID_BYTES])
{
	ret[0] = 0;
	return !value || json_is_null(value) ||
	       (json_is_string(value) && vm_uuid_parse(json_string_value(value), ret));
}

static void note_failed(struct migrate_report *r, const json_t *check)
{
	size_t n = strlen(r->why);
	char name[32], text[200], next[200];

	r->ready = false;
	printable(name, sizeof(name), json_string_value(json_object_get(check, "check")));
	printable(text, sizeof(text), json_string_value(json_object_get(check, "text")));
	printable(next, sizeof(next), json_string_value(json_object_get(check, "next")));
	snprintf(r->why + n, sizeof(r->why) - n, "%s%s: %s%s%s", n ? "; " : "", name, text,
		 next[0] ? " -> " : "", next);
}

static void note_missing(struct migrate_report *r, const char *name)
{
	size_t n = strlen(r->why);

	r->ready = false;
	snprintf(r->why + n, sizeof(r->why) - n, "%s%s: not checked", n ? "; " : "", name);
}

// *looked: bits of needed. r->ready: nothing failed.
static bool read_checks(const json_t *list, struct migrate_report *r, unsigned *looked)
{
	const json_t *check;
	size_t i;

	*looked = 0;
	if (!json_is_array(list) || json_array_size(list) > MIGRATE_CHECKS_MOST)
		return false;
	r->ready = true;
	json_array_foreach(list, i, check)
	{
		const char *name = json_string_value(json_object_get(check, "check"));
		const char *state = json_string_value(json_object_get(check, "state"));

		if (!name || !state)
			return false;
		if (strcmp(state, "failed") == 0)
			note_failed(r, check);
		for (unsigned k = 0; k < N_NEEDED; k++)
			if (strcmp(name, needed[k]) == 0 && strcmp(state, "not checked") != 0)
				*looked |= 1u << k;
	}
	return true;
}

static int read_object(const json_t *o, struct migrate_report *ret, char *why)
{
	const json_t *ready = json_object_get(o, "ready");
	unsigned looked;

	if (!json_is_object(o) || !json_is_boolean(ready))
		return refuse(why, "not a report of vgpu-guest-check --json");
	if (!read_time(json_string_value(json_object_get(o, "time")), &ret->at_s))
		return refuse(why, "the report has no time");
	if (!read_uuid(json_object_get(o, "vm_uuid"), ret->vm))
		return refuse(why, "the report's vm_uuid is not a uuid");
	if (!read_machine(json_object_get(o, "machine"), ret->machine))
		return refuse(why, "the report's machine is not 16 hexadecimal digits");
	printable(ret->target, sizeof(ret->target), json_string_value(json_object_get(o, "for")));
	if (!read_checks(json_object_get(o, "checks"), ret, &looked))
		return refuse(why, "the report's list of checks is not one of vgpu-guest-check");
	if (json_is_true(ready) != ret->ready)
		return refuse(why,
			      "the report contradicts itself: ready, and a check that failed, or neither");
	for (unsigned k = 0; k < N_NEEDED; k++)
		if (ret->ready && !(looked & 1u << k))
			note_missing(ret, needed[k]);
	return 0;
}

int migrate_report_parse(const char *text, size_t len, struct migrate_report *ret, char *why)
{
	json_t *o;
	int r;

	*ret = (struct migrate_report){ 0 };
	if (len > MIGRATE_REPORT_MOST) {
		snprintf(why, MIGRATE_TEXT_BYTES, "the report is longer than %d bytes", MIGRATE_REPORT_MOST);
		return -EINVAL;
	}
	o = too_deep(text, len) ? NULL : json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		return refuse(why, "the report is not JSON");
	r = read_object(o, ret, why);
	json_decref(o);
	return r;
}

const char *migrate_report_objection(const struct migrate_report *r, const char *vm, const char *target,
				     int64_t now_s, int64_t age_s, char buffer[static MIGRATE_TEXT_BYTES])
{
	if (r->vm[0] && strcmp(r->vm, vm) != 0)
		snprintf(buffer, MIGRATE_TEXT_BYTES, "the report is of another machine (%s)", r->vm);
	else if (strcmp(r->target, target) != 0)
		snprintf(buffer, MIGRATE_TEXT_BYTES,
			 "the report is not for %s: run vgpu-guest-check --json --for %s", target, target);
	else if (r->at_s > now_s + AHEAD_S)
		snprintf(buffer, MIGRATE_TEXT_BYTES,
			 "the report is of the future: set the clock of the machine");
	else if (now_s - r->at_s > age_s)
		snprintf(buffer, MIGRATE_TEXT_BYTES,
			 "the report is %" PRId64 " hours old (migrate.report_age): make a new one",
			 (now_s - r->at_s) / 3600);
	else
		return NULL;
	return buffer;
}
