// SPDX-License-Identifier: Apache-2.0
// Which path and method is which operation, escapes, and what the table must be like.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "mediator/api/routes.h"

static const char *operation(unsigned method, const char *path, struct api_match *m)
{
	api_match(method, path, m);
	return m->route ? m->route->operation : NULL;
}

static void paths_and_methods(void **state)
{
	struct api_match m;

	(void)state;
	assert_string_equal(operation(API_GET, "/v1/status", &m), "status");
	assert_int_equal(m.n_parts, 0);
	assert_string_equal(operation(API_PATCH, "/v1/pools/gold", &m), "pool.set");
	assert_int_equal(m.n_parts, 1);
	assert_string_equal(m.parts[0].name, "pool");
	assert_string_equal(m.parts[0].value, "gold");
	assert_string_equal(operation(API_DELETE, "/v1/tenants/7/quarantine", &m), "quarantine.release");
	assert_string_equal(m.parts[0].value, "7");
}

static void other_methods(void **state)
{
	struct api_match m;
	char text[64];

	(void)state;
	assert_null(operation(API_GET, "/v1/tenants/7/quarantine", &m));
	assert_int_equal(m.methods, 1u << API_PUT | 1u << API_DELETE);
	api_print_methods(m.methods, text, sizeof(text));
	assert_string_equal(text, "PUT, DELETE");
	api_match(API_METHODS, "/v1/status", &m);
	assert_null(m.route);
	api_print_methods(m.methods, text, sizeof(text));
	assert_string_equal(text, "GET, HEAD");
	api_print_methods(m.methods, text, 4);
	assert_string_equal(text, "GET");
}

static void paths_that_are_none(void **state)
{
	static const char *const paths[] = {
		"",
		"v1/status",
		"/v1",
		"/v1/",
		"/v1/status/",
		"//v1/status",
		"/v1//status",
		"/v1/statu",
		"/v1/statusx",
		"/V1/status",
		"/v1/pools/",
		"/v1/pools/a/b",
		"/v1/pools//",
		"/v1/tenants//kill",
		"/v1/status?x",
		"/v1/pools/%",
		"/v1/pools/%4",
		"/v1/pools/%zz",
		"/v1/pools/%00",
		"/v1/pools/a%0ab",
		"/v1/pools/a%7f",
		"/v1/pools/\x01",
		"/v1%2fstatus",
		"/%761/status",
		"/v1/../v1/status",
		"/v1/tenants/a/kill/",
		"/v1/tenants/a%2",
	};
	char longest[API_PART_BYTES + 20] = "/v1/pools/";
	struct api_match m;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		for (unsigned method = 0; method < API_METHODS; method++) {
			api_match(method, paths[i], &m);
			if (m.methods)
				fail_msg("'%s' is a path", paths[i]);
		}
	}
	memset(longest + 10, 'x', API_PART_BYTES - 1);
	assert_string_equal(operation(API_PATCH, longest, &m), "pool.set");
	longest[strlen(longest)] = 'x';
	assert_null(operation(API_PATCH, longest, &m));
}

static void escapes(void **state)
{
	char text[] = "a%2Fb%2fc%25%C3%a4+%7e";
	struct api_match m;

	(void)state;
	assert_true(api_unescape(text));
	assert_string_equal(text, "a/b/c%\xc3\xa4+~");
	assert_string_equal(operation(API_PATCH, "/v1/pools/a%2fb", &m), "pool.set");
	assert_string_equal(m.parts[0].value, "a/b");
}

static void names_of_methods(void **state)
{
	(void)state;
	for (unsigned i = 0; i < API_METHODS; i++)
		assert_int_equal(api_method_find(api_method_name(i)), i);
	assert_int_equal(api_method_find("HEAD"), API_GET);
	assert_int_equal(api_method_find("get"), API_METHODS);
	assert_int_equal(api_method_find("OPTIONS"), API_METHODS);
}

static void the_table(void **state)
{
	(void)state;
	for (const struct api_route *r = api_routes; r->path; r++) {
		assert_true(r->path[0] == '/' && r->status >= 200 && r->status < 300);
		assert_true((r->operation == NULL) ==
			    (r->serves == API_DESCRIPTION || r->serves == API_PAGE));
		for (const struct api_route *other = api_routes; other != r; other++)
			assert_true(other->method != r->method || strcmp(other->path, r->path) != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_and_methods),   cmocka_unit_test(other_methods),
		cmocka_unit_test(paths_that_are_none), cmocka_unit_test(escapes),
		cmocka_unit_test(names_of_methods),    cmocka_unit_test(the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
