// SPDX-License-Identifier: Apache-2.0
// The table of metrics by itself, the text that is made of it, and the histograms' arithmetic.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mediator/metrics/text.h"

static const struct metric plain = {
	"vgpu_a", METRIC_OF_TENANT, METRIC_COUNTER, METRIC_ONE, "", "Help.", "s"
};

// What write() puts into a stream; freed by the caller.
static char *text_of(void (*write)(FILE *out, void *opaque), void *opaque)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	write(out, opaque);
	assert_int_equal(fclose(out), 0);
	return text;
}

struct sample {
	const struct metric *metric;
	const char *labels, *label_value;
	uint64_t value;
};

static void write_sample(FILE *out, void *opaque)
{
	const struct sample *s = opaque;

	text_sample(out, s->metric, s->labels, s->label_value, s->value);
}

static void expect_sample(const struct sample *s, const char *want)
{
	char *text = text_of(write_sample, (void *)s);

	assert_string_equal(text, want);
	free(text);
}

static void numbers_are_exact(void **state)
{
	struct metric m = plain;

	(void)state;
	expect_sample(&(struct sample){ &m, "", "", UINT64_MAX - 1 }, "vgpu_a 18446744073709551614\n");
	expect_sample(&(struct sample){ &m, "x=\"1\"", "", 0 }, "vgpu_a{x=\"1\"} 0\n");
	m.unit = METRIC_SECONDS;
	expect_sample(&(struct sample){ &m, "", "", 1000000007 }, "vgpu_a 1.000000007\n");
	m.unit = METRIC_RATIO;
	expect_sample(&(struct sample){ &m, "", "", 3333 }, "vgpu_a 0.3333\n");
	m.unit = METRIC_WATTS;
	expect_sample(&(struct sample){ &m, "", "", 312045 }, "vgpu_a 312.045\n");
	m.unit = METRIC_HERTZ;
	expect_sample(&(struct sample){ &m, "", "", 1980 }, "vgpu_a 1980000000\n");
	expect_sample(&(struct sample){ &m, "x=\"1\"", "", METRIC_ABSENT }, "");
}

static void own_label_is_behind_the_rows(void **state)
{
	struct metric m = plain;

	(void)state;
	m.label = "cause";
	expect_sample(&(struct sample){ &m, "id=\"3\"", "a \"b\"", 1 },
		      "vgpu_a{id=\"3\",cause=\"a \\\"b\\\"\"} 1\n");
	expect_sample(&(struct sample){ &m, "", "turn", 1 }, "vgpu_a{cause=\"turn\"} 1\n");
}

static void label_values_are_escaped(void **state)
{
	char labels[METRIC_LABELS_BYTES] = "";

	(void)state;
	text_add_label(labels, "a", "\\ \" \n \t \x80\xff \x01 {},=");
	assert_string_equal(labels, "a=\"\\\\ \\\" \\n ? ?? ? {},=\"");
	text_add_label(labels, "b", "");
	assert_string_equal(labels, "a=\"\\\\ \\\" \\n ? ?? ? {},=\",b=\"\"");
}

// However long values are: quotes are closed, no escape is cut in the middle.
static void long_values_are_cut_whole(void **state)
{
	char labels[METRIC_LABELS_BYTES] = "", value[1000];

	(void)state;
	memset(value, '"', sizeof(value));
	value[sizeof(value) - 1] = 0;
	for (unsigned i = 0; i < 20; i++) {
		const char *c = labels;
		bool inside = false;

		text_add_label(labels, "name", value);
		assert_true(strlen(labels) < sizeof(labels));
		for (; *c; c++) {
			if (*c == '\\') {
				assert_true(inside);
				c++;
				assert_int_equal(*c, '"');
			} else if (*c == '"') {
				inside = !inside;
			}
		}
		assert_false(inside);
	}
}

static void write_head(FILE *out, void *opaque)
{
	text_begin(out, opaque);
}

static void help_is_escaped(void **state)
{
	struct metric m = plain;
	char *text;

	(void)state;
	m.help = "one \\ two\nthree \"four\"";
	text = text_of(write_head, &m);
	assert_string_equal(text, "# HELP vgpu_a one \\\\ two\\nthree \"four\"\n# TYPE vgpu_a counter\n");
	free(text);
}

// ---- histograms ----

static void buckets_hold_what_their_bound_says(void **state)
{
	(void)state;
	assert_int_equal(vgpu_delay_bucket(0), 0);
	for (unsigned i = 0; i < VGPU_DELAY_BUCKETS - 1; i++) {
		assert_int_equal(vgpu_delay_bucket(vgpu_delay_bound_ns(i)), i);
		assert_int_equal(vgpu_delay_bucket(vgpu_delay_bound_ns(i) + 1), i + 1);
	}
	assert_int_equal(vgpu_delay_bucket(UINT64_MAX), VGPU_DELAY_BUCKETS - 1);
	assert_int_equal(vgpu_delay_bound_ns(0), 1024);
}

