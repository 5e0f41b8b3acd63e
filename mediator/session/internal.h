// SPDX-License-Identifier: Apache-2.0
// A session's inside, shared by the files of this folder only: session.c (life), outbox.c (sending),
// requests.c (what clients ask for), device.c (DEVICE), registers.c (stubs),
// keep.c (those that outlive a mediator).
#ifndef VGPU_MEDIATOR_SESSION_INTERNAL_H
#define VGPU_MEDIATOR_SESSION_INTERNAL_H

#include "common/seqpacket.h"
#include "mediator/device/peer.h"
#include "mediator/limit/bucket.h"
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
	bool vm;	  // LINK_FEATURE_VM was agreed on
	uint32_t library; // enum link_library, as HELLO told
	bool personality; // LINK_FEATURE_PERSONALITY
	bool monitor;	  // of a stub that took it: its monitor is there
	bool doomed;	  // handles and sends nothing more; the reaper frees it
	uint64_t id;	  // grows; for the next mediator
	uint64_t came_us; // since 1970
	bool kept;	  // with the keeper; waiting_kept: as one to whom an answer is owed
	bool waiting_kept;
	bool redo; // adopted: its next packet may be one that the last mediator has handled

	int fd, pidfd;
	sd_event_source *io, *death, *hello_timer;

	struct bucket packet_rate, device_rate;
	struct peer peer; // read by whoever needs it first
	bool peer_read;

	// DEVICE that waits for the sensor or for a second look at the tenant's use
	bool device_waits, device_card;
	uint32_t device_cookie;
	uint64_t device_until_ns; // answered by then

	STAILQ_HEAD(, outgoing) outbox;
	unsigned n_outgoing;

	struct registers_question {	      // that the stub has
		session_registers_told *told; // NULL: none
		void *opaque;
		sd_event_source *timer;
		uint32_t cookie; // of the last one
		uint32_t rows;	 // that came
	} question;

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

// session.c: an empty one, for an fd that stays the caller's on failure (NULL); and its event sources. 0 or
// -errno.
struct session *session_make(struct mediator *m, int fd);
int session_watch(struct session *s);

// keep.c: brings what is kept of it up to date; only if it began or ended to wait for an answer; and whether
// the packet was handled by the mediator before this one.
void session_keep(struct session *s);
void session_keep_waiting(struct session *s);
// Takes the packet that was handled off the socket; before, the next mediator would find it there.
void session_consume(struct session *s);
bool session_did(struct session *s, const void *packet, size_t bytes);

// Answers a TENANT_CREATE.
void request_tenant_ok(struct session *s, struct tenant *t);

// Acts on a packet that check_packet() passed. fds are borrowed.
void request_handle(struct session *s, const void *packet, const int *fds, unsigned n_fds);
void request_device(struct session *s, const struct link_device *device);
// registers.c
void request_registers(struct session *s, const struct link_registers *m);
void registers_tell_vm(struct session *s);
void registers_give_up(struct session *s); // what was asked will not be answered
// The next row of a STATUS in progress, or its end. Called when the outbox is empty.
void request_status_step(struct session *s);

#endif
