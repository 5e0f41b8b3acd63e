// SPDX-License-Identifier: Apache-2.0
// The client of CloudStack's API; see the header. libcurl does the protocol; what is signed is made in
// api_sign.c, what is answered read in api_answer.c.
#include "admin/cloudstack/api_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "admin/cloudstack/api_answer.h"
#include "admin/cloudstack/api_backoff.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define MOST_ANSWER_BYTES (16u << 20)
#define MOST_WAIT_MS	  30000u
#define CONNECT_S	  10l
#define EXPIRES_S	  600u // clocks differ, and a request may wait
#define PAGE_ROWS	  200u
#define MOST_PAGES	  500u

struct api {
	const struct config *config;
	CURL *curl;
	char error[CURL_ERROR_SIZE];
	time_t told, asked; // the time as it was told and as it was here; told 0: never
};

struct answer {
	char *body;
	size_t len, room;
	long status;
	bool too_long;
};

// How a request ended.
enum outcome {
	ANSWERED,
	REFUSED,
	BUSY, // refused before anything was done
	LOST, // it may have been done or not
};

// ---- the connection ----

struct api *api_new(const struct config *config)
{
	struct api *a = text_memory(calloc(1, sizeof(*a)));

	curl_global_init(CURL_GLOBAL_DEFAULT);
	a->config = config;
	a->curl = text_memory(curl_easy_init());
	curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, a->error);
	curl_easy_setopt(a->curl, CURLOPT_URL, config->url);
	curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR,
			 strncmp(config->url, "https:", 6) == 0 ? "https" : "http");
	curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT, (long)config->timeout_s);
	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1l);
	if (strncmp(config->url, "http:", 5) == 0) // the keys stay on this machine
		curl_easy_setopt(a->curl, CURLOPT_NOPROXY, "*");
	if (config->ca) {
		curl_easy_setopt(a->curl, CURLOPT_CAINFO, config->ca);
		curl_easy_setopt(a->curl, CURLOPT_CAPATH, NULL);
	}
	return a;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	curl_easy_cleanup(a->curl);
	free(a);
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *opaque)
{
	struct answer *a = opaque;

	n *= size;
	a->too_long = a->len + n > MOST_ANSWER_BYTES;
	if (a->too_long)
		return 0;
	if (a->len + n > a->room) {
		a->room = 2 * (a->len + n);
		a->body = text_memory(realloc(a->body, a->room));
	}
	memcpy(a->body + a->len, bytes, n);
	a->len += n;
	return n;
}

// Signs it as of now, which counts for each attempt anew.
static char *write_form(const struct api *a, const char *command, struct api_request *r)
{
	cleanup_free char *expires = api_expires(time(NULL), EXPIRES_S);

	api_set(r, "command", "%s", command);
	api_set(r, "response", "json");
	api_set(r, "apikey", "%s", a->config->apikey);
	api_set(r, "signatureversion", "3");
	api_set(r, "expires", "%s", expires);
	return api_form(r, a->config->secretkey);
}

// ---- failures ----

static void explain_connection(const struct api *a, CURLcode code, const struct answer *answer)
{
	const char *url = a->config->url, *path = a->config->path;
	cleanup_free char *text = text_clean(a->error[0] ? a->error : curl_easy_strerror(code));

	if (answer->too_long)
		admin_complain("%s: the answer is longer than %u MiB.\nIs that CloudStack's API (url in %s)?",
			       url, MOST_ANSWER_BYTES >> 20, path);
	else if (code == CURLE_PEER_FAILED_VERIFICATION)
		admin_complain("%s: its certificate is not trusted: %s.\nca in %s names the authority that "
			       "signed it",
			       url, text, path);
	else if (code == CURLE_SSL_CACERT_BADFILE)
		admin_complain("ca in %s: %s", path, text);
	else if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
		admin_complain("%s: %s.\nIs the management server up there (url in %s)?", url, text, path);
	else
		admin_complain("%s: no answer: %s", url, text);
}

static const char *next_step(long code)
{
	switch (code) {
	case 401:
		return "The keys are not known or may not do this, or the clocks differ by more than ten "
		       "minutes: "
		       "compare apikey and secretkey with the user's in CloudStack, and 'timedatectl'.";
	case 429:
		return "CloudStack limits how often this account may ask (api.throttling.max): try again "
		       "later.";
	case 431:
		return "CloudStack does not take a parameter of it: vGPUs need CloudStack 4.21 or later; "
		       "else "
		       "see what it names.";
	case 432:
		return "CloudStack does not know the call, or the role of these keys does not have it: "
		       "docs/cloudstack.md lists what the role needs.";
	case 530: return "CloudStack failed inside: management-server.log on its server says why.";
	case 533: return "CloudStack has no room for it.";
	case API_NO_ANSWER: return "Is that CloudStack's API, whose path is /client/api?";
	default: return "management-server.log on CloudStack's server says more.";
	}
}

