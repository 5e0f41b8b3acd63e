// SPDX-License-Identifier: Apache-2.0
// Answers of the API: JSON, problem documents (RFC 9457), files. Runs in the mediator's loop.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/api/internal.h"
#include "mediator/complain.h"
#include "protocol/control/control.h"

unsigned api_status_of(const char *error)
{
	static const struct {
		const char *error;
		unsigned status;
	} map[] = {
		{ CONTROL_E_JSON, MHD_HTTP_BAD_REQUEST },
		{ CONTROL_E_FIELD, MHD_HTTP_BAD_REQUEST },
		{ CONTROL_E_VALUE, MHD_HTTP_UNPROCESSABLE_CONTENT },
		{ CONTROL_E_OPERATION, MHD_HTTP_NOT_FOUND },
		{ CONTROL_E_UNKNOWN, MHD_HTTP_NOT_FOUND },
		{ CONTROL_E_STATE, MHD_HTTP_CONFLICT },
		{ CONTROL_E_GPU, MHD_HTTP_CONFLICT },
		{ CONTROL_E_LIMIT, MHD_HTTP_TOO_MANY_REQUESTS },
		{ CONTROL_E_PERMISSION, MHD_HTTP_FORBIDDEN },
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		if (strcmp(map[i].error, error) == 0)
			return map[i].status;
	}
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

json_t *api_problem(unsigned status, const char *error, const char *detail)
{
	return json_pack("{s:s+, s:s, s:i, s:s, s:s}", "type", "urn:vgpu:error:", error, "title",
			 MHD_get_reason_phrase_for(status), "status", (int)status, "detail", detail, "error",
			 error);
}

static void add_headers(struct MHD_Response *response, unsigned status, const char *type, const char *allow)
{
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (allow && allow[0])
		MHD_add_response_header(response, "Allow", allow);
	if (status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"vgpu\"");
	if (status == MHD_HTTP_TOO_MANY_REQUESTS)
		MHD_add_response_header(response, "Retry-After", "1");
}

// Takes the response over.
static enum MHD_Result queue(struct api_request *r, unsigned status, struct MHD_Response *response)
{
	enum MHD_Result done;

	if (r->link->refusal)
		MHD_add_response_header(response, "Connection", "close");
	r->answered = true;
	r->link->deadline_ns = clock_now_ns() + VGPU_MAX_API_ANSWER_NS;
	done = MHD_queue_response(r->connection, status, response);
	MHD_destroy_response(response);
	return done;
}

enum MHD_Result api_send_json(struct api_request *r, unsigned status, json_t *body, const char *allow)
{
	char *dump = body ? json_dumps(body, JSON_COMPACT) : NULL;
	size_t n = dump ? strlen(dump) : 0;
	char *text = dump ? realloc(dump, n + 1) : NULL;
	struct MHD_Response *response = NULL;

	json_decref(body);
	if (!text) {
		free(dump);
	} else {
		text[n] = '\n'; // in place of the end
		response = MHD_create_response_from_buffer(n + 1, text, MHD_RESPMEM_MUST_FREE);
	}
	if (!response) {
		free(text);
		complain("api: out of memory, a connection was closed");
		return MHD_NO;
	}
	add_headers(response, status, status >= 400 ? "application/problem+json" : "application/json", allow);
	return queue(r, status, response);
}

enum MHD_Result api_send_metrics(struct api_request *r, json_t *answer)
{
	const json_t *text = json_object_get(answer, "text");
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    json_string_length(text), (void *)(uintptr_t)json_string_value(text), MHD_RESPMEM_MUST_COPY);

	json_decref(answer);
	if (!response)
		return MHD_NO;
	add_headers(response, r->route->status, "text/plain; version=0.0.4; charset=utf-8", NULL);
	return queue(r, r->route->status, response);
}

enum MHD_Result api_send_static(struct api_request *r, const char *type, const void *data, size_t bytes)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(bytes, (void *)(uintptr_t)data, MHD_RESPMEM_PERSISTENT);

	if (!response)
		return MHD_NO;
	add_headers(response, MHD_HTTP_OK, type, NULL);
	// The page asks nobody but this mediator, runs nothing that did not come with it, and is in no frame.
	MHD_add_response_header(response, "Content-Security-Policy",
				"default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
				"form-action 'none'");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	return queue(r, MHD_HTTP_OK, response);
}
