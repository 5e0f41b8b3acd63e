// SPDX-License-Identifier: Apache-2.0
// Words of the command line: what was meant, times of day, ITEM=VALUE, the parts of paths; and that the table
// of commands is whole.
#include "tests/unit/admin/test.h"

#include <errno.h>

#include "admin/call.h"
#include "admin/confirm.h"
#include "admin/items.h"
#include "admin/suggest.h"

static const char *meant(const char *word)
{
	static const char *const names[] = { "status", "top", "pool", "quarantine", "events", "slot" };

	return suggest(word, names, sizeof(names) / sizeof(names[0]));
}

static void test_suggestions(void **state)
{
	(void)state;
	assert_string_equal(meant("stauts"), "status");
	assert_string_equal(meant("evnets"), "events");
	assert_string_equal(meant("pol"), "pool");
	assert_string_equal(meant("quar"), "quarantine"); // a beginning
	assert_null(meant("xyz"));
	assert_null(meant(""));
	assert_null(meant("a-word-that-is-longer-than-any-name-of-a-command-here"));
}

static long long at(const char *text)
{
	long long n = -1;

	assert_int_equal(admin_parse_at(text, 1795942921, &n), 0);
	return n;
}

static void test_times_of_day(void **state)
{
	static const char *const wrong[] = {
		"",	    "-",  "yesterday",	       "2026-13-01",	       "12x",
		"-5 years", "-h", "2026-11-29 10:00x", "99999999999999999999", "-999999999d"
	};
	long long n = 7;

	(void)state;
	assert_int_equal(at("now"), 1795942921);
	assert_int_equal(at("-90min"), 1795942921 - 5400);
	assert_int_equal(at("-24 h"), 1795942921 - 86400);
	assert_int_equal(at("2026-11-29"), 1795910400);
	assert_int_equal(at("2026-11-29 09:02"), 1795942920);
	assert_int_equal(at("2026-11-29T09:02:01"), 1795942921);
	assert_int_equal(at("1795942921"), 1795942921);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(admin_parse_at(wrong[i], 1795942921, &n), -EINVAL);
	assert_int_equal(n, 7);
}

static void test_items(void **state)
{
	static const char *const fields[] = { "pool", NULL };
	json_t *o = json_object();

	(void)state;
	assert_null(items_take(o, "memory=4G", POLICY_FOR_TENANT, fields));
	assert_null(items_take(o, "pool=a=b", POLICY_FOR_TENANT, fields));
	assert_string_equal(json_string_value(json_object_get(o, "memory")), "4G");
	assert_string_equal(json_string_value(json_object_get(o, "pool")), "a=b");
	is(items_take(o, "memory=5G", POLICY_FOR_TENANT, fields), "memory is said twice");
	is(items_take(o, "weight=0", POLICY_FOR_TENANT, fields), "weight: '0' is not 1 to 10000");
	is(items_take(o, "weihgt=1", POLICY_FOR_TENANT, fields),
	   "there is no item 'weihgt': do you mean 'weight'?");
	is(items_take(o, "weight", POLICY_FOR_TENANT, fields), "'weight' is not ITEM=VALUE");
	is(items_take(o, "=5", POLICY_FOR_TENANT, fields), "'=5' is not ITEM=VALUE");
	is(items_take(o, "class=latency", POLICY_FOR_POOL, NULL),
	   "there is no item 'class' here: 'vgpu-admin limit items' lists them");
	assert_int_equal(json_object_size(o), 2);
	json_decref(o);
}

static void test_parts_of_paths(void **state)
{
	static const struct admin_argument arguments[] = { { "POOL", "pool", false, NAMES_NONE, NULL, "" },
							   { 0 } };
	static const struct admin_option options[] = { { "from", "T", "from", TYPE_AT, NAMES_NONE, NULL, "" },
						       { "most", "N", "most", TYPE_INTEGER, NAMES_NONE, NULL,
							 "" },
						       { 0 } };
	const struct admin_action action = { "x", "", "GET", "/v1/pools/{pool}/x", arguments, options };
	struct admin_call c = { .action = &action, .argument = { "../a b/é?#%" } };

	(void)state;
	is(admin_route_path(&c), "/v1/pools/..%2Fa%20b%2F%C3%A9%3F%23%25/x");
	c.option[0] = "2026-11-29";
	c.option[1] = "7";
	is(admin_route_path(&c), "/v1/pools/..%2Fa%20b%2F%C3%A9%3F%23%25/x?from=1795910400&most=7");
	is(confirm_text("Delete %s?", "a%sb"), "Delete a%sb?");
}

// Every path's part is an argument, every sentence is one, and who changes something that hurts asks first.
static void test_the_table_is_whole(void **state)
{
	(void)state;
	for (size_t i = 0; admin_commands[i]; i++) {
		for (const struct admin_action *a = admin_commands[i]->actions; a->name; a++) {
			const char *part = a->path ? strchr(a->path, '{') : NULL;

			assert_int_equal(a->help[strlen(a->help) - 1], '.');
			assert_true(a->run || a->view || a->done);
			assert_int_equal(a->path != NULL, a->method != NULL);
			for (; part; part = strchr(part + 1, '{')) {
				bool found = false;

				for (const struct admin_argument *arg = a->arguments; arg && arg->name; arg++)
					found |= arg->field &&
						 strncmp(part + 1, arg->field, strlen(arg->field)) == 0;
				assert_true(found);
			}
			if (a->method && strcmp(a->method, "DELETE") == 0)
				assert_true(a->question || strcmp(admin_commands[i]->name, "drain") == 0);
		}
	}
	for (const char *const *name = (const char *const[]){ "slot", "quarantine", "drain", "help", NULL };
	     *name; name++)
		assert_non_null(admin_find_command(*name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suggestions),
		cmocka_unit_test(test_times_of_day),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_parts_of_paths),
		cmocka_unit_test(test_the_table_is_whole),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