struct histogram {
	const struct metric *metric;
	const struct delay_counts *counts;
};

static void write_histogram(FILE *out, void *opaque)
{
	const struct histogram *h = opaque;

	text_histogram(out, h->metric, "id=\"3\"", "", h->counts);
}

static void histogram_is_cumulative(void **state)
{
	struct metric m = { "vgpu_h", METRIC_OF_TENANT, METRIC_HISTOGRAM, METRIC_SECONDS, "", "Help.", "s" };
	struct delay_counts d = { 0 };
	char *text;

	(void)state;
	delay_counts_note(&d, 500);
	delay_counts_note(&d, 1500);
	delay_counts_note(&d, 1500);
	delay_counts_note(&d, UINT64_C(30000000000));
	text = text_of(write_histogram, &(struct histogram){ &m, &d });
	assert_non_null(strstr(text, "vgpu_h_bucket{id=\"3\",le=\"0.000001024\"} 1\n"));
	assert_non_null(strstr(text, "vgpu_h_bucket{id=\"3\",le=\"0.000002048\"} 3\n"));
	assert_non_null(strstr(text, "vgpu_h_bucket{id=\"3\",le=\"17.179869184\"} 3\n"));
	assert_non_null(strstr(text, "vgpu_h_bucket{id=\"3\",le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(text, "vgpu_h_sum{id=\"3\"} 30.000003500\n"));
	assert_non_null(strstr(text, "vgpu_h_count{id=\"3\"} 4\n"));
	free(text);
}

static uint64_t all_of(const struct delay_counts *d)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VGPU_DELAY_BUCKETS; i++) {
		assert_true(d->buckets[i] <= UINT64_MAX - sum);
		sum += d->buckets[i];
	}
	return sum;
}

// What an executor writes: anything, and less than before.
static void a_liar_moves_nothing_back(void **state)
{
	struct vgpu_delays shown = { 0 };
	struct delay_counts seen = { 0 }, sum = { 0 };
	uint64_t before = 0;

	(void)state;
	srand(1);
	for (unsigned round = 0; round < 1000; round++) {
		for (unsigned i = 0; i < VGPU_DELAY_BUCKETS; i++)
			atomic_store(&shown.buckets[i], round % 3 ? UINT64_MAX >> (rand() % 64) : 0);
		atomic_store(&shown.sum_ns, UINT64_MAX >> (rand() % 64));
		delay_counts_raise(&seen, &shown);
		assert_true(all_of(&seen) >= before);
		before = all_of(&seen);
	}
	for (unsigned i = 0; i < 100; i++) {
		uint64_t had = all_of(&sum), had_ns = sum.sum_ns;

		delay_counts_add(&sum, &seen);
		assert_true(all_of(&sum) >= had && sum.sum_ns >= had_ns);
	}
	assert_true(sum.sum_ns <= DELAY_SUM_MOST);
}

// ---- the table ----

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0;
}

static bool is_word(const char *s)
{
	return s[0] && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(s);
}

static void table_keeps_the_rules(void **state)
{
	(void)state;
	for (unsigned i = 0; i < metrics_count; i++) {
		const struct metric *m = &metrics_table[i];
		char end[40];

		assert_true(is_word(m->name) && strncmp(m->name, "vgpu_", 5) == 0);
		assert_true(!m->label[0] || is_word(m->label));
		assert_true(strcmp(m->label, "le") != 0 &&
			    !strstr(metric_scope_labels(m->scope), m->label) == (m->label[0] != 0));
		assert_true(m->help[0] && m->source[0] && m->help[strlen(m->help) - 1] == '.');
		assert_null(strchr(m->help, '|'));
		assert_true(ends_with(m->name, "_total") == (m->type == METRIC_COUNTER));
		assert_true(ends_with(m->name, "_info") == (m->type == METRIC_INFO));
		snprintf(end, sizeof(end), "%s%s%s", m->unit ? "_" : "", metric_unit_text(m->unit),
			 m->type == METRIC_COUNTER ? "_total" : "");
		if (!ends_with(m->name, end))
			fail_msg("%s does not end with %s", m->name, end);
		for (unsigned j = 0; j < i; j++) {
			if (strcmp(metrics_table[j].name, m->name) == 0)
				fail_msg("%s stands twice", m->name);
		}
	}
	assert_true(metrics_count > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(own_label_is_behind_the_rows),
		cmocka_unit_test(label_values_are_escaped),
		cmocka_unit_test(long_values_are_cut_whole),
		cmocka_unit_test(help_is_escaped),
		cmocka_unit_test(buckets_hold_what_their_bound_says),
		cmocka_unit_test(histogram_is_cumulative),
		cmocka_unit_test(a_liar_moves_nothing_back),
		cmocka_unit_test(table_keeps_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
