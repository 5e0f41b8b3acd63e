// SPDX-License-Identifier: Apache-2.0
// The sink behind common/log.h: formats one line into a buffer and writes it with one write(2), so that lines
// of several processes that share a stderr do not mix.
#include "common/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *program_name = "vgpu";
static enum log_level max_level = LOG_INFO;
static char context_text[96];
static bool to_journal;
static bool (*send_to)(enum log_level level, const char *message, size_t bytes);
static int to_fd = STDERR_FILENO;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

// The variable is inherited by programs whose stderr is something else; it names the file by device and
// inode.
static bool is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program, enum log_level max)
{
	program_name = program;
	max_level = max;
	to_journal = is_journal(STDERR_FILENO);
}

bool log_is_journal(void)
{
	return to_journal;
}

void log_send_to(bool (*sink)(enum log_level level, const char *message, size_t bytes))
{
	send_to = sink;
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

void log_to(int fd)
{
	to_fd = fd;
}

int log_fd(void)
{
	return to_fd;
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

#define PREFIX_BYTES 64
#define TEXT_BYTES   2048

// What stands before a line's text, at most PREFIX_BYTES. Its length.
static size_t put_prefix(char *to, enum log_level level, bool as_line)
{
	static const char journal_level[] = { '3', '4', '6', '7' };

	if (!as_line)
		return clip(snprintf(to, PREFIX_BYTES, "MESSAGE="), PREFIX_BYTES);
	if (to_journal)
		return clip(snprintf(to, PREFIX_BYTES, "<%c>", journal_level[level]), PREFIX_BYTES);
	return clip(snprintf(to, PREFIX_BYTES, "%s: %s: ", program_name, level_names[level]), PREFIX_BYTES);
}

// text: n bytes, with PREFIX_BYTES of room before them and one behind.
static void send_line(enum log_level level, char *text, size_t n)
{
	char prefix[PREFIX_BYTES];
	size_t ahead;

	if (send_to) {
		ahead = put_prefix(prefix, level, false);
		memcpy(text - ahead, prefix, ahead);
		if (send_to(level, text - ahead, ahead + n))
			return;
	}
	ahead = put_prefix(prefix, level, true);
	memcpy(text - ahead, prefix, ahead);
	text[n] = '\n';
	if (write(to_fd, text - ahead, ahead + n + 1) < 0) {
		// Nowhere left to say it.
	}
}

void log_write(enum log_level level, const char *format, ...)
{
	char room[PREFIX_BYTES + TEXT_BYTES], *text = room + PREFIX_BYTES;
	int saved = errno;
	size_t used = 0;
	va_list ap;

	if (level > max_level)
		return;
	if (context_text[0])
		used = clip(snprintf(text, TEXT_BYTES, "%s: ", context_text), TEXT_BYTES);
	errno = saved; // so that %m works
	va_start(ap, format);
	used += clip(vsnprintf(text + used, TEXT_BYTES - used, format, ap), TEXT_BYTES - used);
	va_end(ap);
	send_line(level, text, used);
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
