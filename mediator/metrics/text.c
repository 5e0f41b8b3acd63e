// SPDX-License-Identifier: Apache-2.0
// See the header. Used by write.c in the mediator's loop, and by the unit tests.
#include "mediator/metrics/text.h"

#include <stdbool.h>
#include <string.h>

#define NAME_ROOM  40  // of a label's name, with = and quotes
#define VALUE_MOST 160 // bytes of one label's value, escaped

// What one unit of a metric is in units of what it is handed over as, as a power of ten.
static unsigned digits_of(enum metric_unit unit)
{
	switch (unit) {
	case METRIC_SECONDS: return 9;
	case METRIC_RATIO: return 4;
	case METRIC_WATTS:
	case METRIC_JOULES: return 3;
	default: return 0;
	}
}

// The escaped form of one byte.
static const char *escape(char c, char single[2])
{
	switch (c) {
	case '\\': return "\\\\";
	case '"': return "\\\"";
	case '\n': return "\\n";
	default: break;
	}
	single[0] = c >= 32 && c < 127 ? c : '?';
	single[1] = 0;
	return single;
}

void text_add_label(char *to, const char *name, const char *value)
{
	size_t used = strlen(to), end, n;

	if (used + NAME_ROOM + 2 >= METRIC_LABELS_BYTES)
		return;
	used += (size_t)snprintf(to + used, NAME_ROOM, "%s%.32s=\"", used ? "," : "", name);
	end = used + VALUE_MOST;
	if (end > METRIC_LABELS_BYTES - 2)
		end = METRIC_LABELS_BYTES - 2;
	for (; *value; value++) {
		char single[2];
		const char *e = escape(*value, single);

		n = strlen(e);
		if (used + n > end)
			break;
		memcpy(to + used, e, n);
		used += n;
	}
	to[used++] = '"';
	to[used] = 0;
}

void text_begin(FILE *out, const struct metric *m)
{
	fprintf(out, "# HELP %s ", m->name);
	for (const char *c = m->help; *c; c++) {
		if (*c == '\\' || *c == '\n')
			fputc('\\', out);
		fputc(*c == '\n' ? 'n' : *c, out);
	}
	fprintf(out, "\n# TYPE %s %s\n", m->name, metric_type_text(m->type));
}

// ---- samples: a line is put together and written at once, since a text has tens of thousands of them ----

#define NUMBER_BYTES 21 // digits of a uint64_t, and a point
#define LINE_BYTES   (METRIC_LABELS_BYTES + 200)

struct line {
	size_t n;
	char text[LINE_BYTES];
};

static void put_bytes(struct line *l, const char *bytes, size_t n)
{
	if (n > sizeof(l->text) - l->n)
		n = sizeof(l->text) - l->n;
	memcpy(l->text + l->n, bytes, n);
	l->n += n;
}

static void put(struct line *l, const char *text)
{
	put_bytes(l, text, strlen(text));
}

// With a point before the last `point` digits, unless that is 0.
static void put_number(struct line *l, uint64_t value, unsigned point)
{
	char digits[NUMBER_BYTES + 1];
	size_t at = sizeof(digits);
	unsigned n = 0;

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
		if (++n == point)
			digits[--at] = '.';
	} while (value || (point && n <= point));
	put_bytes(l, digits + at, sizeof(digits) - at);
}

static void put_value(struct line *l, enum metric_unit unit, uint64_t value)
{
	put_number(l, value, digits_of(unit));
	if (unit == METRIC_HERTZ && value)
		put(l, "000000");
}

static void write_line(FILE *out, struct line *l)
{
	put(l, "\n");
	fwrite_unlocked(l->text, 1, l->n, out);
}

// Name and labels; the brace is left open for one more if there is one to come.
static void put_series(struct line *l, const struct metric *m, const char *suffix, const char *labels,
		       bool more)
{
	l->n = 0;
	put(l, m->name);
	put(l, suffix);
	if (!labels[0] && !more)
		return;
	put(l, "{");
	put(l, labels);
	if (!more)
		put(l, "}");
	else if (labels[0])
		put(l, ",");
}

// All labels of a sample; room: METRIC_LABELS_BYTES for those with one of the metric's own.
static const char *all_labels(const struct metric *m, const char *labels, const char *label_value, char *room)
{
	size_t n;

	if (!m->label[0])
		return labels;
	n = strlen(labels);
	memcpy(room, labels, n + 1);
	text_add_label(room, m->label, label_value);
	return room;
}

void text_sample(FILE *out, const struct metric *m, const char *labels, const char *label_value,
		 uint64_t value)
{
	char room[METRIC_LABELS_BYTES];
	struct line l;

	if (value == METRIC_ABSENT)
		return;
	put_series(&l, m, "", all_labels(m, labels, label_value, room), false);
	put(&l, " ");
	put_value(&l, m->unit, value);
	write_line(out, &l);
}

void text_histogram(FILE *out, const struct metric *m, const char *labels, const char *label_value,
		    const struct delay_counts *counts)
{
	char room[METRIC_LABELS_BYTES];
	const char *all = all_labels(m, labels, label_value, room);
	uint64_t sum = 0;
	struct line l;
	size_t begun;

	put_series(&l, m, "_bucket", all, true);
	put(&l, "le=\"");
	begun = l.n;
	for (unsigned i = 0; i < VGPU_DELAY_BUCKETS; i++) {
		sum += counts->buckets[i];
		l.n = begun;
		if (i < VGPU_DELAY_BUCKETS - 1)
			put_value(&l, METRIC_SECONDS, vgpu_delay_bound_ns(i));
		else
			put(&l, "+Inf");
		put(&l, "\"} ");
		put_number(&l, sum, 0);
		write_line(out, &l);
	}
	put_series(&l, m, "_sum", all, false);
	put(&l, " ");
	put_value(&l, METRIC_SECONDS, counts->sum_ns);
	write_line(out, &l);
	put_series(&l, m, "_count", all, false);
	put(&l, " ");
	put_number(&l, sum, 0);
	write_line(out, &l);
}
