// SPDX-License-Identifier: Apache-2.0
// Requests to CloudStack's API as they are signed, how long is waited between them, and what is made of
// answers.
#include "tests/unit/admin/test.h"

#include "admin/cloudstack/api_answer.h"
#include "admin/cloudstack/api_backoff.h"
#include "admin/cloudstack/api_sign.h"

// Those of the example in CloudStack's documentation: keys of nothing.
static const char key[] =
    "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg";
static const char secret[] =
    "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ";

static void test_the_documented_signature(void **state)
{
	struct api_request r = { 0 };
	char *query, *form;

	(void)state;
	api_set(&r, "response", "json");
	api_set(&r, "command", "listUsers");
	api_set(&r, "apikey", "%s", key);
	query = api_query(&r);
	assert_memory_equal(query, "apikey=plgWJf", 13);
	assert_string_equal(query + strlen(query) - 32, "&command=listUsers&response=json");
	is(api_sign(query, secret), "TTpdDq/7j/J58XCRHomKoQXEQds=");
	form = api_form(&r, secret);
	assert_memory_equal(form, query, strlen(query));
	assert_string_equal(form + strlen(query), "&signature=TTpdDq%2F7j%2FJ58XCRHomKoQXEQds%3D");
	free(query);
	free(form);
	api_request_done(&r);
}

static void test_a_signature_depends_on_all_of_it(void **state)
{
	char *one = api_sign("a=1&b=x%20y", "secret");

	(void)state;
	is(api_sign("A=1&b=X%20Y", "secret"), one); // letters do not count
	for (size_t i = 0; i < 3; i++) {
		static const char *const others[][2] = { { "a=1&b=x%20z", "secret" },
							 { "a=1&b=x%20y", "Secret" },
							 { "a=1&b=x%20y&c=", "secret" } };
		char *other = api_sign(others[i][0], others[i][1]);

		assert_string_not_equal(one, other);
		free(other);
	}
	free(one);
}

static void test_values_are_encoded_as_the_server_does(void **state)
{
	(void)state;
	is(api_encode("aZ09-._*"), "aZ09-._*");
	is(api_encode("a b+c~d&e=f/g"), "a%20b%2Bc%7Ed%26e%3Df%2Fg");
	is(api_encode("\xc3\xa9"), "%C3%A9");
	is(api_encode(""), "");
}

static void test_parameters_are_sorted_and_replaced(void **state)
{
	struct api_request r = { 0 };

	(void)state;
	api_set(&r, "b", "%d", 2);
	api_set(&r, "name", "x y");
	api_set(&r, "a", "1");
	api_set(&r, "b", "3");
	assert_int_equal(r.n, 3);
	assert_string_equal(api_get(&r, "b"), "3");
	assert_null(api_get(&r, "c"));
	is(api_query(&r), "a=1&b=3&name=x%20y");
	assert_string_equal(r.parameter[0].name, "b"); // the request itself stays as it is
	api_request_done(&r);
	is(api_query(&r), "");
}

static void test_when_a_request_expires(void **state)
{
	(void)state;
	is(api_expires(1795942921, 600), "2026-11-29T09:12:01+0000");
	is(api_expires(1798761599, 1), "2027-01-01T00:00:00+0000");
}

static void test_back_off(void **state)
{
	(void)state;
	assert_int_equal(api_backoff_ms(500, 30000, 0, UINT32_MAX), 500);
	assert_int_equal(api_backoff_ms(500, 30000, 0, 0), 250);
	assert_int_equal(api_backoff_ms(500, 30000, 3, UINT32_MAX), 4000);
	assert_int_equal(api_backoff_ms(500, 30000, 3, 1u << 31), 3000);
	assert_int_equal(api_backoff_ms(500, 30000, 10, UINT32_MAX), 30000);
	assert_int_equal(api_backoff_ms(500, 30000, UINT32_MAX, UINT32_MAX), 30000);
	assert_int_equal(api_backoff_ms(500, 30000, UINT32_MAX, 0), 15000);
	assert_int_equal(api_backoff_ms(1, 1, 0, 0), 1);
	for (unsigned i = 0; i < 20; i++) {
		unsigned before = api_backoff_ms(7, 100000, i, 12345),
			 next = api_backoff_ms(7, 100000, i + 1, 12345);

		assert_true(next >= before && next <= 100000);
	}
}

