// SPDX-License-Identifier: Apache-2.0
// The question before something hurts; see the header.
#include "admin/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/text.h"

enum confirm confirm(const char *question)
{
	char line[16];

	if (!isatty(STDIN_FILENO))
		return CONFIRM_NOBODY;
	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	if (!fgets(line, sizeof(line), stdin)) {
		fputc('\n', stderr);
		return CONFIRM_NO;
	}
	line[strcspn(line, "\n")] = 0;
	return strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0 ? CONFIRM_YES : CONFIRM_NO;
}

char *confirm_text(const char *template, const char *subject)
{
	const char *mark = strstr(template, "%s");

	if (!mark)
		return text_print("%s", template);
	return text_print("%.*s%s%s", (int)(mark - template), template, subject, mark + 2);
}
