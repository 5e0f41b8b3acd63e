// SPDX-License-Identifier: Apache-2.0
// A session: one connection of a client, from accept to the end of the client, its socket or its good
// behaviour. It owns the channels it opened and the tenants it made. Everything runs in the mediator's loop.
#ifndef VGPU_MEDIATOR_SESSION_SESSION_H
#define VGPU_MEDIATOR_SESSION_SESSION_H

#include "mediator/channel.h"
#include "mediator/mediator.h"
#include "mediator/tenant.h"

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
void session_add_channel(struct session *s, struct channel *c);
void session_made_tenant(struct session *s, struct tenant *t);

// Ends all sessions; those of one tenant. The reaper frees them.
void session_doom_all(struct mediator *m);
void session_doom_tenant(struct tenant *t);

// Frees what is doomed; whether there was something. For the reaper.
bool session_reap(struct mediator *m);

#endif
