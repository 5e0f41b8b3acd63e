// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator's loop.
#include "mediator/complain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"

#define LINES_A_SECOND 20

void complain(const char *format, ...)
{
	static uint64_t second, left_out;
	static unsigned lines;
	uint64_t now = clock_now_ns() / NSEC_PER_SEC;
	char text[VGPU_MAX_LOG_LINE];
	va_list ap;

	if (now != second) {
		if (left_out)
			log_warning("%" PRIu64 " lines like these left out", left_out);
		second = now;
		left_out = lines = 0;
	}
	if (lines >= LINES_A_SECOND) {
		left_out++;
		return;
	}
	lines++;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	log_warning("%s", text);
}
