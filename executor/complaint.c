// SPDX-License-Identifier: Apache-2.0
// Sorts what a backend's library wrote to stderr; see the header. Called by any thread of a backend.
#include "executor/complaint.h"

#include <string.h>

#include "common/limits.h"
#include "common/log.h"
#include "executor/executor.h"

#define MIDDLE ", thread: "
#define BLOCK  ": block: "
#define WHAT   " Assertion `"
#define END    "` failed."

// Moves *at behind the text if it is there.
static bool skip(const char **at, const char *end, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(end - *at) < n || memcmp(*at, text, n) != 0)
		return false;
	*at += n;
	return true;
}

static bool skip_number(const char **at, const char *end)
{
	const char *from = *at;

	while (*at < end && **at >= '0' && **at <= '9')
		(*at)++;
	return *at > from && *at - from <= 10;
}

static bool skip_place(const char **at, const char *end)
{
	return skip(at, end, "[") && skip_number(at, end) && skip(at, end, ",") && skip_number(at, end) &&
	       skip(at, end, ",") && skip_number(at, end) && skip(at, end, "]");
}

// ":LINE: " with something before it.
static bool names_line(const char *line, const char *end)
{
	for (const char *at = line + 1; at < end; at++) {
		const char *here = at;

		if (skip(&here, end, ":") && skip_number(&here, end) && skip(&here, end, ": "))
			return true;
	}
	return false;
}

bool complaint_is_assertion(const char *line, size_t n)
{
	const char *end = line + n, *block = memmem(line, n, BLOCK, strlen(BLOCK)), *at = block;

	return block && names_line(line, block + 2) && skip(&at, end, BLOCK) && skip_place(&at, end) &&
	       skip(&at, end, MIDDLE) && skip_place(&at, end) && skip(&at, end, WHAT) &&
	       (size_t)(end - at) >= strlen(END) && !memcmp(end - strlen(END), END, strlen(END));
}

static void put_line(struct executor *x, const char *line, size_t n)
{
	char text[VGPU_MAX_LOG_LINE];

	if (complaint_is_assertion(line, n)) {
		print_put(&x->complaints, line, n);
		print_put(&x->complaints, "\n", 1);
	} else if (n) {
		log_sanitize(text, sizeof(text), line, n);
		log_info("backend: %s", text);
	}
}

void complaint_put(void *opaque, const char *text, size_t length)
{
	struct executor *x = opaque;

	while (length) {
		const char *end = memchr(text, '\n', length);
		size_t n = end ? (size_t)(end - text) : length;

		put_line(x, text, n);
		text += end ? n + 1 : n;
		length -= end ? n + 1 : n;
	}
}
