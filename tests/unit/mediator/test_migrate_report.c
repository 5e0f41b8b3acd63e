// SPDX-License-Identifier: Apache-2.0
// A guest's report as the mediator reads it: good ones, those of others, and what no vgpu-guest-check wrote.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mediator/migrate/report.h"

#define VM    "11111111-2222-4333-8444-555555555555"
#define OTHER "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
#define AT_S  1790000000 // 2026-09-21T14:13:20Z
#define DAY_S 86400

#define CHECK(name, state) \
	"{\"check\": \"" name "\", \"state\": \"" state "\", \"text\": \"t\", \"next\": null}"
#define CHECKS(kernel)                                                                        \
	CHECK("driver", "ok")                                                                 \
	"," CHECK("node", "ok") "," CHECK("host", "ok") "," CHECK("libcuda", "ok") "," CHECK( \
	    "test-init", "ok") "," CHECK("test-kernel", kernel) "," CHECK("test-copy-out", "ok")
#define REPORT(uuid, target, ready, checks)                                                               \
	"{\"time\": \"2026-09-21T14:13:20Z\", \"vm_uuid\": " uuid ", \"machine\": \"0123456789abcdef\", " \
	"\"for\": \"" target "\", \"ready\": " ready ", \"checks\": [" checks "]}"
#define GOOD REPORT("\"" VM "\"", "nvidia", "true", CHECKS("ok"))

static int parse(const char *text, struct migrate_report *r, char *why)
{
	return migrate_report_parse(text, strlen(text), r, why);
}

static const char *objection(const char *text, const char *vm, int64_t later_s)
{
	static char buffer[MIGRATE_TEXT_BYTES];
	struct migrate_report r;
	char why[MIGRATE_TEXT_BYTES];

	assert_int_equal(parse(text, &r, why), 0);
	return migrate_report_objection(&r, vm, "nvidia", AT_S + later_s, DAY_S, buffer);
}

static void test_a_good_one(void **state)
{
	struct migrate_report r;
	char why[MIGRATE_TEXT_BYTES];

	(void)state;
	assert_int_equal(parse(GOOD, &r, why), 0);
	assert_true(r.ready);
	assert_int_equal(r.at_s, AT_S);
	assert_string_equal(r.vm, VM);
	assert_string_equal(r.machine, "0123456789abcdef");
	assert_null(objection(GOOD, VM, 5));
	assert_null(objection(REPORT("null", "nvidia", "true", CHECKS("ok")), OTHER, 5));
}

static void test_what_failed_and_what_was_not_looked_at(void **state)
{
	struct migrate_report r;
	char why[MIGRATE_TEXT_BYTES];

	(void)state;
	assert_int_equal(parse(REPORT("null", "nvidia", "false", CHECKS("failed")), &r, why), 0);
	assert_false(r.ready);
	assert_non_null(strstr(r.why, "test-kernel: t"));
	assert_int_equal(parse(REPORT("null", "nvidia", "true", CHECKS("not checked")), &r, why), 0);
	assert_false(r.ready); // --no-self-test
	assert_string_equal(r.why, "test-kernel: not checked");
	assert_int_equal(parse(REPORT("null", "nvidia", "true", ""), &r, why), 0);
	assert_false(r.ready);
}

static void test_objections(void **state)
{
	(void)state;
	assert_non_null(strstr(objection(GOOD, OTHER, 5), "another machine"));
	assert_non_null(strstr(objection(GOOD, VM, DAY_S + 1), "hours old"));
	assert_non_null(strstr(objection(GOOD, VM, -601), "future"));
	assert_non_null(
	    strstr(objection(REPORT("null", "custom", "true", CHECKS("ok")), VM, 0), "not for nvidia"));
	assert_non_null(strstr(objection(REPORT("null", "", "true", CHECKS("ok")), VM, 0), "not for nvidia"));
}

static void test_forged_and_broken(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"null",
		REPORT("null", "nvidia", "true", CHECKS("failed")),
		REPORT("null", "nvidia", "false", CHECKS("ok")),
		REPORT("null", "nvidia", "1", CHECKS("ok")),
		REPORT("null", "nvidia", "true", "1"),
		REPORT("null", "nvidia", "true", "{\"check\": 1, \"state\": \"ok\"}"),
		REPORT("\"x\"", "nvidia", "true", CHECKS("ok")),
		REPORT("7", "nvidia", "true", CHECKS("ok")),
		"{\"time\": \"yesterday\", \"ready\": true, \"checks\": []}",
		"{\"ready\": true, \"ready\": true}",
		"{\"time\": \"2026-09-21T14:13:20Z\", \"machine\": \"x\", \"ready\": true, \"checks\": []}",
		"{\"a\": [[[[[[[[1]]]]]]]]}",
	};
	struct migrate_report r;
	char why[MIGRATE_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		why[0] = 0;
		assert_int_not_equal(parse(texts[i], &r, why), 0);
		assert_true(why[0]);
	}
}

static void test_sizes(void **state)
{
	size_t n = MIGRATE_REPORT_MOST + 1;
	char *text = malloc(n + 1), why[MIGRATE_TEXT_BYTES];
	struct migrate_report r;

	(void)state;
	memset(text, ' ', n);
	text[n] = 0;
	memcpy(text, GOOD, strlen(GOOD));
	assert_int_equal(migrate_report_parse(text, n - 1, &r, why), 0);
	assert_int_not_equal(migrate_report_parse(text, n, &r, why), 0);
	free(text);
}

// Every beginning, and every byte changed: it is read within its length, and nothing of it is printed raw.
static void test_spoilt(void **state)
{
	size_t n = strlen(GOOD);
	struct migrate_report r;
	char why[MIGRATE_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		char *copy = malloc(n);

		assert_int_not_equal(migrate_report_parse(GOOD, i, &r, why), 0);
		for (unsigned with = 0; with < 256; with += 5) {
			memcpy(copy, GOOD, n);
			copy[i] = (char)with;
			if (migrate_report_parse(copy, n, &r, why) < 0)
				continue;
			for (const char *c = r.why; *c; c++)
				assert_in_range(*c, ' ', '~');
		}
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_one),
		cmocka_unit_test(test_what_failed_and_what_was_not_looked_at),
		cmocka_unit_test(test_objections),
		cmocka_unit_test(test_forged_and_broken),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_spoilt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
