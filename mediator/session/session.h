// SPDX-License-Identifier: Apache-2.0
// A session: one connection of a client, from accept to the end of the client, its socket or its good
// behaviour. It owns the channels it opened and the tenants it made. Everything runs in the mediator's loop.
#ifndef VGPU_MEDIATOR_SESSION_SESSION_H
#define VGPU_MEDIATOR_SESSION_SESSION_H

#include "mediator/channel.h"
#include "mediator/mediator.h"
#include "mediator/tenant.h"

struct peer;
struct deposit_session;
struct session;

// Takes the accepted fd over. tenant: of the socket it came by, NULL for the main socket. A connection that
// is over a limit is told so and closed.
void session_new(struct mediator *m, struct tenant *tenant, int fd);

// Tells a connection that gets no session why, and closes it.
void session_refuse(int fd, uint32_t code, const char *text);

// Sends one packet, or keeps it (with copies of the fds, which are borrowed) until the client reads. A client
// that leaves more than VGPU_MAX_LINK_BACKLOG packets unread is closed.
void session_send(struct session *s, const void *packet, size_t len, const int *fds, unsigned n_fds);
void session_send_error(struct session *s, uint32_t cookie, uint32_t code, const char *text);

struct mediator *session_mediator(const struct session *s);
struct tenant *session_tenant(const struct session *s);
uint32_t session_library(const struct session *s); // enum link_library, as its program said
void session_add_channel(struct session *s, struct channel *c);
// How many it had.
unsigned session_close_channels(struct session *s, bool at_once);
void session_made_tenant(struct session *s, struct tenant *t);

const struct peer *session_peer(struct session *s);

// The sensor told something, or ended: answers the DEVICE requests that waited for it.
void session_device_news(struct mediator *m);

// For the next mediator: the number that names it, and what is kept of all.
uint64_t session_id(const struct session *s);
struct session *session_from_id(struct mediator *m, uint64_t id); // NULL: there is none
void session_keep_all(struct mediator *m, bool anew);
// One of a mediator before this one; takes fd and pidfd (-1: none) over. 0, or -errno: they stay the
// caller's.
int session_adopt(struct mediator *m, struct tenant *t, const struct deposit_session *r, int fd, int pidfd);
// When all are adopted: asks again what it waits for.
void session_resume(struct session *s, const struct deposit_session *r);

// One after the other, NULL: the first; without those that are ending.
struct session *session_after(struct mediator *m, struct session *s);

#define SESSION_VIEW_CHANNELS VGPU_MAX_CHANNELS_PER_TENANT
struct session_view {
	uint64_t id;
	struct tenant *tenant;
	uid_t uid;
	pid_t pid;	  // 0: not visible here
	uint64_t came_us; // since 1970
	bool ready, vm;	  // HELLO was answered; it is a stub's
	uint32_t library; // enum link_library
	unsigned n_channels, n_shown;
	uint64_t channels[SESSION_VIEW_CHANNELS]; // ids
};
void session_view(const struct session *s, struct session_view *ret);

// ---- stubs of VMs that speak LINK_FEATURE_PERSONALITY

struct session *session_of_stub(const struct tenant *t); // NULL: there is none
// Whether the tenant's VM runs, as far as is seen: its stub says that a monitor is there, or somebody is
// connected who tells nothing of that.
bool session_vm_is_there(const struct tenant *t);
// What the inventory says of the VM has changed: its stub is told.
void session_vm_changed(const struct tenant *t);

// Parts of the answer in their order; the last has left 0. NULL: no more will come. Not called within
// session_ask_registers().
typedef void session_registers_told(void *opaque, const struct link_registers *part);
// 0, -EBUSY: it is being asked, or another -errno.
int session_ask_registers(struct session *s, session_registers_told *told, void *opaque);
// Nobody waits for answers any more: each is told NULL.
void session_give_up_questions(struct mediator *m);

// By order of an operator: its client is told.
void session_end(struct session *s);

// Ends all sessions; those of one tenant. The reaper frees them.
void session_doom_all(struct mediator *m);
void session_doom_tenant(struct tenant *t);

// Frees what is doomed; whether there was something. For the reaper.
bool session_reap(struct mediator *m);

#endif
