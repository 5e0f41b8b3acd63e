// SPDX-License-Identifier: Apache-2.0
// A request's way: who asks, which route, its fields out of path, query and body; then the operation, and its
// answer now or later. The HTTP library calls in three steps: when the header is there, for pieces of the
// body, and when all is there. Runs in the mediator's loop.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/api/internal.h"
#include "mediator/api/page.h"
#include "mediator/complain.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

#define BEARER "Bearer "
// A body that is too long is read so far before the connection is closed, so that most clients get to read
// why.
#define MOST_DROPPED (16 * (size_t)VGPU_MAX_API_BODY)

static void refuse(struct api_request *r, unsigned status, const char *error, const char *text)
{
	if (r->problem)
		return;
	metrics_refused_control(r->link->door->api->mediator, error);
	r->problem = api_problem(status, error, text);
	r->problem_status = status;
}

static const char *header(struct api_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

// ---- who ----

static void read_token(struct api_request *r)
{
	struct api_door *d = r->link->door;
	struct control_peer *peer = &r->link->peer;
	const char *value = header(r, "Authorization");
	const struct api_token *token = NULL;

	if (value && strncasecmp(value, BEARER, strlen(BEARER)) == 0)
		token =
		    api_tokens_find(&d->api->tokens, value + strlen(BEARER), strlen(value + strlen(BEARER)));
	peer->role = !token ? CONTROL_STRANGER : token->admin ? CONTROL_ADMIN : CONTROL_VIEWER;
	if (token) {
		snprintf(peer->who, sizeof(peer->who), "token %s (%s)", token->name, d->name);
		return;
	}
	snprintf(peer->who, sizeof(peer->who), "somebody (%s)", d->name);
	if (value)
		complain("api: a request over %s with a token that is not known", d->name);
	refuse(r, MHD_HTTP_UNAUTHORIZED, CONTROL_E_PERMISSION,
	       "a token is needed: Authorization: Bearer TOKEN");
}

static void judge_link(struct api_request *r, const char *url)
{
	struct api_link *l = r->link;

	if (l->refusal == MHD_HTTP_FORBIDDEN)
		refuse(
		    r, l->refusal, CONTROL_E_PERMISSION,
		    "only root, the mediator's own user and members of control.group and api.viewer_group");
	else if (l->refusal)
		refuse(r, l->refusal, CONTROL_E_LIMIT, "too many connections (VGPU_MAX_API_LINKS)");
	else if (!bucket_take(&l->rate, VGPU_MAX_API_REQUESTS_PER_S, clock_now_ns()))
		refuse(r, MHD_HTTP_TOO_MANY_REQUESTS, CONTROL_E_LIMIT,
		       "too many requests (VGPU_MAX_API_REQUESTS_PER_S)");
	else if (l->door->tcp && !api_page_find(url)) // a browser has no token before it has the page
		read_token(r);
}

// ---- fields ----

static enum control_type type_of(const struct control_operation *o, const char *name)
{
	for (const struct control_field *f = o->fields; f->name; f++) {
		if (strcmp(f->name, name) == 0)
			return f->type;
	}
	return CONTROL_STRING;
}

static json_t *integer_of(const char *text)
{
	size_t n = strlen(text), digits = strspn(text, "0123456789");

	// More digits than any integer of ours has: left as text, which the check refuses.
	return n && digits == n && n <= 18 ? json_integer(strtoll(text, NULL, 10)) : NULL;
}

// Text of a path or query as the operation's field wants it.
static json_t *value_of(enum control_type type, const char *text)
{
	json_t *integer = type == CONTROL_INTEGER || type == CONTROL_TENANT ? integer_of(text) : NULL;

	if (integer)
		return integer;
	if (type == CONTROL_BOOLEAN && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		return json_boolean(text[0] == 't');
	return json_string(text);
}

// False: it is there already, or not UTF-8.
static bool add_field(struct api_request *r, const char *name, const char *text)
{
	const struct control_operation *o = control_find(r->route->operation);

	if (strcmp(name, "op") == 0 || strcmp(name, "id") == 0 || json_object_get(r->fields, name))
		return false;
	return json_object_set_new(r->fields, name, value_of(type_of(o, name), text)) == 0;
}

static bool copy_unescaped(char ret[static API_PART_BYTES], const char *text)
{
	return snprintf(ret, API_PART_BYTES, "%s", text) < API_PART_BYTES && api_unescape(ret);
}

static enum MHD_Result on_parameter(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	char name_text[API_PART_BYTES], value_text[API_PART_BYTES];
	struct api_request *r = cls;

	(void)kind;
	if (json_object_size(r->fields) >= VGPU_MAX_API_QUERY) {
		refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_LIMIT, "too many parameters (VGPU_MAX_API_QUERY)");
		return MHD_NO;
	}
	value = value ? value : "";
	if (copy_unescaped(name_text, name) && copy_unescaped(value_text, value) &&
	    add_field(r, name_text, value_text))
		return MHD_YES;
	refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_FIELD,
	       "a parameter of the query is doubled, too long or not well-formed");
	return MHD_NO;
}

