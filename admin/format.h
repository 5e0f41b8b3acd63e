// SPDX-License-Identifier: Apache-2.0
// Numbers of the API as people read them: GiB, %, ms.
#ifndef VGPU_ADMIN_FORMAT_H
#define VGPU_ADMIN_FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/table.h"

enum format {
	FORMAT_TEXT,
	FORMAT_STATE, // a word that has a colour: good, degraded, lost ...
	FORMAT_COUNT,
	FORMAT_LIMIT, // a count; 0 is none
	FORMAT_BYTES,
	FORMAT_BYTES_LIMIT, // 0 is none
	FORMAT_BYTES_RATE_LIMIT,
	FORMAT_BYTE_SECONDS, // as GiB h
	FORMAT_PERCENT,
	FORMAT_PERCENT_LIMIT,
	FORMAT_NS,
	FORMAT_NS_LIMIT,
	FORMAT_NS_LEFT, // null is for ever
	FORMAT_AT_S,	// a time of day, UTC
	FORMAT_AT_MS,
	FORMAT_YES,   // a boolean; false is left blank
	FORMAT_ALARM, // the same, and true is bad
	FORMAT_CELSIUS,
	FORMAT_WATT,
	FORMAT_LENGTH, // of a list
	FORMAT_JSON,   // whatever it is, compact
};

// Clean text, to be freed. A value that is not there or null is "-". ret_colour may be NULL.
char *format_value(const json_t *value, enum format format, enum colour *ret_colour);
bool format_is_number(enum format format);

char *format_bytes(uint64_t bytes);
char *format_ns(uint64_t ns);
char *format_count(double n); // 999, 1.2k, 3.4M
char *format_at(int64_t seconds);

#endif
