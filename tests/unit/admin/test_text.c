// SPDX-License-Identifier: Apache-2.0
// Text of strangers: nothing that a terminal acts on comes through, in tables or in JSON, whatever the bytes.
#include "tests/unit/admin/test.h"

#include <jansson.h>

static void test_plain_text_stays(void **state)
{
	(void)state;
	is(text_clean("blue-7 (x) é 漢"), "blue-7 (x) é 漢");
	is(text_clean(""), "");
}

static void test_controls_are_shown(void **state)
{
	(void)state;
	is(text_clean("a\033[2Jb"), "a\\x1b[2Jb");
	is(text_clean("\r\n\t\a\x7f"), "\\x0d\\n\\t\\x07\\x7f");
	is(text_clean("C:\\x"), "C:\\\\x"); // so that an escape cannot be faked
}

static void test_unicode_that_acts_is_shown(void **state)
{
	(void)state;
	is(text_clean("\xc2\x9b"
		      "31m"),
	   "\\u{9b}31m"); // CSI as one character
	is(text_clean("\u202egnp"), "\\u{202e}gnp");
	is(text_clean("a\u0301"), "a\\u{301}");
	is(text_clean("\u200b"), "\\u{200b}");
}

static void test_bytes_that_are_no_text_are_shown(void **state)
{
	(void)state;
	is(text_clean("\x9b"
		      "31m"),
	   "\\x9b31m");
	is(text_clean("\xc0\x9b"), "\\xc0\\x9b"); // an overlong form of a control
	is(text_clean("\xed\xa0\x80"), "\\xed\\xa0\\x80");
	is(text_clean("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
	is(text_clean("\xe6\xbc"), "\\xe6\\xbc");
}

// Whatever comes, only what can be printed goes.
static void test_every_byte_and_pair(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 65536; i++) {
		char bytes[3] = { (char)(i & 0xff ? i & 0xff : 1), (char)(i >> 8), 0 };
		char *clean = text_clean(bytes);

		for (const char *p = clean; *p; p++)
			assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
		assert_null(strstr(clean, "\xc2\x9b"));
		free(clean);
	}
}

static void test_json_means_the_same(void **state)
{
	static const char text[] =
	    "{\"name\": \"a\xc2\x9b\u202e\x7f é \U000e0001 \\u001b\", \"n\": 0.10}\r\n";
	json_t *before = json_loads(text, 0, NULL), *after;
	FILE *out = memory_open();

	(void)state;
	text_put_json(out, text, strlen(text));
	fclose(out);
	assert_non_null(strstr(memory_text, "a\\u009b\\u202e\\u007f é \\udb40\\udc01 \\u001b"));
	assert_non_null(strstr(memory_text, "0.10")); // numbers as they came
	assert_null(strchr(memory_text, '\r'));
	after = json_loads(memory_text, 0, NULL);
	assert_non_null(before);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
}

static void test_width_and_cutting(void **state)
{
	(void)state;
	assert_int_equal(text_width("abc"), 3);
	assert_int_equal(text_width("漢字"), 4);
	is(text_cut("abcdef", 6), "abcdef");
	is(text_cut("abcdef", 4), "abc…");
	is(text_cut("漢字漢字", 5), "漢字…");
	is(text_cut("漢字漢字", 4), "漢…"); // half of a character is none
	is(text_cut("abc", 0), "");
}

static void test_without_utf8_nothing_beyond_ascii(void **state)
{
	(void)state;
	setlocale(LC_CTYPE, "C");
	text_init();
	is(text_clean("é"), "\\u{e9}");
	is(text_cut("abcdef", 4), "abc~");
	assert_int_equal(group_set_up(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_text_stays),
		cmocka_unit_test(test_controls_are_shown),
		cmocka_unit_test(test_unicode_that_acts_is_shown),
		cmocka_unit_test(test_bytes_that_are_no_text_are_shown),
		cmocka_unit_test(test_every_byte_and_pair),
		cmocka_unit_test(test_json_means_the_same),
		cmocka_unit_test(test_width_and_cutting),
		cmocka_unit_test(test_without_utf8_nothing_beyond_ascii),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
