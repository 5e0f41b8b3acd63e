// SPDX-License-Identifier: Apache-2.0
// Between the files of mediator/api. Belongs to whom: a door has links (connections), a link has at most one
// request, a request may have an answer that is awaited or a stream. The HTTP library owns the sockets.
#ifndef VGPU_MEDIATOR_API_INTERNAL_H
#define VGPU_MEDIATOR_API_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>

#include "mediator/api/api.h"
#include "mediator/api/routes.h"
#include "mediator/limit/bucket.h"

struct api_request;

struct api_link {
	struct api_door *door;
	LIST_ENTRY(api_link) link;
	int fd;			  // the HTTP library's
	bool started;		  // the library knows it
	struct control_peer peer; // over TCP: by the last request's token
	unsigned refusal;	  // what any request is answered with; 0: nothing
	struct bucket rate;
	uint64_t deadline_ns; // when it is cut off; 0: not
	struct api_request *request;
};

struct api_request {
	struct api_link *link;
	struct MHD_Connection *connection;
	const struct api_route *route;
	bool is_head, has_body, is_long; // is_long: the body, so that it is not even read
	json_t *problem;		 // what it is refused with; NULL: nothing so far
	unsigned problem_status;	 // NULL problem: of no meaning
	char allow[64];			 // of a problem with the method
	json_t *fields;			 // of the path and the query
	char *body;
	size_t body_bytes, dropped_bytes;
	struct control_later *later;	     // the answer that is awaited
	bool performed, suspended, answered; // performed: with an answer that came later, or is awaited
	json_t *answer;
	struct api_stream *stream;
};

// ---- door.c

// listen_fd: taken over. key and certificate: of a TCP door; may go afterwards. 0 or -errno.
int api_door_open(struct api_door *d, struct api *a, const char *name, int listen_fd, const char *certificate,
		  const char *key);
// What is ready is sent first. No connection may be suspended.
void api_door_close(struct api_door *d);
// Cuts a connection off; the library notices and cleans up.
void api_link_cut(struct api_link *l);
// As the library's resume, which by itself would wait for something else to happen.
void api_link_resume(struct api_link *l, struct MHD_Connection *connection);
struct api_link *api_link_of(struct MHD_Connection *connection);

// ---- request.c

enum MHD_Result api_handle(void *door, struct MHD_Connection *connection, const char *url, const char *method,
			   const char *version, const char *upload, size_t *upload_bytes, void **request);
// It waits for its answer, and that has not come.
void api_request_give_up(struct api_request *r);
// MHD_OPTION_UNESCAPE_CALLBACK: what comes stays as it is, so that routes see which slashes are escaped.
size_t api_keep_escapes(void *door, struct MHD_Connection *connection, char *text);
void api_completed(void *door, struct MHD_Connection *connection, void **request,
		   enum MHD_RequestTerminationCode how);

// ---- answer.c

// A problem document (RFC 9457): a new object, or NULL without memory.
json_t *api_problem(unsigned status, const char *error, const char *detail);
// The HTTP status of a CONTROL_E_* word.
unsigned api_status_of(const char *error);
// Takes body over; NULL: no memory for it. allow: the Allow header's value; NULL or "": none.
enum MHD_Result api_send_json(struct api_request *r, unsigned status, json_t *body, const char *allow);
// Sends its field text, and takes answer over.
enum MHD_Result api_send_metrics(struct api_request *r, json_t *answer);
enum MHD_Result api_send_static(struct api_request *r, const char *type, const void *data, size_t bytes);

// ---- stream.c

// What a listener asks for: query fields as the operation events takes them, and the Last-Event-ID header.
enum MHD_Result api_stream_begin(struct api_request *r);
void api_stream_free(struct api_stream *s);
void api_streams_tick(struct api *a, uint64_t now_ns);
void api_streams_end(struct api *a); // when they have what is there
void api_stream_event(void *api);    // for struct events

// ---- openapi.c

json_t *api_describe(void);

#endif
