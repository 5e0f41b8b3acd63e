// SPDX-License-Identifier: Apache-2.0
// What an executor writes to its stdout and stderr: logged line by line (cleaned, limited), and the last of
// it kept to explain its death. One for each channel, in the mediator's loop.
#ifndef VGPU_MEDIATOR_OUTPUT_H
#define VGPU_MEDIATOR_OUTPUT_H

#include <stddef.h>
#include <systemd/sd-event.h>

#include "common/limits.h"

struct channel;

struct output {
	const struct channel *channel; // whose executor writes it; NULL: nobody's
	int fd;
	sd_event_source *source;
	char name[64]; // what the lines are about
	unsigned line_limit;

	char line[VGPU_MAX_LOG_LINE];
	size_t line_length;

	char last[VGPU_MAX_LAST_WORDS]; // ring of the newest bytes
	uint64_t last_count;

	uint64_t second; // of the clock, that lines_in_second counts
	unsigned lines_in_second;
	uint64_t suppressed;
};

// Takes fd over. line_limit: lines a second that go to the log.
int output_init(struct output *o, sd_event *event, int fd, const char *name, unsigned line_limit);
// Accepts one that is all zero.
void output_done(struct output *o);

// As output_done, but the fd is the caller's now.
int output_take(struct output *o);

// Reads what is there now (bounded): before the last words are used.
void output_drain(struct output *o);

// The end of what was written, on one line, clean, at most n - 1 bytes.
void output_last_words(const struct output *o, char *ret, size_t n);

#endif
