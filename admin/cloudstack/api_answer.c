// SPDX-License-Identifier: Apache-2.0
// Reads answers of CloudStack's API; see the header. Whatever the bytes are, it ends with an object or a
// reason.
#include "admin/cloudstack/api_answer.h"

#include <stdlib.h>
#include <string.h>

#include "admin/text.h"

static void say(struct api_error *e, long code, const char *text)
{
	e->code = code;
	e->text = text_clean(text);
}

static json_t *inner(const json_t *top)
{
	static const char end[] = "response";
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)top, name, value)
	{
		size_t n = strlen(name);

		if (n >= sizeof(end) - 1 && strcmp(name + n - (sizeof(end) - 1), end) == 0 &&
		    json_is_object(value))
			return value;
	}
	return NULL;
}

static long code_of(const json_t *object, const char *name)
{
	const json_t *code = json_object_get(object, name);

	return json_is_integer(code) && json_integer_value(code) > 0 && json_integer_value(code) < 1000
		   ? (long)json_integer_value(code)
		   : 0;
}

json_t *api_answer_read(const char *bytes, size_t n, long status, struct api_error *ret)
{
	json_error_t where;
	json_t *top = json_loadb(bytes ? bytes : "", n, JSON_REJECT_DUPLICATES, &where);
	json_t *object = inner(top);
	const char *text = json_string_value(json_object_get(object, "errortext"));
	long code = code_of(object, "errorcode");

	*ret = (struct api_error){ 0 };
	if (!code && (status < 200 || status > 299))
		code = status;
	if (code > 0 && (object || status < 200 || status > 299))
		say(ret, code, text ? text : "it does not say why");
	else if (!top)
		say(ret, API_NO_ANSWER, n ? "the answer is no JSON, or was cut off" : "the answer is empty");
	else if (!object)
		say(ret, API_NO_ANSWER, "the answer is not one of CloudStack's");
	object = ret->code ? NULL : json_incref(object);
	json_decref(top);
	return object;
}

enum api_job api_job_read(const json_t *answer, struct api_error *ret)
{
	const json_t *status = json_object_get(answer, "jobstatus"),
		     *result = json_object_get(answer, "jobresult");
	const char *text = json_string_value(json_object_get(result, "errortext"));
	long code = code_of(result, "errorcode");

	*ret = (struct api_error){ 0 };
	if (json_is_integer(status) && json_integer_value(status) == 0)
		return API_JOB_RUNS;
	if (json_is_integer(status) && json_integer_value(status) == 1)
		return API_JOB_DONE;
	if (!text)
		text = json_string_value(result);
	if (!code)
		code = code_of(answer, "jobresultcode");
	if (json_is_integer(status))
		say(ret, code ? code : 530, text ? text : "the job failed, and does not say why");
	else
		say(ret, API_NO_ANSWER, "the answer does not say how the job does");
	return API_JOB_FAILED;
}

void api_error_done(struct api_error *e)
{
	free(e->text);
	*e = (struct api_error){ 0 };
}
