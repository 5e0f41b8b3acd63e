// SPDX-License-Identifier: Apache-2.0
// vgpu-admin top: who has the GPU, as it goes on. The only file that knows ncurses; what a frame says is made
// in top_model.c and top_frame.c.
#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/call.h"
#include "admin/commands.h"
#include "admin/text.h"
#include "admin/top_model.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define SHORTEST_MS 100l
#define LONGEST_MS  3600000l
#define PATIENCE_S  5l // keys wait for an answer, too
#define HEAD_LINES  3  // of a frame, above its rows: two and the columns' titles

struct top {
	struct admin_call *call;
	struct top_sample *now, *before;
	struct top_look look;
	char *failure; // why the last reading could not be had; NULL: it was
	long interval_ms;
	size_t first; // row that is shown first
};

// ---- readings ----

// The answer to a GET, or NULL with t->failure set if it was needed.
static char *get(struct top *t, const char *path, bool needed)
{
	struct http_answer a;

	if (http_ask(t->call->http, "GET", path, NULL, &a) < 0) {
		if (needed)
			t->failure = text_print("%s", http_failure(t->call->http));
	} else if (a.status == 200 && a.body) {
		return a.body;
	} else if (needed) {
		t->failure = text_print("%s: status %ld", path, a.status);
	}
	http_answer_done(&a);
	return NULL;
}

static void take(struct top *t, const json_t *status)
{
	cleanup_free char *gpus_text = get(t, "/v1/gpus", false);
	cleanup_free char *metrics = get(t, "/metrics", false);
	json_t *gpus = gpus_text ? json_loads(gpus_text, 0, NULL) : NULL;

	top_sample_free(t->before);
	t->before = t->now;
	t->now = top_read(status, gpus, metrics);
	json_decref(gpus);
}

// A new reading; the old one stays where it cannot be had.
static void look_again(struct top *t)
{
	cleanup_free char *text = NULL;
	json_t *status;

	free(take_ptr(t->failure));
	text = get(t, "/v1/status", true);
	if (!text)
		return;
	status = json_loads(text, 0, NULL);
	if (json_is_object(status))
		take(t, status);
	else
		t->failure = text_print("/v1/status: no answer of a mediator");
	json_decref(status);
}

// The first reading, whose failure ends the program with the exit status of any other command.
static enum admin_exit look_first(struct top *t, bool print)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(t->call, &a);

	if (r != ADMIN_OK)
		return r;
	if (!print || !admin_print_json(t->call, &a))
		take(t, a.json);
	admin_answer_done(&a);
	return ADMIN_OK;
}

static void top_done(struct top *t)
{
	top_sample_free(t->now);
	top_sample_free(t->before);
	free(t->failure);
}

// ---- plain frames ----

