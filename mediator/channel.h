// SPDX-License-Identifier: Apache-2.0
// A channel as the mediator sees it: the executor that serves it and who is told when it ends. The shared
// memory itself goes to client and executor and is not mapped here.
//
//   STARTING ──READY──> SERVING ──ENDED, client gone, hung, removed──> STOPPING ──too slow──> KILLED
//      │                   │                                              │                     │
//      └──FAILED, too slow, client gone──────────────────────────────────>│                     │
//      └───────────────────┴──────────── executor exits ──────────────────┴─────────────────────┴──> GONE
#ifndef VGPU_MEDIATOR_CHANNEL_H
#define VGPU_MEDIATOR_CHANNEL_H

#include "mediator/mediator.h"
#include "mediator/output.h"
#include "mediator/spawn.h"

enum channel_state {
	CHANNEL_STARTING, // executor started, ASSIGN sent, READY awaited
	CHANNEL_SERVING,
	CHANNEL_STOPPING, // its link is closed: it is to end by itself
	CHANNEL_KILLED,	  // SIGKILL sent
	CHANNEL_GONE,	  // reaped; the mediator's reaper frees the rest
};

struct channel {
	struct mediator *mediator;
	LIST_ENTRY(channel) link; // of mediator.channels
	struct tenant *tenant;
	struct session *session; // NULL: the client is gone
	LIST_ENTRY(channel) session_link;
	uint64_t id;
	uint32_t cookie; // of CHANNEL_OPEN, until it is answered
	bool answered;	 // CHANNEL_OK or ERROR was sent
	bool lost_said;	 // CHANNEL_LOST was sent, or is not wanted

	enum channel_state state;
	struct link_geometry geometry;
	int channel_fd, window_fd; // until CHANNEL_OK is sent
	int doorbell_fd;
	struct turn_seat seat;
	struct spawned process;
	struct output output;
	sd_event_source *link_source, *exit_source, *timer;

	uint32_t reason; // enum link_error_code, 0 while there is none
	char text[LINK_TEXT_BYTES];
};

// Starts a channel for the session. 0: it is under way, the answer to cookie comes later. Else an enum
// link_error_code with a text for the client in error (LINK_TEXT_BYTES).
int channel_open(struct session *s, uint32_t cookie, char *error);

// Ends the channel for a reason that its client is told (unless it ended already or the client is gone).
void channel_stop(struct channel *c, uint32_t code, const char *text);

// The client is gone: nobody to tell.
void channel_abandon(struct channel *c);

void channel_kill(struct channel *c);

void channel_free(struct channel *c); // GONE only; for the reaper

#endif
