// SPDX-License-Identifier: Apache-2.0
// Captured output of an executor; see the header. Reads are limited in rate: an executor that floods its
// output fills the pipe and waits for us, not the other way round.
#include "mediator/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "mediator/about.h"

#define READ_BYTES	 4096
#define READ_INTERVAL_US 100000
#define READS_A_INTERVAL 16
#define DRAIN_READS	 17 // a pipe's 64 KiB, and once more for the end

static bool may_log(struct output *o)
{
	uint64_t second = clock_now_ns() / NSEC_PER_SEC;

	if (second != o->second) {
		if (o->suppressed)
			log_info("%s: %" PRIu64 " lines of output left out", o->name, o->suppressed);
		o->second = second;
		o->lines_in_second = 0;
		o->suppressed = 0;
	}
	if (o->lines_in_second >= o->line_limit) {
		o->suppressed++;
		return false;
	}
	o->lines_in_second++;
	return true;
}

static void end_line(struct output *o)
{
	char clean[VGPU_MAX_LOG_LINE + 1];

	if (o->line_length && may_log(o)) {
		log_sanitize(clean, sizeof(clean), o->line, o->line_length);
		ABOUT_CHANNEL(o->channel);
		log_info("%s says: %s", o->name, clean);
	}
	o->line_length = 0;
}

static void take(struct output *o, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		o->last[o->last_count++ % sizeof(o->last)] = data[i];
		if (data[i] == '\n') {
			end_line(o);
			continue;
		}
		o->line[o->line_length++] = data[i] ? data[i] : '?';
		if (o->line_length == sizeof(o->line))
			end_line(o);
	}
}

// Returns false when there is nothing more now, or ever.
static bool read_some(struct output *o)
{
	char data[READ_BYTES];
	ssize_t n = read(o->fd, data, sizeof(data));

	if (n > 0) {
		take(o, data, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_line(o);
		o->source = sd_event_source_disable_unref(o->source);
	}
	return false;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	read_some(userdata);
	return 0;
}

int output_init(struct output *o, sd_event *event, int fd, const char *name, unsigned line_limit)
{
	int r;

	memset(o, 0, sizeof(*o));
	o->fd = fd;
	o->line_limit = line_limit;
	snprintf(o->name, sizeof(o->name), "%s", name);
	r = sd_event_add_io(event, &o->source, fd, EPOLLIN, on_output, o);
	if (r >= 0)
		r = sd_event_source_set_priority(o->source, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_ratelimit(o->source, READ_INTERVAL_US, READS_A_INTERVAL);
	return r < 0 ? r : 0;
}

void output_done(struct output *o)
{
	if (!o->name[0])
		return;
	end_line(o);
	if (o->suppressed)
		log_info("%s: %" PRIu64 " lines of output left out", o->name, o->suppressed);
	o->source = sd_event_source_disable_unref(o->source);
	close_fd(&o->fd);
	o->name[0] = 0;
}

int output_take(struct output *o)
{
	int fd = take_fd(&o->fd);

	output_done(o);
	return fd;
}

void output_drain(struct output *o)
{
	for (int i = 0; i < DRAIN_READS && o->source; i++) {
		if (!read_some(o))
			break;
	}
}

void output_last_words(const struct output *o, char *ret, size_t n)
{
	uint64_t have = o->last_count < sizeof(o->last) ? o->last_count : sizeof(o->last);
	uint64_t end = o->last_count;
	size_t used = 0;

	while (have && o->last[(end - 1) % sizeof(o->last)] == '\n') {
		end--;
		have--;
	}
	if (have > n - 1)
		have = n - 1;
	for (uint64_t i = end - have; i < end; i++) {
		char c = o->last[i % sizeof(o->last)];

		ret[used++] = c == '\n' ? '|' : c >= 32 && c < 127 ? c : '?';
	}
	ret[used] = 0;
}
