// SPDX-License-Identifier: Apache-2.0
// A channel as the mediator sees it: the executor that serves it and who is told when it ends. The shared
// memory itself goes to client and executor and is not mapped here.
//
//   STARTING ──READY──> SERVING ──ENDED, client gone, hung, removed──> STOPPING ──too slow──> KILLED
//      │                   │                                              │                     │
//      └──FAILED, too slow, client gone──────────────────────────────────>│                     │
//      └───────────────────┴──────────── executor exits ──────────────────┴─────────────────────┴──> GONE
//
// An executor that was started ahead and does not make it to READY is REPLACING: it is killed, and when it is
// reaped a new one is STARTING.
#ifndef VGPU_MEDIATOR_CHANNEL_H
#define VGPU_MEDIATOR_CHANNEL_H

#include "mediator/channel_vm.h"
#include "mediator/device/usage.h"
#include "mediator/mediator.h"
#include "mediator/output.h"
#include "mediator/park/park.h"
#include "mediator/share.h"
#include "mediator/spawn.h"
#include "mediator/watch/watch.h"

enum channel_state {
	CHANNEL_STARTING,  // executor started, ASSIGN sent, READY awaited
	CHANNEL_REPLACING, // SIGKILL sent to one that was started ahead and failed; the client still waits
	CHANNEL_SERVING,
	CHANNEL_STOPPING, // its link is closed: it is to end by itself
	CHANNEL_KILLED,	  // SIGKILL sent
	CHANNEL_GONE,	  // it has ended; the mediator's reaper frees the rest
};

struct channel {
	struct mediator *mediator;
	LIST_ENTRY(channel) link; // of mediator.channels
	struct tenant *tenant;
	struct session *session; // NULL: the client is gone
	LIST_ENTRY(channel) session_link;
	uint64_t id;
	uint32_t cookie;  // of CHANNEL_OPEN
	uint32_t library; // enum link_library, as its program said
	bool answered;	  // CHANNEL_OK or ERROR was sent
	bool lost_said;	  // CHANNEL_LOST was sent, or is not wanted

	enum channel_state state;
	struct link_geometry geometry;
	struct channel_vm vm;
	int channel_fd, window_fd; // until CHANNEL_OK is sent; not of a channel in a VM
	int doorbell_fd;
	struct turn_seat seat;
	struct park_member park;
	struct channel_watch watch;
	struct spawned process;
	bool ahead; // process was started ahead, and READY has not come yet
	struct output output;
	uint64_t opened_us; // since 1970
	struct usage usage;
	sd_event_source *link_source, *exit_source, *timer;
	struct share_list shares; // that its executor owns
	struct share_use_list share_uses;

	bool kept;  // with the keeper
	bool fresh; // its CHANNEL_OPEN is not taken off the socket yet
	bool redo;  // adopted: its executor's next packet may be one that the last mediator has handled

	uint32_t reason; // enum link_error_code, 0 while there is none
	char text[LINK_TEXT_BYTES];
};

// Starts a channel for the session, with memory of the mediator's making (vm NULL) or of a VM (vm's fds are
// taken over, whatever comes of it). 0: it is under way, the answer to cookie comes later. Else an enum
// link_error_code with a text for the client in error (LINK_TEXT_BYTES).
int channel_open(struct session *s, uint32_t cookie, struct channel_vm *vm, char *error);

// A channel as it was kept, without process, seat and fds yet. NULL: out of memory.
struct channel *channel_adopt(struct mediator *m, struct tenant *t, struct session *s, uint64_t id);
// All of it is filled in: watches its executor, which may have ended meanwhile. 0 or -errno.
int channel_resume(struct channel *c);
// What its seat needs of it.
extern const struct turn_seat_ops channel_seat_ops;

// Ends the channel as its client asked.
void channel_close(struct channel *c, bool at_once);

// Ends the channel for a reason that its client is told (unless it ended already or the client is gone).
void channel_stop(struct channel *c, uint32_t code, const char *text);

// The client is gone: nobody to tell.
void channel_abandon(struct channel *c);

void channel_kill(struct channel *c);

// Its work hangs: the executor is killed, the client told once it is gone. why: what its client reads.
void channel_hang(struct channel *c, const char *why);

void channel_free(struct channel *c); // GONE only; for the reaper

#endif