static enum admin_exit explain(const struct api *a, const char *what, const struct api_error *e)
{
	if (e->code == API_NO_ANSWER)
		admin_complain("%s: %s: %s.\n%s (url in %s)", a->config->url, what, e->text,
			       next_step(e->code), a->config->path);
	else
		admin_complain("CloudStack refuses %s (%ld): %s.\n%s", what, e->code, e->text,
			       next_step(e->code));
	return e->code == API_NO_ANSWER ? ADMIN_NO_CONNECTION : ADMIN_REFUSED;
}

// ---- attempts ----

static bool is_query(const char *command)
{
	return strncmp(command, "list", 4) == 0 || strncmp(command, "query", 5) == 0;
}

bool api_clock(const struct api *a, long long *ret_s)
{
	*ret_s = (long long)a->told - (long long)a->asked;
	return a->told != 0;
}

static void note_clock(struct api *a)
{
	struct curl_header *date;

	if (curl_easy_header(a->curl, "Date", 0, CURLH_HEADER, -1, &date) != CURLHE_OK)
		return;
	a->told = curl_getdate(date->value, NULL);
	a->asked = time(NULL);
	if (a->told < 0)
		a->told = 0;
}

// A change goes over a connection of its own: on one that was used before and has ended since, libcurl would
// send it again by itself.
static CURLcode perform(struct api *a, const char *form, bool change, struct answer *ret)
{
	CURLcode code;

	a->error[0] = 0;
	curl_easy_setopt(a->curl, CURLOPT_FRESH_CONNECT, (long)change);
	curl_easy_setopt(a->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(form));
	curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, form);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, ret);
	code = curl_easy_perform(a->curl);
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &ret->status);
	note_clock(a);
	return code;
}

// Connections that nothing was said over.
static bool is_before(CURLcode code)
{
	return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
}

static enum outcome judge_connection(CURLcode code, const struct answer *answer, const char *command)
{
	if (is_before(code))
		return BUSY;
	if (answer->too_long)
		return is_query(command) ? REFUSED : LOST; // it will be as long again
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
	    code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
		return REFUSED;
	return LOST;
}

static enum outcome judge(long code)
{
	if (code == 429 || code == 503)
		return BUSY;
	if (code == API_NO_ANSWER || code == 530 || (code >= 500 && code < 530))
		return LOST;
	return REFUSED;
}

// Whether another attempt may follow this one.
static bool is_to_repeat(const char *command, enum outcome outcome)
{
	return outcome == BUSY || (outcome == LOST && is_query(command));
}

// One attempt. Says what went wrong if there will be no other.
static enum outcome attempt(struct api *a, const char *command, struct api_request *r, bool last,
			    json_t **ret, enum admin_exit *ret_exit)
{
	cleanup_free char *form = write_form(a, command, r);
	struct answer answer = { 0 };
	struct api_error error = { 0 };
	enum outcome outcome = ANSWERED;
	CURLcode code;

	if (!form) {
		admin_complain("GnuTLS has no HMAC-SHA1, with which CloudStack's requests are signed");
		*ret_exit = ADMIN_REFUSED;
		return REFUSED;
	}
	code = perform(a, form, !is_query(command), &answer);
	explicit_bzero(form, strlen(form));
	if (code != CURLE_OK) {
		outcome = judge_connection(code, &answer, command);
		*ret_exit = ADMIN_NO_CONNECTION;
		if (last || !is_to_repeat(command, outcome))
			explain_connection(a, code, &answer);
	} else {
		*ret = api_answer_read(answer.body, answer.len, answer.status, &error);
		if (!*ret) {
			outcome = judge(error.code);
			*ret_exit = error.code == API_NO_ANSWER ? ADMIN_NO_CONNECTION : ADMIN_REFUSED;
			if (last || !is_to_repeat(command, outcome))
				explain(a, command, &error);
		}
	}
	api_error_done(&error);
	free(answer.body);
	return outcome;
}

static void wait_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static uint32_t chance(void)
{
	uint32_t n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) < 0)
		n = (uint32_t)time(NULL) * 2654435761u;
	return n;
}

