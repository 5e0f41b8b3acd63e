// SPDX-License-Identifier: Apache-2.0
// Frames of top from readings: rates, order, what holds work back, quantiles of histograms; and the text of
// /metrics, well-formed and not.
#include "tests/unit/admin/test.h"

#include <math.h>

#include "admin/metrics_text.h"
#include "admin/top_model.h"

// ---- metrics ----

static char samples[4096];

static void note(void *opaque, const struct metrics_sample *s)
{
	size_t n = strlen(samples);

	(void)opaque;
	n += (size_t)snprintf(samples + n, sizeof(samples) - n, "%s", s->name);
	for (size_t i = 0; i < s->n_labels; i++)
		n += (size_t)snprintf(samples + n, sizeof(samples) - n, " %s=[%s]", s->labels[i].name,
				      s->labels[i].value);
	snprintf(samples + n, sizeof(samples) - n, " %g\n", s->value);
}

static void test_metrics_are_read(void **state)
{
	char text[] = "# HELP a b\n# TYPE a counter\na 1\n"
		      "b{x=\"1\",y=\"q\\\"\\\\\\n{},\"} 2.5 1700000000\n"
		      "c{} NaN\n\n d 3\nbroken{x=\"1} 4\nbroken{x=1} 4\nbroken{x=\"1\" 4\nnovalue\nnovalue "
		      "x\ne{z=\"\"} "
		      "+Inf";

	(void)state;
	samples[0] = 0;
	metrics_each(text, note, NULL);
	assert_string_equal(samples, "a 1\nb x=[1] y=[q\"\\\n{},] 2.5\nc nan\ne z=[] inf\n");
}

static struct metrics_buckets buckets(double a, double b, double c)
{
	return (struct metrics_buckets){ .n = 3, .bound = { 1, 2, INFINITY }, .count = { a, b, c } };
}

static void test_quantiles(void **state)
{
	struct metrics_buckets now = buckets(50, 100, 100), before = buckets(50, 50, 50), none = { 0 };

	(void)state;
	assert_true(fabs(metrics_quantile(&now, NULL, 0.5) - 1) < 1e-9);
	assert_true(fabs(metrics_quantile(&now, NULL, 0.75) - 1.5) < 1e-9);
	assert_true(fabs(metrics_quantile(&now, &before, 0.5) - 1.5) < 1e-9);
	assert_true(metrics_quantile(&now, &now, 0.5) < 0);
	assert_true(metrics_quantile(&none, NULL, 0.5) < 0);
	now = buckets(0, 0, 10); // beyond the last bound that there is
	assert_true(fabs(metrics_quantile(&now, NULL, 0.99) - 2) < 1e-9);
	before = buckets(9, 9, 99); // a mediator that began anew
	assert_true(metrics_quantile(&now, &before, 0.99) < 0);
}

// ---- frames ----

static struct top_sample *reading(const char *status, const char *metrics)
{
	json_t *s = json_loads(status, 0, NULL);
	char *m = metrics ? text_print("%s", metrics) : NULL;
	struct top_sample *t;

	assert_non_null(s);
	t = top_read(s, NULL, m);
	json_decref(s);
	free(m);
	return t;
}

static const char first[] = "{\"now_ns\": 1000000000, \"device\": \"Card\", \"backend\": \"null\", "
			    "\"health\": \"healthy\", \"tenants\": ["
			    "{\"tenant\": 1, \"name\": \"one\", \"pool\": \"default\", \"share_target\": "
			    "25.0, \"share_achieved\": 20.0,"
			    " \"launches\": 100, \"copy_bytes\": 0, \"memory_used\": 1048576, \"memory\": 0, "
			    "\"gpu_ns\": 5, \"held_ns\": "
			    "{\"turn\": 0, "
			    "\"copy_per_s\": 0}, \"channels\": []}]}";
static const char second[] =
    "{\"now_ns\": 3000000000, \"device\": \"Card\", \"backend\": \"null\", \"health\": \"healthy\", "
    "\"tenants\": ["
    "{\"tenant\": 2, \"name\": \"t\\u001b[2J\", \"pool\": \"default\", \"in_demand\": true, "
    "\"share_target\": 75.0,"
    " \"share_achieved\": 80.0, \"launches\": 9, \"memory_used\": 0, \"memory\": 2097152, \"gpu_ns\": 4, "
    "\"channels\": "
    "[{\"turn\": \"waiting\"}, {\"turn\": \"holding\"}]},"
    "{\"tenant\": 1, \"name\": \"one\", \"pool\": \"default\", \"in_demand\": true, \"share_target\": 25.0, "
    "\"share_achieved\": 20.0,"
    " \"launches\": 2100, \"copy_bytes\": 4096, \"memory_used\": 1048576, \"memory\": 0, \"gpu_ns\": 5,"
    " \"held_ns\": {\"turn\": 1000000000, \"copy_per_s\": 500000000}, \"channels\": [{\"turn\": "
    "\"idle\"}]}]}";
