// SPDX-License-Identifier: Apache-2.0
// The sink behind common/log.h: formats one line into a buffer and writes it with one write(2), so that lines
// of several processes that share a stderr do not mix.
#include "common/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program_name = "vgpu";
static enum log_level max_level = LOG_INFO;
static char context_text[96];
static bool to_journal;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void log_init(const char *program, enum log_level max)
{
	program_name = program;
	max_level = max;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

int log_level_from_name(const char *name, enum log_level *ret)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_context(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(context_text, sizeof(context_text), format, ap);
	va_end(ap);
}

static size_t clip(int n, size_t room)
{
	if (n < 0)
		return 0;
	return (size_t)n < room ? (size_t)n : room - 1;
}

void log_write(enum log_level level, const char *format, ...)
{
	static const char journal_level[] = { '3', '4', '6', '7' };
	int saved = errno;
	char line[2048];
	size_t used = 0;
	va_list ap;

	if (level > max_level)
		return;
	if (to_journal)
		used += clip(snprintf(line, sizeof(line), "<%c>", journal_level[level]), sizeof(line));
	else
		used += clip(snprintf(line, sizeof(line), "%s: %s: ", program_name, level_names[level]),
			     sizeof(line));
	if (context_text[0])
		used += clip(snprintf(line + used, sizeof(line) - used, "%s: ", context_text),
			     sizeof(line) - used);
	errno = saved; // so that %m works
	va_start(ap, format);
	used += clip(vsnprintf(line + used, sizeof(line) - used - 1, format, ap), sizeof(line) - used - 1);
	va_end(ap);
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0) {
		// Nowhere left to say it.
	}
	errno = saved;
}

void log_sanitize(char *dst, unsigned long n, const char *src, unsigned long src_len)
{
	unsigned long i;

	if (!n)
		return;
	for (i = 0; i < src_len && i < n - 1 && src[i]; i++)
		dst[i] = src[i] >= 32 && src[i] < 127 ? src[i] : '?';
	dst[i] = 0;
}