static void pause_for(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static enum admin_exit batch(struct top *t, long frames)
{
	enum admin_exit r = t->call->json ? ADMIN_OK : look_first(t, false);

	t->look.width = t->call->output.width;
	for (long i = 0; r == ADMIN_OK && (i < frames || !frames); i++) {
		if (i || !t->call->json)
			pause_for(t->interval_ms);
		r = look_first(t, true);
		if (r != ADMIN_OK || t->call->json)
			continue;
		if (i)
			fputc('\n', stdout);
		top_print(t->now, t->before, &t->look, stdout);
		if (fflush(stdout) != 0)
			return ADMIN_USAGE;
	}
	return r;
}

// ---- the screen ----

static void draw_lines(struct top *t, char *text)
{
	int line = 1, skip = (int)t->first;
	char *rest = text, *one;

	for (int n = 0; (one = strsep(&rest, "\n")) && line < LINES - 1; n++) {
		if (n >= HEAD_LINES && skip-- > 0)
			continue;
		if (n == HEAD_LINES - 1)
			attron(A_REVERSE);
		mvaddnstr(line, 0, one, -1);
		if (n == HEAD_LINES - 1) {
			hline(' ', COLS);
			attroff(A_REVERSE);
		}
		line++;
	}
}

static void draw(struct top *t)
{
	time_t now = time(NULL);
	char *text = NULL;
	struct tm tm;
	size_t n = 0;
	FILE *out = text_memory(open_memstream(&text, &n));

	t->look.width = (unsigned)COLS;
	top_print(t->now, t->before, &t->look, out);
	if (fclose(out) != 0)
		text_memory(NULL);
	erase();
	gmtime_r(&now, &tm);
	attron(A_BOLD);
	mvprintw(0, 0, "vgpu-admin top  %02d:%02d:%02d UTC  every %g s", tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (double)t->interval_ms / 1000);
	if (t->failure)
		printw("  NO CONNECTION, as of before: %.*s", (int)strcspn(t->failure, "\n"), t->failure);
	attroff(A_BOLD);
	draw_lines(t, text);
	mvaddnstr(
	    LINES - 1, 0,
	    "q quit  a achieved t target g GPU time l launches m memory p latency n name i id  r reverse  "
	    "+ - pace",
	    COLS - 1);
	refresh();
	free(text);
}

// False: the user wants to leave.
static bool on_key(struct top *t, int key)
{
	switch (key) {
	case 'q':
	case 'Q': return false;
	case 'r': t->look.reverse = !t->look.reverse; return true;
	case '+':
		if (t->interval_ms > 2 * SHORTEST_MS)
			t->interval_ms /= 2;
		return true;
	case '-':
		if (t->interval_ms < LONGEST_MS / 2)
			t->interval_ms *= 2;
		return true;
	case KEY_DOWN:
		if (t->first + 1 < t->now->n_tenants)
			t->first++;
		return true;
	case KEY_UP:
		if (t->first)
			t->first--;
		return true;
	case KEY_HOME: t->first = 0; return true;
	default: break;
	}
	for (unsigned i = 0; i < TOP_ORDERS; i++) {
		if (key == top_order_key(i))
			t->look.order = i;
	}
	return true;
}

// Until the next reading is due. False: the user wants to leave.
static bool wait_for_keys(struct top *t)
{
	uint64_t until = clock_now_ns() + (uint64_t)t->interval_ms * NSEC_PER_MSEC;

	for (;;) {
		uint64_t now = clock_now_ns();
		int key;

		if (now >= until)
			return true;
		timeout((int)((until - now) / NSEC_PER_MSEC) + 1);
		key = getch();
		if (key == ERR && now + 2 * NSEC_PER_MSEC >= until)
			return true;
		if (key == ERR && clock_now_ns() < until)
			return false; // the terminal has gone
		if (key == ERR)
			return true;
		if (!on_key(t, key))
			return false;
		draw(t);
	}
}

static enum admin_exit on_screen(struct top *t)
{
	enum admin_exit r = look_first(t, false);
	SCREEN *screen;

	if (r != ADMIN_OK)
		return r;
	http_set_patience(t->call->http, PATIENCE_S);
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return admin_usage_error(t->call, "this terminal is not known (TERM): use --batch");
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	for (;;) {
		draw(t);
		if (!wait_for_keys(t))
			break;
		look_again(t);
	}
	endwin();
	delscreen(screen);
	return ADMIN_OK;
}

// ---- the command ----

static bool parse_interval(const char *text, long *ret_ms)
{
	double seconds;
	char *end;

	if (!text)
		return true;
	seconds = strtod(text, &end);
	if (end == text || *end || !(seconds * 1000 >= SHORTEST_MS && seconds * 1000 <= LONGEST_MS))
		return false;
	*ret_ms = (long)(seconds * 1000);
	return true;
}

static bool parse_order(const char *name, enum top_order *ret)
{
	static const char *const words[TOP_ORDERS] = {
		[TOP_BY_ACHIEVED] = "achieved", [TOP_BY_TARGET] = "target", [TOP_BY_GPU_TIME] = "gpu-time",
		[TOP_BY_LAUNCHES] = "launches", [TOP_BY_MEMORY] = "memory", [TOP_BY_LATENCY] = "latency",
		[TOP_BY_NAME] = "name",		[TOP_BY_ID] = "id",
	};

	for (unsigned i = 0; name && i < TOP_ORDERS; i++) {
		if (strcmp(words[i], name) == 0) {
			*ret = i;
			return true;
		}
	}
	return !name;
}

static int top_run(struct admin_call *c)
{
	const char *frames = admin_option(c, "frames");
	struct top t = { .call = c, .interval_ms = 1000 };
	enum admin_exit r;

	if (!parse_interval(admin_option(c, "interval"), &t.interval_ms))
		return admin_usage_error(c, "--interval: '%s' is not 0.1 to 3600 seconds",
					 admin_option(c, "interval"));
	if (!parse_order(admin_option(c, "by"), &t.look.order))
		return admin_usage_error(c, "--by: there is no order '%s'", admin_option(c, "by"));
	t.look.reverse = admin_flag(c, "reverse");
	if (admin_flag(c, "batch") || c->json || frames)
		r = batch(&t, frames ? strtol(frames, NULL, 10) : 0);
	else if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		r = admin_usage_error(c, "top needs a terminal: --batch prints plain frames");
	else
		r = on_screen(&t);
	top_done(&t);
	return r;
}

static const struct admin_option options[] = {
	{ "batch", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Print plain frames, for files and programs.",
	  'b' },
	{ "frames", "N", NULL, TYPE_INTEGER, NAMES_NONE, NULL, "End after so many plain frames. 0: never.",
	  'n' },
	{ "interval", "SECONDS", NULL, TYPE_TEXT, NAMES_NONE, NULL, "Between two frames. Default: 1.", 'd' },
	{ "by", "ORDER", NULL, TYPE_TEXT, NAMES_WORDS,
	  "achieved|target|gpu-time|launches|memory|latency|name|id",
	  "What comes first. Default: achieved." },
	{ "reverse", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "The other way round." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "", "Shows the tenants once a second, until q is pressed.", "GET", "/v1/status", NULL, options,
	  .run = top_run },
	{ 0 },
};

static const char *const examples[] = { "top", "who has the GPU now", "top --batch -n 10 -d 60 --by=memory",
					"ten minutes, for a file", NULL };

const struct admin_command admin_command_top = {
	"top", "The tenants, live",
	"TARGET is the part of the GPU that a tenant is to have now, ACHIEVED what it had. WAITS "
	"is the time in which its work waited for its turn, THROTTLED BY the limit that held most "
	"of it back, and for how much of the time; both count each of its programs. QUEUE is the "
	"work that is submitted and unfinished. START and SYNC are the median and the 99th "
	"percentile of the times from a launch to its start, and of waiting for the GPU, since the "
	"frame before; histograms tell them to a factor of two.",
	actions, examples
};
