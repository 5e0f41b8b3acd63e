// SPDX-License-Identifier: Apache-2.0
// Logging of the host's programs: one line an event on stderr (journald adds time and unit when the program
// runs as a service; level prefixes <N> are written when stderr is the journal). Libraries return errors,
// programs log them, so nothing is logged twice. Not used in the guest.
#ifndef VGPU_COMMON_LOG_H
#define VGPU_COMMON_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

// Sets the program's name (kept by reference) and the most verbose level that is written.
void log_init(const char *program, enum log_level max);

// "error", "warning", "info", "debug" -> 0 and *ret; else -EINVAL, *ret untouched.
int log_level_from_name(const char *name, enum log_level *ret);

// Lines go to fd from here on, which stays the caller's, instead of stderr.
void log_to(int fd);
int log_fd(void); // async-signal-safe

// Whether stderr is the journal, as $JOURNAL_STREAM says.
bool log_is_journal(void);
// Messages go to sink from here on: message is "MESSAGE=" and the text, so many bytes. Where it returns false
// the line is written as ever.
void log_send_to(bool (*sink)(enum log_level level, const char *message, size_t bytes));

// What a log line of this process is about from here on: "tenant 3 channel 7"; "" for nothing. Copied, cut at
// 95 bytes.
void log_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_write(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_DEBUG, __VA_ARGS__)

// Copies at most n - 1 bytes of untrusted text into dst, control and non-ASCII bytes as '?'; always
// terminates.
void log_sanitize(char *dst, unsigned long n, const char *src, unsigned long src_len);

#endif
