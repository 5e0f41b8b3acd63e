// SPDX-License-Identifier: Apache-2.0
// A session's inside, shared by the files of this folder only: session.c (life), outbox.c (sending),
// requests.c (what clients ask for).
#ifndef VGPU_MEDIATOR_SESSION_INTERNAL_H
#define VGPU_MEDIATOR_SESSION_INTERNAL_H

#include "common/seqpacket.h"
#include "mediator/session/check.h"
#include "mediator/session/session.h"

struct outgoing {
	STAILQ_ENTRY(outgoing) link;
	size_t len;
	unsigned n_fds;
	int fds[SEQPACKET_MAX_FDS]; // ours
	char packet[];
};

struct session {
	struct mediator *mediator;
	LIST_ENTRY(session) link;
	struct tenant *tenant;
	uid_t uid;
	pid_t pid;	// of whoever connected; 0 if it is not visible here
	bool operator_; // may make tenants and ask for STATUS
	enum phase phase;
	bool doomed; // handles and sends nothing more; the reaper frees it

	int fd, pidfd;
	sd_event_source *io, *death, *hello_timer;

	// packets that may still come: filled up with time
	uint64_t allowance_ns, allowance_at_ns;

	STAILQ_HEAD(, outgoing) outbox;
	unsigned n_outgoing;

	// STATUS in progress: rows go out as the client reads them
	bool status;
	uint32_t status_cookie, status_next_id, status_rows;

	LIST_HEAD(, channel) channels;
	LIST_HEAD(, tenant) made;
};

// Marks it; reason (NULL: not worth a log line) is for the log.
void session_doom(struct session *s, const char *reason);

// Closes a connection in such a way that the client can still read what was sent to it.
void outbox_hang_up(int *fd);

void outbox_flush(struct session *s);
void outbox_free(struct session *s);

// Acts on a packet that check_packet() passed.
void request_handle(struct session *s, const void *packet);
// The next row of a STATUS in progress, or its end. Called when the outbox is empty.
void request_status_step(struct session *s);

#endif
