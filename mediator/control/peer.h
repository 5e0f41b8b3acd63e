// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of a unix socket, and what it may: root, the mediator's own user and members of a
// group of admins; members of a group of viewers. The groups are those that the process had when it
// connected.
#ifndef VGPU_MEDIATOR_CONTROL_PEER_H
#define VGPU_MEDIATOR_CONTROL_PEER_H

#include <sys/types.h>

#include "mediator/control/operations.h"

#define PEER_NO_GROUP ((gid_t) - 1)

struct peer_groups {
	gid_t admins, viewers; // PEER_NO_GROUP: none
};

// The group of that name; "" is none. 0 or -errno, which was logged with the setting's name.
int peer_find_group(const char *setting, const char *name, gid_t *ret);

// Who connected to fd, its role and its line for the log ("uid 7 pid 12 (DOOR)"). A process of which nothing
// is known is a stranger.
void peer_read_socket(int fd, const struct peer_groups *groups, const char *door, struct control_peer *ret);

#endif