// A change is not asked for once more when nobody knows whether it was done: that would make a second
// offering.
enum admin_exit api_ask(struct api *a, const char *command, struct api_request *r, json_t **ret)
{
	unsigned tries = (unsigned)a->config->tries;
	enum admin_exit exit = ADMIN_OK;
	json_t *answer = NULL;
	enum outcome outcome = LOST;

	for (unsigned i = 0; i < tries; i++) {
		bool last = i + 1 == tries;

		outcome = attempt(a, command, r, last, &answer, &exit);
		if (last || !is_to_repeat(command, outcome))
			break;
		wait_ms(api_backoff_ms((unsigned)a->config->wait_ms, MOST_WAIT_MS, i, chance()));
	}
	if (outcome == LOST && !is_query(command))
		fprintf(stderr,
			"%s may have been done or not: 'vgpu-admin cloudstack status' shows what there is.\n",
			command);
	api_request_done(r);
	if (outcome != ANSWERED)
		return exit;
	if (ret)
		*ret = answer;
	else
		json_decref(answer);
	return ADMIN_OK;
}

// ---- lists ----

static enum admin_exit next_page(struct api *a, const char *command, const struct api_request *r,
				 unsigned page, const char *object, json_t *to, bool *ret_more)
{
	struct api_request ask = { 0 };
	json_t *answer = NULL, *rows;
	enum admin_exit e;
	size_t n;

	for (size_t i = 0; i < r->n; i++)
		api_set(&ask, r->parameter[i].name, "%s", r->parameter[i].value);
	api_set(&ask, "page", "%u", page);
	api_set(&ask, "pagesize", "%u", PAGE_ROWS);
	e = api_ask(a, command, &ask, &answer);
	if (e != ADMIN_OK)
		return e;
	rows = json_object_get(answer, object);
	n = json_array_size(rows);
	json_array_extend(to, rows);
	*ret_more =
	    n > 0 && json_integer_value(json_object_get(answer, "count")) > (json_int_t)json_array_size(to);
	json_decref(answer);
	return ADMIN_OK;
}

enum admin_exit api_list(struct api *a, const char *command, struct api_request *r, const char *object,
			 json_t **ret)
{
	json_t *all = json_array();
	enum admin_exit e = ADMIN_OK;
	bool more = true;

	for (unsigned page = 1; e == ADMIN_OK && more; page++) {
		if (page > MOST_PAGES) {
			admin_complain("%s: CloudStack has more than %u of them", command,
				       MOST_PAGES * PAGE_ROWS);
			e = ADMIN_REFUSED;
			break;
		}
		e = next_page(a, command, r, page, object, all, &more);
	}
	api_request_done(r);
	if (e == ADMIN_OK)
		*ret = all;
	else
		json_decref(all);
	return e;
}

// ---- jobs ----

enum admin_exit api_start(struct api *a, const char *command, struct api_request *r, char **ret_job)
{
	const char *job;
	json_t *answer = NULL;
	enum admin_exit e = api_ask(a, command, r, &answer);

	if (e != ADMIN_OK)
		return e;
	job = json_string_value(json_object_get(answer, "jobid"));
	if (job) {
		*ret_job = text_print("%s", job);
	} else {
		admin_complain("%s: CloudStack names no job for it", command);
		e = ADMIN_NO_CONNECTION;
	}
	json_decref(answer);
	return e;
}

static long long monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

enum admin_exit api_wait(struct api *a, const char *job, const char *what)
{
	long long end = monotonic_ms() + (long long)a->config->job_timeout_s * 1000;

	for (unsigned i = 0;; i++) {
		struct api_request r = { 0 };
		struct api_error error;
		enum api_job state;
		json_t *answer = NULL;
		enum admin_exit e;

		api_set(&r, "jobid", "%s", job);
		e = api_ask(a, "queryAsyncJobResult", &r, &answer);
		if (e != ADMIN_OK)
			return e;
		state = api_job_read(answer, &error);
		json_decref(answer);
		if (state == API_JOB_FAILED)
			e = explain(a, what, &error);
		api_error_done(&error);
		if (state != API_JOB_RUNS)
			return e;
		if (monotonic_ms() >= end) {
			admin_complain("%s: CloudStack's job %s still runs after %lu s; it goes on", what,
				       job, a->config->job_timeout_s);
			return ADMIN_REFUSED;
		}
		wait_ms(api_backoff_ms((unsigned)a->config->wait_ms, MOST_WAIT_MS / 6, i, chance()));
	}
}
