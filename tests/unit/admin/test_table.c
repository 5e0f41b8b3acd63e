// SPDX-License-Identifier: Apache-2.0
// Tables: aligned, as wide as the terminal at most, what is cut and what is left out; values with their
// units.
#include "tests/unit/admin/test.h"

#include "admin/format.h"
#include "admin/table.h"
#include "admin/view.h"
#include "common/clock.h"
#include "mediator/limit/policy.h"

static const struct table_column columns[] = {
	{ "NAME", .cut = true },
	{ "N", .right = true },
	{ "MORE", .drop = 1 },
	{ "MOST", .drop = 2 },
};

static struct table *filled(void)
{
	static const char *const cells[] = { "a-long-name-of-a-tenant", "7", "x", "y", "b", "1234", "", "z" };
	struct table *t = table_new(columns, 4);

	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
		table_add(t, text_print("%s", cells[i]), i == 1 ? COLOUR_BAD : COLOUR_NONE);
	return t;
}

static unsigned printed(unsigned width, bool colours)
{
	FILE *out = memory_open();
	struct table *t = filled();
	unsigned dropped = table_print(t, out, width, colours);

	table_free(t);
	fclose(out);
	return dropped;
}

static void test_columns_are_aligned(void **state)
{
	(void)state;
	assert_int_equal(printed(0, false), 0);
	assert_string_equal(memory_text, "NAME                        N  MORE  MOST\n"
					 "a-long-name-of-a-tenant     7  x     y\n"
					 "b                        1234        z\n");
}

static void test_texts_are_cut_before_columns_go(void **state)
{
	(void)state;
	assert_int_equal(printed(30, false), 0);
	assert_string_equal(memory_text, "NAME             N  MORE  MOST\n"
					 "a-long-name…     7  x     y\n"
					 "b             1234        z\n");
	assert_int_equal(printed(22, false), 1);
	assert_string_equal(memory_text, "NAME           N  MORE\n"
					 "a-long-na…     7  x\n"
					 "b           1234  \n");
}

static void test_no_line_is_wider_than_the_terminal(void **state)
{
	(void)state;
	for (unsigned width = 14; width < 60; width++) {
		printed(width, false);
		for (char *rest = memory_text, *line; (line = strsep(&rest, "\n"));)
			assert_true(text_width(line) <= width);
	}
}

static void test_colours_only_if_wanted(void **state)
{
	(void)state;
	printed(0, false);
	assert_null(strchr(memory_text, '\033'));
	printed(0, true);
	assert_non_null(strstr(memory_text, "\033[1;31m7\033[0m"));
	assert_non_null(strstr(memory_text, "\033[1mNAME\033[0m"));
}

// ---- values ----

static void shows(const char *json, enum format format, const char *expected)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	is(format_value(value, format, NULL), expected);
	json_decref(value);
}

static void test_sizes(void **state)
{
	(void)state;
	is(format_bytes(0), "0 B");
	is(format_bytes(1023), "1023 B");
	is(format_bytes(1024), "1 KiB");
	is(format_bytes(1536), "1.50 KiB");
	is(format_bytes(85899345920), "80 GiB");
	is(format_bytes(85520809984), "79.6 GiB");
	is(format_bytes(1ull << 60), "1048576 TiB");
	is(format_bytes((1ull << 20) - 1), "1.00 MiB");
	shows("0", FORMAT_BYTES_LIMIT, "none");
	shows("1048576", FORMAT_BYTES_RATE_LIMIT, "1 MiB/s");
	shows("3865470566400", FORMAT_BYTE_SECONDS, "1.00 GiB h");
}

static void test_times(void **state)
{
	(void)state;
	is(format_ns(0), "0 s");
	is(format_ns(999), "999 ns");
	is(format_ns(1500), "1.50 us");
	is(format_ns(8 * NSEC_PER_MSEC), "8.00 ms");
	is(format_ns(12345 * NSEC_PER_MSEC), "12.3 s");
	is(format_ns(125 * NSEC_PER_SEC), "2 min 05 s");
	is(format_ns(7322 * NSEC_PER_SEC), "2 h 02 min");
	is(format_ns(UINT64_MAX), "213503 d 23 h");
	is(format_at(1795942921), "2026-11-29 09:02:01");
	shows("1795942921999", FORMAT_AT_MS, "2026-11-29 09:02:01");
	shows("null", FORMAT_NS_LEFT, "until released");
	shows("9000000000", FORMAT_NS_LEFT, "9.00 s");
}

static void test_parts_counts_and_words(void **state)
{
	enum colour colour;
	json_t *lost = json_string("lost");

	(void)state;
	shows("57.14", FORMAT_PERCENT, "57.1 %");
	shows("12.34", FORMAT_PERCENT_LIMIT, "12.34 %");
	shows("0.0", FORMAT_PERCENT_LIMIT, "none");
	shows("9223372036854775807", FORMAT_COUNT, "9223372036854775807");
	shows("true", FORMAT_YES, "yes");
	shows("false", FORMAT_ALARM, "");
	shows("[1, 2]", FORMAT_LENGTH, "2");
	shows("{\"a\": 0.5}", FORMAT_JSON, "{\"a\":0.5}");
	shows("\"a\\u001b[0m\"", FORMAT_TEXT, "a\\x1b[0m");
	is(format_value(NULL, FORMAT_COUNT, NULL), "-");
	is(format_count(0), "0");
	is(format_count(9999), "9999");
	is(format_count(12345), "12.3k");
	is(format_count(4.2e9), "4.20G");
	is(format_value(lost, FORMAT_STATE, &colour), "lost");
	assert_int_equal(colour, COLOUR_BAD);
	json_decref(lost);
}

// A value of another type than a column expects is shown, not hidden and not taken for 0.
static void test_values_of_other_types_are_shown(void **state)
{
	(void)state;
	shows("\"n/a\"", FORMAT_BYTES, "n/a");
	shows("\"x\"", FORMAT_YES, "x");
	shows("{\"\\u001b\":1}", FORMAT_COUNT, "{\"\\\\u001B\":1}");
	shows("3", FORMAT_LENGTH, "3");
	shows("-5", FORMAT_BYTES, "0 B");
	shows("1e300", FORMAT_BYTES, "0 B");
}

// ---- views ----

static const struct view_column object_columns[] = { { "Name", "name", FORMAT_TEXT },
						     { "Held", "held_ns.turn", FORMAT_NS },
						     { 0 } };
static const struct view_column list_columns[] = { { "NAME", "name", FORMAT_TEXT }, { 0 } };

static void test_views(void **state)
{
	const struct view object = { .columns = object_columns, .items = POLICY_FOR_POOL };
	const struct view list = { "rows", "Nothing.", list_columns, 0 };
	json_t *answer =
	    json_loads("{\"name\": \"p\", \"held_ns\": {\"turn\": 1000}, \"weight\": 7, \"memory\": 1, "
		       "\"rows\": []}",
		       0, NULL);
	struct output o = { .out = memory_open() };

	(void)state;
	view_print(&object, answer, &o);
	view_print(&list, answer, &o);
	fclose(o.out);
	assert_string_equal(memory_text, "Name      p\nHeld      1.00 us\nweight    7\nNothing.\n");
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns_are_aligned),
		cmocka_unit_test(test_texts_are_cut_before_columns_go),
		cmocka_unit_test(test_no_line_is_wider_than_the_terminal),
		cmocka_unit_test(test_colours_only_if_wanted),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_parts_counts_and_words),
		cmocka_unit_test(test_values_of_other_types_are_shown),
		cmocka_unit_test(test_views),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
