// SPDX-License-Identifier: Apache-2.0
// A listening socket: the main one, or a tenant's own. Accepts, and makes a session of what it accepted.
#ifndef VGPU_MEDIATOR_LISTENER_H
#define VGPU_MEDIATOR_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct mediator;
struct tenant;

struct listener {
	struct mediator *mediator;
	struct tenant *tenant; // NULL: the main socket
	int fd;		       // valid while source is set
	sd_event_source *source;
	char path[108]; // file to remove at the end; empty: none
	bool kept;	// the main one: with the keeper
};

// Makes the socket file. owner: uid that may connect beside us, or in our place; (uid_t)-1: as the mode says.
int listener_open(struct listener *l, struct mediator *m, struct tenant *t, const char *path, unsigned mode,
		  uid_t owner);
// Takes over a listening socket that systemd (or vgpu-run) made; its file is not ours.
int listener_take(struct listener *l, struct mediator *m, int fd);
// Takes over one that a mediator before this one had, with its file (path; empty: not ours).
int listener_adopt(struct listener *l, struct mediator *m, struct tenant *t, int fd, const char *path);
// Accepts one that was never opened (all zero).
// Another user and group may connect as well. (uid_t)-1, (gid_t)-1: as it is. 0 or -errno.
int listener_give(const struct listener *l, uid_t user, gid_t group);

void listener_done(struct listener *l);

#endif
