// SPDX-License-Identifier: Apache-2.0
// What the hooks share: their input, and where they say what went wrong.
#include "admin/cloudstack/hooks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "admin/call.h"
#include "admin/text.h"
#include "common/cleanup.h"

char *hook_input(size_t most, size_t *ret_len)
{
	cleanup_free char *text = text_memory(malloc(most + 2));
	size_t len = 0;
	ssize_t n;

	do {
		n = read(STDIN_FILENO, text + len, most + 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return NULL;
	text[len] = 0;
	*ret_len = len;
	return take_ptr(text);
}

int hook_refuse(const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	text_memory(text);
	admin_complain("%s", text);
	syslog(LOG_ERR | LOG_DAEMON, "cloudstack: %s", text);
	return ADMIN_REFUSED;
}
