// SPDX-License-Identifier: Apache-2.0
// Times of day as options take them (admin_parse_at). All of them UTC, as the mediator books.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/call.h"

static int parse_ago(const char *text, long long now_s, long long *ret)
{
	static const struct {
		const char *unit;
		long long seconds;
	} units[] = { { "s", 1 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 }, { "w", 604800 } };
	long long n, seconds;
	char *end;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || n < 0)
		return -EINVAL;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		if (__builtin_mul_overflow(n, units[i].seconds, &seconds) || seconds > now_s)
			return -EINVAL;
		*ret = now_s - seconds;
		return 0;
	}
	return -EINVAL;
}

int admin_parse_at(const char *text, long long now_s, long long *ret)
{
	static const char *const forms[] = { "%Y-%m-%d",	  "%Y-%m-%d %H:%M",    "%Y-%m-%dT%H:%M",
					     "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ" };
	char *end;
	long long n;

	if (strcmp(text, "now") == 0) {
		*ret = now_s;
		return 0;
	}
	if (text[0] == '-')
		return parse_ago(text + 1, now_s, ret);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = { 0 };
		const char *rest = strptime(text, forms[i], &tm);

		if (rest && !*rest) {
			*ret = timegm(&tm);
			return 0;
		}
	}
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || *end || n < 0)
		return -EINVAL;
	*ret = n;
	return 0;
}