static json_t *read_text(const char *text, long status, struct api_error *ret)
{
	return api_answer_read(text, strlen(text), status, ret);
}

static void refused(const char *text, long status, long code, const char *said)
{
	struct api_error e;

	assert_null(read_text(text, status, &e));
	assert_int_equal(e.code, code);
	assert_non_null(strstr(e.text, said));
	api_error_done(&e);
	assert_null(e.text);
}

static void test_answers(void **state)
{
	struct api_error e;
	json_t *object = read_text("{\"listhostsresponse\": {\"count\": 2}}", 200, &e);

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(object, "count")), 2);
	assert_int_equal(e.code, 0);
	json_decref(object);
	object = read_text("{\"listhostsresponse\": {}}", 200, &e);
	assert_int_equal(json_object_size(object), 0);
	json_decref(object);
	refused("{\"errorresponse\": {\"errorcode\": 431, \"errortext\": \"no \\u001b[2J\"}}", 431, 431,
		"\\x1b");
	refused("{\"xresponse\": {\"errorcode\": 530, \"cserrorcode\": 4250}}", 530, 530, "why");
	refused("{\"xresponse\": {\"errorcode\": 533, \"errortext\": \"full\"}}", 200, 533, "full");
	refused("<html>", 503, 503, "why");
	refused("", 401, 401, "why");
	refused("", 200, API_NO_ANSWER, "empty");
	refused("{\"listhostsresponse\": {\"host\": [{\"id\": \"1", 200, API_NO_ANSWER, "cut off");
	refused("{\"other\": {}}", 200, API_NO_ANSWER, "CloudStack's");
	refused("{\"xresponse\": 3}", 200, API_NO_ANSWER, "CloudStack's");
	refused("[1]", 200, API_NO_ANSWER, "CloudStack's");
	refused("{\"xresponse\": {}}", 302, 302, "why");
}

static enum api_job job(const char *text, long *ret_code, char said[200])
{
	json_t *answer = json_loads(text, 0, NULL);
	struct api_error e;
	enum api_job j;

	assert_non_null(answer);
	j = api_job_read(answer, &e);
	*ret_code = e.code;
	snprintf(said, 200, "%s", e.text ? e.text : "");
	api_error_done(&e);
	json_decref(answer);
	return j;
}

static void test_jobs(void **state)
{
	char said[200];
	long code;

	(void)state;
	assert_int_equal(job("{\"jobstatus\": 0}", &code, said), API_JOB_RUNS);
	assert_int_equal(job("{\"jobstatus\": 1, \"jobresult\": {}}", &code, said), API_JOB_DONE);
	assert_int_equal(code, 0);
	assert_int_equal(job("{\"jobstatus\": 2, \"jobresultcode\": 530, \"jobresult\": {\"errorcode\": 533, "
			     "\"errortext\": \"no room\"}}",
			     &code, said),
			 API_JOB_FAILED);
	assert_int_equal(code, 533);
	assert_string_equal(said, "no room");
	assert_int_equal(
	    job("{\"jobstatus\": 2, \"jobresultcode\": 531, \"jobresult\": \"gone\"}", &code, said),
	    API_JOB_FAILED);
	assert_int_equal(code, 531);
	assert_string_equal(said, "gone");
	assert_int_equal(job("{\"jobstatus\": \"1\"}", &code, said), API_JOB_FAILED);
	assert_int_equal(code, API_NO_ANSWER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_documented_signature),
		cmocka_unit_test(test_a_signature_depends_on_all_of_it),
		cmocka_unit_test(test_values_are_encoded_as_the_server_does),
		cmocka_unit_test(test_parameters_are_sorted_and_replaced),
		cmocka_unit_test(test_when_a_request_expires),
		cmocka_unit_test(test_back_off),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_jobs),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