static void read_fields(struct api_request *r, const struct api_match *m)
{
	r->fields = json_object();
	for (unsigned i = 0; i < m->n_parts; i++) {
		if (!add_field(r, m->parts[i].name, m->parts[i].value))
			refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_VALUE, "the path is not UTF-8");
	}
	if (r->route->method == API_GET)
		MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, on_parameter, r);
	else if (MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0)
		refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_FIELD, "only GET takes parameters in a query");
}

// ---- the header ----

static bool takes_body(enum api_method method)
{
	return method == API_POST || method == API_PUT || method == API_PATCH;
}

static bool is_json(const char *type)
{
	static const char json[] = "application/json";
	size_t n = sizeof(json) - 1;

	return strncasecmp(type, json, n) == 0 && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static void judge_body(struct api_request *r)
{
	const char *length = header(r, "Content-Length"), *type = header(r, "Content-Type");
	unsigned long long bytes = length ? strtoull(length, NULL, 10) : 0; // as the library has checked

	r->is_long = bytes > MOST_DROPPED;
	r->has_body = header(r, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
	if (!r->has_body)
		return;
	if (r->route && !takes_body(r->route->method))
		refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_FIELD, "this method takes no body");
	if (bytes > VGPU_MAX_API_BODY)
		refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, CONTROL_E_LIMIT,
		       "the body is too long (VGPU_MAX_API_BODY)");
	if (!type || !is_json(type))
		refuse(r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, CONTROL_E_JSON, "a body is application/json");
}

static void find_route(struct api_request *r, const char *url, const char *method)
{
	const struct control_operation *o;
	struct api_match m;

	api_match(api_method_find(method), api_page_find(url) ? API_PAGE_PATH : url, &m);
	r->route = m.route;
	if (r->route && r->route->serves == API_PAGE && !api_page_find(url))
		m.methods = 0;
	if (!m.methods) {
		refuse(r, MHD_HTTP_NOT_FOUND, CONTROL_E_OPERATION,
		       "there is nothing at this path (/openapi.json)");
		return;
	}
	if (!r->route) {
		api_print_methods(m.methods, r->allow, sizeof(r->allow));
		refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, CONTROL_E_OPERATION, "not with this method");
		return;
	}
	o = r->route->operation ? control_find(r->route->operation) : NULL;
	if (!o)
		return;
	if (o->changes && r->link->peer.role < CONTROL_ADMIN)
		refuse(r, MHD_HTTP_FORBIDDEN, CONTROL_E_PERMISSION, "this is for admins");
	else
		read_fields(r, &m);
}

static struct api_request *request_new(struct MHD_Connection *connection)
{
	struct api_link *link = api_link_of(connection);
	struct api_request *r = link ? calloc(1, sizeof(*r)) : NULL;

	if (!r)
		return NULL;
	r->connection = connection;
	r->link = link;
	r->link->request = r;
	return r;
}

static void request_free(struct api_request *r)
{
	r->link->request = NULL;
	if (r->later)
		control_later_gone(r->later);
	if (r->stream)
		api_stream_free(r->stream);
	json_decref(r->problem);
	json_decref(r->fields);
	json_decref(r->answer);
	free(r->body);
	free(r);
}

static enum MHD_Result send_problem(struct api_request *r)
{
	json_t *problem = r->problem;

	r->problem = NULL;
	return api_send_json(r, r->problem_status, problem, r->allow);
}

static enum MHD_Result begin(struct api_request *r, const char *url, const char *method)
{
	r->is_head = strcmp(method, "HEAD") == 0;
	judge_link(r, url);
	if (!r->problem)
		find_route(r, url, method);
	judge_body(r);
	// Answered before the body, which closes the connection; else when all was read, and it stays open.
	return r->has_body && r->is_long ? send_problem(r) : MHD_YES;
}

// ---- the body ----

static void take_piece(struct api_request *r, const char *piece, size_t n)
{
	char *body;

	if (r->body_bytes + n > VGPU_MAX_API_BODY || r->problem) {
		refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, CONTROL_E_LIMIT,
		       "the body is too long (VGPU_MAX_API_BODY)");
		r->dropped_bytes += n;
		return;
	}
	body = realloc(r->body, r->body_bytes + n);
	if (!body) {
		refuse(r, MHD_HTTP_INTERNAL_SERVER_ERROR, CONTROL_E_INTERNAL, "no memory");
		return;
	}
	memcpy(body + r->body_bytes, piece, n);
	r->body = body;
	r->body_bytes += n;
}

