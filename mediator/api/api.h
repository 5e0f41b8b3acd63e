// SPDX-License-Identifier: Apache-2.0
// The HTTP API: operations (mediator/control/operations.h) as routes with JSON, over a unix socket and, if it
// is set up, over TCP with TLS and tokens. As the rest of the mediator sees it. In the mediator's loop,
// without threads.
#ifndef VGPU_MEDIATOR_API_API_H
#define VGPU_MEDIATOR_API_API_H

#include <bsd/sys/queue.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "mediator/api/tokens.h"
#include "mediator/control/peer.h"

#define API_SOCKET_NAME "api.sock" // in paths.run_directory

struct mediator;
struct api;
struct api_link;
struct api_stream;
struct MHD_Daemon;

LIST_HEAD(api_link_list, api_link);
LIST_HEAD(api_stream_list, api_stream);

// One socket that listens, and its connections.
struct api_door {
	struct api *api;
	const char *name;	   // "http", "https"
	bool tcp;		   // with TLS and tokens
	struct MHD_Daemon *daemon; // NULL: closed
	int fd;
	bool resumed; // a connection has to be looked at again
	sd_event_source *accepting, *io, *timer;
	struct api_link_list links;
	unsigned n_links, n_viewers, n_turned_away;
};

struct api {
	struct mediator *mediator; // NULL: not initialised
	struct api_door local, remote;
	struct peer_groups groups;
	struct api_tokens tokens;
	char path[108];
	sd_event_source *tick; // runs while there is a connection
	struct api_stream_list streams;
	unsigned n_streams;
};

// Opens the sockets that the settings name. 0 or -errno, which was logged.
int api_init(struct api *a, struct mediator *m);
// Closes all; accepts one that was never initialised.
void api_done(struct api *a);

// The description of the API (OpenAPI 3.1), made from the tables.
void api_print_description(FILE *out);

#endif