static const char metrics[] =
    "vgpu_tenant_queue_records{tenant=\"one\",id=\"1\"} 3\n"
    "vgpu_tenant_launch_delay_seconds_bucket{tenant=\"one\",id=\"1\",le=\"0.001\"} 10\n"
    "vgpu_tenant_launch_delay_seconds_bucket{tenant=\"one\",id=\"1\",le=\"+Inf\"} 10\n"
    "vgpu_tenant_queue_records{tenant=\"gone\",id=\"9\"} 3\n";

static char *line(int n)
{
	static char copy[1024];
	char *at = memory_text;

	while (n--)
		at = strchr(at, '\n') + 1;
	snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(at, "\n"), at);
	return copy;
}

static void print(const char *before, enum top_order order, bool reverse, unsigned width)
{
	struct top_sample *b = before ? reading(before, NULL) : NULL, *n = reading(second, metrics);
	const struct top_look look = { .order = order, .reverse = reverse, .width = width };
	FILE *out = memory_open();

	top_print(n, b, &look, out);
	fclose(out);
	top_sample_free(b);
	top_sample_free(n);
}

static void test_a_frame(void **state)
{
	(void)state;
	print(first, TOP_BY_ACHIEVED, false, 0);
	assert_string_equal(line(0), "Card (null), healthy");
	assert_string_equal(line(1), "2 tenants, 2 in demand; by achieved");
	assert_non_null(strstr(line(2), "TENANT"));
	assert_non_null(strstr(line(3), "t\\x1b[2J"));
	assert_non_null(strstr(line(3), "holding"));
	assert_non_null(strstr(line(3), "75.0 %"));
	assert_non_null(strstr(line(3), "2 MiB"));
	assert_non_null(strstr(line(4), " 1000 ")); // (2100 - 100) / 2 s
	assert_non_null(strstr(line(4), "2 KiB"));
	assert_non_null(strstr(line(4), " 50 %")); // one of two seconds
	assert_non_null(strstr(line(4), "copy_per_s 25 %"));
	assert_non_null(strstr(line(4), "500 us/990 us"));
	assert_non_null(strstr(line(4), " 3 "));
}

static void test_order(void **state)
{
	(void)state;
	print(first, TOP_BY_ACHIEVED, true, 0);
	assert_non_null(strstr(line(3), "one"));
	print(first, TOP_BY_LAUNCHES, false, 0);
	assert_non_null(strstr(line(3), "one"));
	print(first, TOP_BY_ID, false, 0);
	assert_non_null(strstr(line(3), "one"));
	print(first, TOP_BY_NAME, true, 0);
	assert_non_null(strstr(line(3), "t\\x1b"));
	print(first, TOP_BY_MEMORY, false, 0);
	assert_non_null(strstr(line(3), "one"));
}

static void test_rates_need_two_readings(void **state)
{
	(void)state;
	print(NULL, TOP_BY_ID, false, 0);
	assert_null(strstr(line(3), "1000"));
	assert_null(strstr(line(3), "copy_per_s"));
	print(second, TOP_BY_ID, false, 0); // no time has gone by
	assert_null(strstr(line(3), "1000"));
}

static void test_it_fits(void **state)
{
	(void)state;
	for (unsigned width = 60; width < 200; width += 7) {
		print(first, TOP_BY_ACHIEVED, false, width);
		for (int i = 2; i < 5; i++)
			assert_true(text_width(line(i)) <= width);
	}
}

static void test_answers_that_are_none(void **state)
{
	struct top_sample *s =
	    reading("{\"tenants\": [7, null, {\"channels\": 3, \"held_ns\": []}], \"now_ns\": \"x\"}",
		    "vgpu_tenant_x{id=\"\"} 1\n");
	const struct top_look look = { 0 };
	FILE *out = memory_open();

	(void)state;
	top_print(s, s, &look, out);
	fclose(out);
	assert_non_null(strstr(memory_text, "3 tenants"));
	top_sample_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metrics_are_read),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_a_frame),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_rates_need_two_readings),
		cmocka_unit_test(test_it_fits),
		cmocka_unit_test(test_answers_that_are_none),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