static void read_body(struct api_request *r)
{
	json_t *error = NULL, *body, *value;
	const char *name;

	if (!r->body_bytes)
		return;
	body = control_parse(r->link->door->api->mediator, r->body, r->body_bytes, &error);
	if (!body) {
		refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_JSON,
		       error ? json_string_value(json_object_get(error, "text")) : "no memory");
		json_decref(error);
		return;
	}
	json_object_foreach(body, name, value)
	{
		// What names the thing stands in the path, and once.
		if (strcmp(name, "op") == 0 || strcmp(name, "id") == 0 || json_object_get(r->fields, name))
			refuse(r, MHD_HTTP_BAD_REQUEST, CONTROL_E_FIELD,
			       "a field of the body is not the operation's, or stands in the path");
		else
			json_object_set(r->fields, name, value);
	}
	json_decref(body);
}

// ---- the operation ----

static enum MHD_Result send_answer(struct api_request *r, json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *text = json_string_value(json_object_get(answer, "text"));
	enum MHD_Result done;
	unsigned status;

	if (answer && json_is_true(json_object_get(answer, "ok"))) {
		if (r->route->serves == API_METRICS)
			return api_send_metrics(r, answer);
		json_object_del(answer, "ok");
		return api_send_json(r, r->route->status, answer, NULL);
	}
	status = error ? api_status_of(error) : MHD_HTTP_INTERNAL_SERVER_ERROR;
	done = api_send_json(
	    r, status, api_problem(status, error ? error : CONTROL_E_INTERNAL, text ? text : "no memory"),
	    NULL);
	json_decref(answer);
	return done;
}

static void await(void *link, struct control_later *later)
{
	struct api_request *r = link;

	r->later = later;
}

static void take_answer(void *link, json_t *answer)
{
	struct api_request *r = link;

	r->later = NULL;
	r->answer = answer;
	r->suspended = false;
	r->link->deadline_ns = 0;
	api_link_resume(r->link, r->connection);
}

static const struct control_door door = { await, take_answer };

void api_request_give_up(struct api_request *r)
{
	control_later_gone(r->later);
	take_answer(r, control_error(CONTROL_E_INTERNAL, "no answer in VGPU_MAX_API_WAIT_NS"));
}

static enum MHD_Result perform(struct api_request *r)
{
	struct control_peer *peer = &r->link->peer;
	bool later = false;
	json_t *answer;

	peer->door = &door;
	peer->link = r;
	json_object_set_new(r->fields, "op", json_string(r->route->operation));
	answer = control_perform(r->link->door->api->mediator, peer, r->fields, &later);
	if (!later)
		return send_answer(r, answer);
	r->link->deadline_ns = clock_now_ns() + VGPU_MAX_API_WAIT_NS;
	r->performed = r->suspended = true;
	MHD_suspend_connection(r->connection);
	return MHD_YES;
}

static enum MHD_Result serve(struct api_request *r, const char *url)
{
	const struct api_page *page;
	const char *accept;

	switch (r->route->serves) {
	case API_DESCRIPTION: return api_send_json(r, r->route->status, api_describe(), NULL);
	case API_PAGE:
		page = api_page_find(url);
		return api_send_static(r, page->type, page->data, page->bytes);
	case API_EVENTS:
		accept = header(r, "Accept");
		if (!r->is_head && accept && strstr(accept, "text/event-stream"))
			return api_stream_begin(r);
		return perform(r);
	default: return perform(r);
	}
}

// All is there, or the answer that was waited for.
static enum MHD_Result finish(struct api_request *r, const char *url)
{
	json_t *answer = r->answer;

	if (r->answered || r->suspended) // called once more
		return MHD_YES;
	r->answer = NULL;
	if (r->performed)
		return send_answer(r, answer);
	if (!r->problem && r->route->operation)
		read_body(r);
	return r->problem ? send_problem(r) : serve(r, url);
}

enum MHD_Result api_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
			   const char *version, const char *upload, size_t *upload_bytes, void **request)
{
	struct api_request *r = *request;

	(void)cls;
	(void)version;
	if (!r) {
		r = *request = request_new(connection);
		return r ? begin(r, url, method) : MHD_NO;
	}
	if (*upload_bytes) {
		take_piece(r, upload, *upload_bytes);
		*upload_bytes = 0;
		return r->dropped_bytes > MOST_DROPPED ? MHD_NO : MHD_YES;
	}
	return finish(r, url);
}

void api_completed(void *cls, struct MHD_Connection *connection, void **request,
		   enum MHD_RequestTerminationCode how)
{
	struct api_request *r = *request;

	(void)cls;
	(void)connection;
	(void)how;
	if (!r)
		return;
	r->link->deadline_ns = clock_now_ns() + VGPU_MAX_API_REQUEST_NS;
	request_free(r);
	*request = NULL;
}

size_t api_keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
	(void)cls;
	(void)connection;
	return strlen(text);
}
