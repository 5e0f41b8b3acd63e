// SPDX-License-Identifier: Apache-2.0
// Values with their units; see the header. Used by views and top.
#include "admin/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/text.h"
#include "common/clock.h"
#include "common/cleanup.h"

#define NONE "-"

// Three digits that count: 1.25, 12.5, 125.
static char *scaled(double n, const char *unit)
{
	return text_print("%.*f%s", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n, unit);
}

char *format_bytes(uint64_t bytes)
{
	static const char *const units[] = { " KiB", " MiB", " GiB", " TiB" };
	double n = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024)
		return text_print("%" PRIu64 " B", bytes);
	while (n >= 1023.5 && i < sizeof(units) / sizeof(units[0]) - 1) {
		n /= 1024;
		i++;
	}
	if (n == (double)(uint64_t)n)
		return text_print("%.0f%s", n, units[i]);
	return scaled(n, units[i]);
}

char *format_count(double n)
{
	static const char *const units[] = { "k", "M", "G", "T" };
	size_t i = 0;

	if (n < 9999.5)
		return n < 9.95 && n > 0.05 && n != (double)(uint64_t)n ? text_print("%.1f", n)
									: text_print("%.0f", n);
	for (n /= 1000; n >= 999.5 && i < sizeof(units) / sizeof(units[0]) - 1; i++)
		n /= 1000;
	return scaled(n, units[i]);
}

char *format_ns(uint64_t ns)
{
	uint64_t s = ns / NSEC_PER_SEC;

	if (ns == 0)
		return text_print("0 s");
	if (ns < 1000)
		return text_print("%" PRIu64 " ns", ns);
	if (ns < NSEC_PER_MSEC)
		return scaled((double)ns / 1e3, " us");
	if (ns < NSEC_PER_SEC)
		return scaled((double)ns / 1e6, " ms");
	if (s < 120)
		return scaled((double)ns / 1e9, " s");
	if (s < 7200)
		return text_print("%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
	if (s < 48 * 3600)
		return text_print("%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
	return text_print("%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

char *format_at(int64_t seconds)
{
	time_t at = (time_t)seconds;
	struct tm tm;
	char text[64];

	if (!gmtime_r(&at, &tm) || !strftime(text, sizeof(text), "%F %T", &tm))
		return text_print("%" PRId64, seconds);
	return text_print("%s", text);
}

static enum colour colour_of(const char *word)
{
	static const struct {
		const char *word;
		enum colour colour;
	} words[] = {
		{ "healthy", COLOUR_GOOD },	{ "good", COLOUR_GOOD },	{ "serving", COLOUR_GOOD },
		{ "holding", COLOUR_GOOD },	{ "degraded", COLOUR_WARNING }, { "waiting", COLOUR_WARNING },
		{ "capped", COLOUR_WARNING },	{ "starting", COLOUR_WARNING }, { "ending", COLOUR_WARNING },
		{ "draining", COLOUR_WARNING }, { "drained", COLOUR_WARNING },	{ "lost", COLOUR_BAD },
		{ "warning", COLOUR_WARNING },	{ "error", COLOUR_BAD },	{ "critical", COLOUR_BAD },
		{ "unknown", COLOUR_DIM },	{ "off", COLOUR_DIM },		{ "idle", COLOUR_DIM },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].word, word) == 0)
			return words[i].colour;
	}
	return COLOUR_NONE;
}

// As a double loses the last digits of great integers only, which nobody is shown.
static uint64_t natural(const json_t *value)
{
	double n = json_number_value(value);

	if (json_is_integer(value))
		return json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
	return n > 0 && n < 1.8e19 ? (uint64_t)n : 0;
}

static char *any(const json_t *value)
{
	cleanup_free char *text = NULL;

	if (json_is_string(value))
		return text_clean(json_string_value(value));
	text = text_memory(json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)));
	return text_clean(text);
}

static char *flag(const json_t *value, enum format format, enum colour *colour)
{
	if (!json_is_boolean(value))
		return any(value);
	if (json_is_true(value) && format == FORMAT_ALARM)
		*colour = COLOUR_BAD;
	return text_print("%s", json_is_true(value) ? "yes" : "");
}

static char *limit(const json_t *value, enum format format)
{
	cleanup_free char *text = NULL;
	uint64_t n = natural(value);

	if (json_number_value(value) <= 0)
		return text_print("none");
	switch (format) {
	case FORMAT_BYTES_LIMIT: return format_bytes(n);
	case FORMAT_BYTES_RATE_LIMIT: text = format_bytes(n); return text_print("%s/s", text);
	case FORMAT_PERCENT_LIMIT: return text_print("%g %%", json_number_value(value));
	case FORMAT_NS_LIMIT: return format_ns(n);
	default: return text_print("%" PRIu64, n);
	}
}

static char *number(const json_t *value, enum format format)
{
	double n = json_number_value(value);

	switch (format) {
	case FORMAT_COUNT:
		return json_is_integer(value) ? text_print("%" JSON_INTEGER_FORMAT, json_integer_value(value))
					      : text_print("%g", n);
	case FORMAT_BYTES: return format_bytes(natural(value));
	case FORMAT_BYTE_SECONDS: return scaled(n / 1073741824 / 3600, " GiB h");
	case FORMAT_PERCENT: return text_print("%.1f %%", n);
	case FORMAT_NS:
	case FORMAT_NS_LEFT: return format_ns(natural(value));
	case FORMAT_AT_S: return format_at((int64_t)n);
	case FORMAT_AT_MS: return format_at((int64_t)(n / 1000));
	case FORMAT_CELSIUS: return text_print("%.0f C", n);
	case FORMAT_WATT: return text_print("%.0f W", n);
	default: return limit(value, format);
	}
}

bool format_is_number(enum format format)
{
	switch (format) {
	case FORMAT_TEXT:
	case FORMAT_STATE:
	case FORMAT_YES:
	case FORMAT_ALARM:
	case FORMAT_AT_S:
	case FORMAT_AT_MS:
	case FORMAT_JSON: return false;
	default: return true;
	}
}

char *format_value(const json_t *value, enum format format, enum colour *ret_colour)
{
	enum colour ignored, *colour = ret_colour ? ret_colour : &ignored;

	*colour = COLOUR_NONE;
	if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value))) {
		bool for_ever = json_is_null(value) && format == FORMAT_NS_LEFT;

		*colour = for_ever ? COLOUR_NONE : COLOUR_DIM;
		return text_print("%s", for_ever ? "until released" : NONE);
	}
	if (format == FORMAT_YES || format == FORMAT_ALARM)
		return flag(value, format, colour);
	if (format == FORMAT_LENGTH && (json_is_array(value) || json_is_object(value)))
		return text_print("%zu",
				  json_is_array(value) ? json_array_size(value) : json_object_size(value));
	if (format_is_number(format) || format == FORMAT_AT_S || format == FORMAT_AT_MS)
		return json_is_number(value) ? number(value, format) : any(value);
	if (format == FORMAT_STATE && json_is_string(value))
		*colour = colour_of(json_string_value(value));
	return any(value);
}
